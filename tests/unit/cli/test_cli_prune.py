"""Mistakes with `dpt prune`: one line, and nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runner import dpt

from dptkit.weights.locate import read_spec
from dptkit.weights.tensor_file import write_tensors
from miniatures import build_miniature, miniature_spec


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    write_tensors(path, build_miniature("dpt-lite").state_dict(), miniature_spec("dpt-lite"))
    return path


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["--heads", "1"], 2, "dpt: --heads: 1 is not a share from 0 to below 1"),
        (["--mlp", "-0.1"], 2, "dpt: --mlp: -0.1 is not a share from 0 to below 1"),
        (["--criterion", "taylor"], 2, "dpt: --criterion taylor needs pictures: --data DIR"),
        (["--criterion", "tailor"], 2, "'tailor' is none of magnitude, taylor; did you mean taylor?"),
        (["--data", "nowhere", "--dataset", "pictures"], 1, "nowhere"),
        (["--data", ".", "--criterion", "magnitude"], 2, "looks at no pictures: leave --data out"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(model: Path, tmp_path: Path, arguments: list[str], code: int, line: str) -> None:
    done = dpt("prune", model, tmp_path / "out.safetensors", *arguments)
    assert done.code == code
    (said,) = done.errors
    assert line in said
    assert not (tmp_path / "out.safetensors").exists()


def test_an_output_that_is_there_stays(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    out.write_bytes(b"precious")
    done = dpt("prune", model, out, "--heads", "0.5")
    assert (done.code, done.errors) == (1, [f"dpt: {out}: is there already; --force replaces it"])
    assert out.read_bytes() == b"precious"
    assert dpt("prune", model, out, "--heads", "0.5", "--force").code == 0
    assert read_spec(out) is not None
