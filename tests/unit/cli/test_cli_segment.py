"""`dpt segment`, in process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cli_runner import dpt, files_below, save_picture
from PIL import Image

from dptkit import load
from dptkit.image_io import read_labels
from dptkit.outputs import SegmentationMap
from dptkit.weights.tensor_file import write_tensors
from miniatures import CLASSES, build_miniature, miniature_spec

SMALL = ("--size", "64", "--device", "cpu", "--engine", "torch")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five classes of ADE20K, random weights."""
    file = tmp_path_factory.mktemp("model") / "mine.safetensors"
    write_tensors(file, build_miniature("dpt-large-ade20k").state_dict(), miniature_spec("dpt-large-ade20k"))
    return file


def test_labels_overlay_json_and_scores_agree_with_the_library(tmp_path: Path, model: Path) -> None:
    path = save_picture(tmp_path / "street.png", (60, 44))
    ran = dpt(
        *("segment", path, "-o", tmp_path / "out", "--model", model, "--json"),
        *("--format", "labels,overlay,json,scores", *SMALL),
    )
    assert ran.code == 0
    wanted = load(model, size=64, engine="torch", device="cpu").predict(path, scores=True)
    assert isinstance(wanted, SegmentationMap)
    assert wanted.scores is not None
    out = tmp_path / "out"
    endings = ("labels.png", "overlay.png", "segments.json", "scores.png")
    assert files_below(out) == {f"street_{ending}" for ending in endings}
    back = read_labels(out / "street_labels.png")
    np.testing.assert_array_equal(back.labels, wanted.labels)
    assert back.class_names == wanted.class_names
    assert back.provenance == wanted.provenance
    with Image.open(out / "street_labels.png") as image:
        assert image.mode == "P"
        colours = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(colours, np.array(wanted.palette, np.uint8)[wanted.labels])
    with Image.open(out / "street_scores.png") as image:
        # One step of 16 bit.
        np.testing.assert_allclose(np.asarray(image) / 65535, wanted.scores, rtol=0, atol=1 / 65535)
    with Image.open(out / "street_overlay.png") as image:
        assert image.height == 44
        assert image.width > 60  # the legend is beside the picture
    shares = wanted.pixel_shares()
    (record,) = ran.records
    assert record["classes"] == pytest.approx(shares, abs=1e-6)
    assert sum(shares.values()) == pytest.approx(1)
    written = json.loads((out / "street_segments.json").read_text("utf-8"))
    assert written["provenance"]["model"] == wanted.provenance.model
    assert {entry["name"] for entry in written["classes"]} >= set(shares)
    assert set(record["outputs"]) == {"labels", "overlay", "json", "scores"}


def test_by_default_no_scores(tmp_path: Path, model: Path) -> None:
    ran = dpt("segment", save_picture(tmp_path / "a.png"), "-o", tmp_path / "out", "--model", model, *SMALL)
    assert ran.code == 0
    assert files_below(tmp_path / "out") == {"a_labels.png", "a_overlay.png", "a_segments.json"}
    assert len(miniature_spec("dpt-large-ade20k").decoding.class_names) == CLASSES  # type: ignore[union-attr]


def test_one_pixel_and_alpha(tmp_path: Path, model: Path) -> None:
    Image.new("RGBA", (1, 1), (9, 9, 9, 0)).save(tmp_path / "one.png")
    assert dpt("segment", tmp_path / "one.png", "-o", tmp_path / "out", "--model", model, *SMALL).code == 0
    assert read_labels(tmp_path / "out" / "one_labels.png").size == (1, 1)


def test_skip_existing_and_results_in_the_input_folder(tmp_path: Path, model: Path) -> None:
    for name in ("a.png", "b.jpg"):
        save_picture(tmp_path / name)
    dpt("segment", tmp_path, "-o", tmp_path, "--model", model, "--format", "labels,overlay,json,scores", *SMALL)
    ran = dpt("segment", tmp_path, "-o", tmp_path, "--model", model, "--skip-existing", *SMALL)
    assert ran.errors == [f"dpt: 0 of 2 done, 2 skipped; results in {tmp_path}"]


def test_depth_models_are_sent_to_the_other_verb(tmp_path: Path, model: Path) -> None:
    path = save_picture(tmp_path / "a.png")
    named = dpt("segment", path, "-o", tmp_path / "out", "--model", "dpt-lite")
    assert (named.code, named.errors) == (2, ["dpt: dpt-lite is a depth model: use dpt depth"])
    by_file = dpt("depth", path, "-o", tmp_path / "out", "--model", model)
    assert by_file.code == 2
    assert "use dpt segment" in by_file.errors[0]
    assert not (tmp_path / "out").exists()


def test_weights_that_cannot_be_had_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPTKIT_OFFLINE", "1")
    monkeypatch.setenv("DPTKIT_CACHE", str(tmp_path / "cache"))
    ran = dpt("segment", save_picture(tmp_path / "a.png"), "-o", tmp_path / "out")
    assert ran.code == 1
    assert len(ran.errors) == 1
    assert f"{tmp_path}/cache/dpt_hybrid-ade20k-53898607.pt" in ran.errors[0]
