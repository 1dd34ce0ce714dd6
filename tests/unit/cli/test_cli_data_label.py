"""dpt data label: a folder that trains, and one line for what cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cli_runner import dpt, files_below, save_picture

from dptkit import DepthMap, load
from dptkit.data.registry import open_dataset
from dptkit.image_io import read_image

TEACHER = ("--engine", "torch", "--device", "cpu", "--precision", "float32", "--tta", "flip")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(2):
        save_picture(folder / f"a{number}.png", (64, 64), seed=number)
    return folder


def test_the_labels_are_what_the_model_says_with_its_views(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ran = dpt("data", "label", pictures, out, *TEACHER)
    assert (ran.code, ran.errors) == (0, [])
    assert ran.lines == [f"{out}: 2 pictures with the labels of dpt-lite"]
    teacher = load("dpt-lite", engine="torch", device="cpu", tta="flip")
    read = open_dataset("manifest", out, "train")
    for index, path in enumerate(sorted(pictures.iterdir())):
        result = teacher.predict(read_image(path))
        assert isinstance(result, DepthMap)
        values = (result.values - result.values.min()) / np.ptp(result.values)
        np.testing.assert_allclose(read[index].target, values, atol=2 / 65535)
    record = json.loads((out / "labels.json").read_text("utf-8"))
    assert record["teacher"]["tta"] == "flip"
    assert record["teacher"]["weights"] == teacher.provenance.weights_sha256
    checked = dpt("data", "check", out, "--dataset", "manifest")
    assert checked.code == 0


def test_crops_and_a_broken_picture(pictures: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    (folder / "a0.png").write_bytes((pictures / "a0.png").read_bytes())
    (folder / "b.png").write_bytes(b"not a picture")
    ran = dpt("data", "label", folder, out, "--crops", "32x64", "--count", "6", *TEACHER)
    assert ran.code == 1
    assert ran.errors
    assert all(line.startswith("dpt: ") and "b.png" in line for line in ran.errors)
    read = open_dataset("manifest", out, "train")
    assert len(read) == 6 - len(ran.errors)
    assert all(read[index].image.shape == (32, 64, 3) for index in range(len(read)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--crops", "32x64"), "say how many"),
        (("--crops", "big"), "not a size"),
        (("--model", "dpt-large-ade20k"), "segment"),
        (("--tta", "ms-flip"), "--scales"),
        (("--detail", "trut"), "did you mean truth"),
        (("--model", "dpt-lit"), "did you mean dpt-lite"),
    ],
)
def test_one_line_and_nothing_written(pictures: Path, tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    ran = dpt("data", "label", pictures, tmp_path / "out", *options)
    assert ran.code in (1, 2)
    assert len(ran.errors) == 1
    assert message in ran.errors[0]
    assert files_below(tmp_path) == set()
