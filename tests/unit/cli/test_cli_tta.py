"""--tta: what results say of it, that they are those of the views by hand, and one line for what cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_runner import dpt, files_below, save_picture

from dptkit import DepthMap, load, read_depth
from dptkit.image_io import read_image

SMALL = ("--size", "64", "--device", "cpu", "--engine", "torch")
TINY = {"size": 64, "device": "cpu", "engine": "torch"}


def depth_values(predictor_options: dict[str, object], picture: np.ndarray) -> np.ndarray:
    result = load("dpt-lite", **predictor_options).predict(picture)  # type: ignore[arg-type]
    assert isinstance(result, DepthMap)
    return result.values


def test_files_and_lines_say_the_augmentation_and_are_silent_without(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "a.png", (64, 64))
    runs = {
        "plain": (),
        "none": ("--tta", "none"),
        "flip": ("--tta", "flip"),
        "several": ("--tta", "ms-flip", "--scales", "0.5,1.5"),
    }
    ran = {
        name: dpt("depth", path, "-o", tmp_path / name, "--format", "npy", "--json", *more, *SMALL)
        for name, more in runs.items()
    }
    assert [run.code for run in ran.values()] == [0] * 4
    said = {name: {key: run.records[0].get(key) for key in ("tta", "scales")} for name, run in ran.items()}
    nothing = {"tta": None, "scales": None}
    assert said["plain"] == said["none"] == nothing
    assert said["flip"] == nothing | {"tta": "flip"}
    assert said["several"] == {"tta": "ms-flip", "scales": [0.5, 1.5]}
    found = {name: read_depth(tmp_path / name / "a_depth.npy") for name in runs}
    assert found["several"].provenance.scales == (0.5, 1.5)
    assert found["several"].provenance.network_size == (64, 64)
    assert (found["plain"].values == found["none"].values).all()

    # By hand, where nothing is resized but between scales: the picture is the network's size.
    picture = read_image(path)
    mirrored = np.ascontiguousarray(picture[:, ::-1])
    pairs = {
        size: depth_values(TINY | {"size": size}, picture) + depth_values(TINY | {"size": size}, mirrored)[:, ::-1]
        for size in (32, 64, 96)
    }
    tolerance = 1e-5 * np.ptp(found["plain"].values)  # OpenCV's interpolation does not mirror to the bit: seen 3e-6
    np.testing.assert_array_equal(found["flip"].values, pairs[64] / 2)
    np.testing.assert_allclose(found["several"].values, (pairs[32] + pairs[96]) / 4, rtol=0, atol=tolerance)
    assert np.abs(found["several"].values - found["plain"].values).max() > 100 * tolerance


def test_classes_are_averaged_too_and_scores_are_mean_probabilities(tmp_path: Path) -> None:
    picture = read_image(save_picture(tmp_path / "a.png", (64, 64)))
    options = {"size": 64, "device": "cpu", "engine": "torch"}
    once = load("dpt-lite-street", **options)  # type: ignore[arg-type]
    both = load("dpt-lite-street", tta="flip", **options)  # type: ignore[arg-type]
    raw = [once.backend.predict(tensor[None])[0] for tensor in _views(picture)]
    odds = [np.exp(logits - logits.max(axis=0)) for logits in (raw[0], raw[1][..., ::-1])]
    mean = sum(one / one.sum(axis=0) for one in odds) / 2
    found = both.predict(picture, scores=True)
    assert not isinstance(found, DepthMap)
    np.testing.assert_array_equal(found.labels, mean.argmax(axis=0))
    assert found.scores is not None
    np.testing.assert_allclose(found.scores, mean.max(axis=0), rtol=1e-5)  # float32 exponentials of logits of order 10
    assert found.provenance.tta == "flip"


def _views(picture: np.ndarray) -> list[np.ndarray]:
    from dptkit.preprocess import preprocess

    tensor = preprocess(picture, load("dpt-lite-street", size=64, engine="torch", device="cpu").spec.preprocess)
    return [tensor, np.ascontiguousarray(tensor[..., ::-1])]


@pytest.mark.parametrize("verb", ["depth", "segment"])
@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--tta", "filp"), "--tta: 'filp' is none of none, flip, ms-flip; did you mean flip?"),
        (("--tta", "ms-flip"), "--tta ms-flip needs --scales, as 0.857,1,1.143"),
        (("--scales", "0.5,1"), "--scales is for --tta ms-flip"),
        (("--tta", "ms-flip", "--scales", "big"), "--scales: 'big' is no list of numbers, as 0.857,1,1.143"),
        (("--tta", "ms-flip", "--scales", "1,-1"), "scales must be positive numbers, not [1.0, -1.0]"),
    ],
)
def test_wrong_usage_is_one_line_and_writes_nothing(
    tmp_path: Path, verb: str, options: tuple[str, ...], line: str
) -> None:
    path = save_picture(tmp_path / "in" / "a.png")
    ran = dpt(verb, path, "-o", tmp_path / "out", *options)
    assert (ran.code, ran.errors) == (2, [f"dpt: {line}"])
    assert files_below(tmp_path) == {"in/a.png"}
