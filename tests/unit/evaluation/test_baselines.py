"""Predictors that never look, and what a name on the command line stands for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dptkit.errors import ConfigError, DataError, UnknownModelError
from dptkit.evaluation.baselines import Constant, MajorityClass, VerticalRamp
from dptkit.evaluation.open_subject import open_subject
from dptkit.evaluation.own_model import OwnModel
from dptkit.evaluation.prediction_folder import PredictionFolder
from dptkit.evaluation.protocol import DepthProtocol, SegmentationProtocol
from dptkit.evaluation.subject import ImagePredictor
from dptkit.weights.published import bundled_path

DEPTH = DepthProtocol("any depth", "here", (), "test", "inverse_least_squares", ("abs_rel",))
CLASSES = SegmentationProtocol("any classes", "here", (), "test", ("road", "sky", "3"))
DARK, BRIGHT = np.zeros((4, 6, 3), np.uint8), np.full((4, 6, 3), 255, np.uint8)


def test_the_ramp_grows_linearly_downwards() -> None:
    result = VerticalRamp().predict(DARK)
    np.testing.assert_array_equal(result.values, np.repeat([[0.25], [0.5], [0.75], [1.0]], 6, axis=1))
    assert (result.quantity, result.valid.all()) == ("inverse_depth", True)


def test_baselines_do_not_look() -> None:
    for subject in (VerticalRamp(), Constant(2.5, "depth_m"), Constant()):
        assert isinstance(subject, ImagePredictor)
        np.testing.assert_array_equal(subject.predict(DARK).values, subject.predict(BRIGHT).values)
        json.dumps(subject.identity.details)
    wall = Constant(2.5, "depth_m").predict(DARK)
    assert (wall.quantity, wall.values.min(), wall.values.max(), wall.size) == ("depth_m", 2.5, 2.5, (4, 6))
    assert Constant(2.5).identity != Constant(2.5, "depth_m").identity != Constant(3, "depth_m").identity


def test_one_class_everywhere_by_name_or_id() -> None:
    for label, index in (("sky", 1), (1, 1), ("1", 1), ("3", 2), (0, 0)):  # a name goes before an id
        subject = MajorityClass(label, CLASSES.classes)
        assert np.unique(subject.predict(BRIGHT).labels).tolist() == [index]
        assert subject.predict(DARK).class_names == CLASSES.classes
        assert subject.identity.details["label"] == index
    for label in ("Sky", 3, -1, "255", ""):
        with pytest.raises(ConfigError, match=r"no class .*: use a name \(road, sky, 3, ...\) or 0 to 2"):
            MajorityClass(label, CLASSES.classes)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), 1e-60])
def test_a_constant_that_is_no_depth_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match="must be positive"):
        Constant(value)
    with pytest.raises(ConfigError, match="quantity must be one of"):
        Constant(1.0, "labels")  # type: ignore[arg-type]


def test_names_open_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("maps", "ramp", "dpt-lite"):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "a.npy", np.ones((2, 2), np.float32))
    assert isinstance(open_subject("ramp", DEPTH), VerticalRamp)  # words win over folders
    assert isinstance(open_subject("./ramp", DEPTH, quantity="depth_m"), PredictionFolder)
    wall = open_subject("constant:2.5", DEPTH, quantity="depth_m")
    assert isinstance(wall, Constant)
    assert wall.identity == Constant(2.5, "depth_m").identity
    assert open_subject("constant", DEPTH).identity == Constant().identity
    sky = open_subject("constant:sky", CLASSES)
    assert isinstance(sky, MajorityClass)
    folder = open_subject("maps", DEPTH, quantity="depth_m", scale=2.0)
    assert isinstance(folder, PredictionFolder)
    assert getattr(folder.read("a"), "values")[0, 0] == 2.0  # noqa: B009
    for name in ("dpt-lite", str(bundled_path("dpt-lite.safetensors"))):
        model = open_subject(name, replace(DEPTH, tta="flip"), device="cpu")
        assert isinstance(model, OwnModel)
        assert (model.identity.name, model.identity.details["precision"]) == ("dpt-lite", "float32")
        assert (model.identity.details["tta"], model.identity.weights_sha256 is None) == ("flip", False)


def test_options_that_would_have_no_effect_and_subjects_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    folder = str(tmp_path)
    np.save(tmp_path / "a.npy", np.ones((2, 2), np.float32))
    for text, protocol, options, message in (
        ("ramp", DEPTH, {"quantity": "depth_m"}, "ramp: quantity, scale and suffix are for a folder"),
        ("dpt-lite", DEPTH, {"scale": 2.0}, "dpt-lite: quantity, scale and suffix are for a folder"),
        ("constant", DEPTH, {"scale": 2.0}, "scale and suffix are for a folder"),
        ("dpt-lite", DEPTH, {"suffix": "_p.npy"}, "suffix are for a folder"),
        ("constant", DEPTH, {"quantity": "labels"}, "constant labels predicts classes, but protocol any depth"),
        ("constant:far", DEPTH, {}, "constant:far: not a number"),
        ("constant", CLASSES, {}, "name the class too, as in constant:road"),
        ("constant:tree", CLASSES, {}, "no class 'tree'"),
        ("ramp", CLASSES, {}, "ramp predicts depth, but protocol any classes scores classes"),
        ("dpt-lite", CLASSES, {}, "dpt-lite predicts depth"),
        ("dpt-lite-street", CLASSES, {}, "class 0 is 'sky', in protocol any classes it is 'road'"),
        (folder, CLASSES, {"quantity": "depth_m"}, "a folder of depth_m predicts depth"),
        (folder, DEPTH, {"quantity": "labels"}, "a folder of labels predicts classes"),
        (folder, DEPTH, {"quantity": "metres"}, "quantity must be inverse_depth, depth_m or labels, not 'metres'"),
    ):
        with pytest.raises(ConfigError, match=message):
            open_subject(text, protocol, **options)  # type: ignore[arg-type]


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="gone: neither a weight file nor a folder of predictions is there"):
        open_subject(str(tmp_path / "gone"), DEPTH)
    with pytest.raises(UnknownModelError, match="dpt-lite"):
        open_subject("dpt-light", DEPTH)
    with pytest.raises(DataError, match="no predictions"):
        open_subject(str(tmp_path), DEPTH)
