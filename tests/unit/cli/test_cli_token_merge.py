"""--token-merge: what results say of it, and one line for ratios and subjects that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runner import dpt, files_below, save_picture

from dptkit.image_io import read_depth
from floors import FOLDER, make_floors

SMALL = ("--size", "64", "--device", "cpu", "--engine", "torch")


def test_files_and_json_lines_say_the_ratio_and_are_silent_without(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "a.png", (60, 50))
    merged = dpt("depth", path, "-o", tmp_path / "merged", "--format", "npy", "--json", "--token-merge", "0.5", *SMALL)
    plain = dpt("depth", path, "-o", tmp_path / "plain", "--format", "npy", "--json", *SMALL)
    zero = dpt("depth", path, "-o", tmp_path / "zero", "--format", "npy", "--json", "--token-merge", "0", *SMALL)
    assert merged.records[0]["token_merge"] == 0.5
    assert "token_merge" not in plain.records[0] | zero.records[0]
    found = {name: read_depth(tmp_path / name / "a_depth.npy") for name in ("merged", "plain", "zero")}
    assert found["merged"].provenance.token_merge == 0.5
    assert found["plain"].provenance == found["zero"].provenance
    assert (found["plain"].values == found["zero"].values).all()
    assert (found["plain"].values != found["merged"].values).any()


@pytest.mark.parametrize("verb", ["depth", "segment"])
@pytest.mark.parametrize("ratio", ["-0.1", "0.9", "nan", "1"])
def test_bad_ratios_are_wrong_usage_and_write_nothing(tmp_path: Path, verb: str, ratio: str) -> None:
    path = save_picture(tmp_path / "in" / "a.png")
    ran = dpt(verb, path, "-o", tmp_path / "out", f"--token-merge={ratio}")
    assert ran.code == 2
    assert ran.errors == [f"dpt: token merge ratio {float(ratio):g}: must be at least 0 (off) and below 0.9"]
    assert files_below(tmp_path) == {"in/a.png"}


def test_evaluation_says_the_ratio_and_refuses_what_has_no_tokens(tmp_path: Path) -> None:
    data = make_floors(tmp_path / "data", 1)
    with_merging = ("--token-merge", "0.4", "--device", "cpu", "--engine", "torch")
    ran = dpt("eval", "--data", data, *FOLDER, "--model", "dpt-lite", "--json", tmp_path / "a.json", *with_merging)
    assert ran.code == 0, ran.errors
    assert '"token_merge": 0.4' in (tmp_path / "a.json").read_text()
    for model in ("ramp", "constant", str(data)):
        ran = dpt("eval", "--data", data, *FOLDER, "--model", model, *with_merging)
        assert (ran.code, ran.errors) == (2, [f"dpt: --token-merge is for models that predict: {model} has no tokens"])
    ran = dpt("eval", "--data", data, *FOLDER, "--model", "dpt-lite", "--token-merge", "2")
    assert (ran.code, len(ran.errors)) == (2, 1)
