"""What each rule is worth: steps add up, each is that of scoring by hand, and nothing is told that is not known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from two_results import METRES, SHAPE, Guess, open_scenes, run, write_scenes

from dptkit.errors import DataError
from dptkit.evaluation import protocol as protocol_module
from dptkit.evaluation.prediction_folder import PredictionFolder
from dptkit.evaluation.protocol import DepthProtocol, NetworkInput, OrdinalProtocol, Protocol, SegmentationProtocol
from dptkit.evaluation.protocol_words import FIELDS, VALUES, protocol_sentences
from dptkit.evaluation.protocols import PROTOCOLS
from dptkit.evaluation.result import EvaluationResult
from dptkit.evaluation.worth import Worth, told_fields, worth_of_differences

Walk = Callable[..., tuple[Worth, EvaluationResult, EvaluationResult]]


@pytest.fixture
def walk(tmp_path: Path) -> Walk:
    data = open_scenes(write_scenes(tmp_path / "scenes"))

    def go(left: Protocol, right: Protocol, other: Guess | None = None) -> tuple[Worth, Any, Any]:
        ours = run(data, Guess(), left, tmp_path / "kept")
        theirs = run(data, other or Guess(), right)
        return (
            worth_of_differences(ours, theirs, data, PredictionFolder(tmp_path / "kept", quantity=None)),
            ours,
            theirs,
        )

    return go


def total(worth: Worth, metric: str) -> float:
    return sum(step.worth[metric] or 0.0 for step in worth.steps)


def test_steps_add_up_to_the_whole(walk: Walk) -> None:
    worth, left, right = walk(METRES, SHAPE)
    assert [step.field for step in worth.steps] == [
        "rounding", "alignment", "mask", "prediction_range_m", "aggregation"
    ]  # fmt: skip
    for metric in ("abs_rel", "delta1"):
        assert worth.start[metric] == pytest.approx(left.summary[metric].value, abs=1e-12)
        assert worth.end[metric] == pytest.approx(right.summary[metric].value, abs=1e-12)
        assert worth.start[metric] + total(worth, metric) == pytest.approx(worth.end[metric], abs=1e-9)
        assert worth.rest[metric] == pytest.approx(0, abs=1e-9)
    assert max(abs(step.worth["abs_rel"]) for step in worth.steps) > 0.001


def test_a_step_is_what_scoring_by_these_rules_gives(walk: Walk, tmp_path: Path) -> None:
    worth, left, _ = walk(METRES, replace(SHAPE, mask="none", aggregation="image_mean", prediction_range_m=(1e-3, 80)))
    data = open_scenes(tmp_path / "scenes")
    between = run(data, Guess(), replace(METRES, rounding="none"))
    assert worth.steps[0].worth["abs_rel"] == pytest.approx(
        between.summary["abs_rel"].value - left.summary["abs_rel"].value, abs=1e-12
    )


def test_another_model_is_in_the_rest(walk: Walk) -> None:
    worth, _, right = walk(METRES, replace(METRES, aggregation="pooled"), Guess("other", 1.4))
    assert [step.field for step in worth.steps] == ["aggregation"]
    assert abs(worth.rest["abs_rel"]) > 10 * abs(worth.steps[0].worth["abs_rel"])
    whole = worth.start["abs_rel"] + total(worth, "abs_rel") + worth.rest["abs_rel"]
    assert whole == pytest.approx(right.summary["abs_rel"].value)


def test_one_fit_for_a_video(walk: Walk) -> None:
    worth, _, _ = walk(SHAPE, replace(SHAPE, alignment_scope="video"))
    assert [step.field for step in worth.steps] == ["alignment_scope"]
    assert worth.steps[0].worth["abs_rel"] != 0
    assert worth.rest["abs_rel"] == pytest.approx(0, abs=1e-9)


def test_rounding_is_entered_last() -> None:
    assert list(told_fields(SHAPE, METRES)[0])[-1] == "rounding"


@pytest.mark.parametrize(
    ("field", "value"), [("crop", "kitti_benchmark"), ("tta", "flip"), ("scales", (0.5, 1.0)), ("split", "val")]
)
def test_what_takes_a_new_prediction_is_not_told(field: str, value: Any) -> None:
    told, not_told = told_fields(METRES, replace(METRES, **{field: value}))
    assert told == {}
    assert list(not_told) == [field]


def test_a_model_that_predicts_again_tells_of_these_too(tmp_path: Path) -> None:
    """It guesses twice as far when its input is another: all of that is the input's worth, and nothing is left."""
    data = open_scenes(write_scenes(tmp_path / "scenes"))
    wide = NetworkInput((32, 64), "minimal")
    other = replace(METRES, network_input=wide, aggregation="pooled")
    left, right = run(data, Guess(), METRES, tmp_path / "kept"), run(data, Guess(factor=2.0), other)
    asked = []

    def again(protocol: Any) -> Any:
        asked.append(protocol.network_input)
        return lambda sample: Guess(factor=1.0 if protocol.network_input is None else 2.0).predict(sample.image)

    stored = PredictionFolder(tmp_path / "kept", quantity=None)
    worth = worth_of_differences(left, right, data, stored, again)
    assert [step.field for step in worth.steps] == ["aggregation", "network_input"]
    assert worth.not_told == {}
    assert worth.steps[1].worth["abs_rel"] > 0.5
    assert worth.rest["abs_rel"] == pytest.approx(0, abs=1e-9)
    assert asked == [wide], "what is stored serves for all other rules"


def test_labels_cannot_be_resized_again() -> None:
    camvid = PROTOCOLS["camvid-11"]
    assert told_fields(camvid, replace(camvid, interpolation="bilinear")) == (
        {}, {"interpolation": "labels were chosen after it: run the model again with it"}
    )  # fmt: skip
    told, not_told = told_fields(camvid, replace(camvid, interpolation="bilinear"), again=True)
    assert (list(told), not_told) == (["interpolation"], {})
    # There is one scale without ms-flip, so that it goes first.
    assert list(told_fields(PROTOCOLS["camvid-11-ms-flip"], camvid, again=True)[0]) == ["scales", "tta"]


def test_rules_that_do_not_fit_the_prediction_stay_in_the_rest(tmp_path: Path) -> None:
    """Relative inverse depth cannot be scored in metres: that step is named, and the others still add up."""

    class Relative(Guess):
        def predict(self, image: Any, /) -> Any:
            depth = super().predict(image)
            return replace(depth, values=1 / depth.values, quantity="inverse_depth")

    data = open_scenes(write_scenes(tmp_path / "scenes"))
    left, right = run(data, Relative(), SHAPE, tmp_path / "kept"), run(data, Guess(), METRES)
    worth = worth_of_differences(left, right, data, PredictionFolder(tmp_path / "kept", quantity=None))
    problems = {step.field: step.problem for step in worth.steps if step.problem}
    assert list(problems) == ["alignment"]
    assert "needs metres" in problems["alignment"]
    whole = worth.start["abs_rel"] + total(worth, "abs_rel") + worth.rest["abs_rel"]
    assert whole == pytest.approx(right.summary["abs_rel"].value)


def test_predictions_of_another_run_are_refused(tmp_path: Path) -> None:
    data = open_scenes(write_scenes(tmp_path / "scenes"))
    left, right = run(data, Guess(), METRES), run(data, Guess(), SHAPE)
    run(data, Guess(factor=1.01), METRES, tmp_path / "kept")
    with pytest.raises(DataError, match="not those of the result"):
        worth_of_differences(left, right, data, PredictionFolder(tmp_path / "kept", quantity=None))


def test_missing_predictions_and_pictures_are_named(tmp_path: Path) -> None:
    data = open_scenes(write_scenes(tmp_path / "scenes"))
    left, right = run(data, Guess(), METRES, tmp_path / "kept"), run(data, Guess(), SHAPE)
    fewer = open_scenes(write_scenes(tmp_path / "fewer", count=4))
    folder = PredictionFolder(tmp_path / "kept", quantity=None)
    with pytest.raises(DataError, match="2 of the result's pictures are not there"):
        worth_of_differences(left, right, fewer, folder)
    (tmp_path / "kept/s0/2.npz").unlink()
    with pytest.raises(DataError, match="s0/2"):
        worth_of_differences(left, right, data, PredictionFolder(tmp_path / "kept", quantity=None))


def test_every_field_and_value_has_its_sentence() -> None:
    for kind in (DepthProtocol, OrdinalProtocol, SegmentationProtocol):
        assert {field.name for field in fields(kind)} <= set(FIELDS)
    types = {
        "alignment": "Alignment", "alignment_scope": "AlignmentScope", "crop": "PictureCrop", "mask": "EvaluationMask",
        "mask_frame": "MaskFrame", "rounding": "Rounding", "interpolation": "MapInterpolation",
        "aggregation": "Aggregation", "tta": "TestTimeAugmentation",
    }  # fmt: skip
    for field, name in types.items():
        assert set(VALUES[field]) == set(get_args(getattr(protocol_module, name))), field
    for protocol in PROTOCOLS.values():
        for field, sentence in protocol_sentences(protocol).items():
            assert sentence[0].isupper(), field
            assert sentence.endswith("."), field
            assert not sentence.startswith("It is "), f"{field} has no words of its own"


def test_no_numbers_are_changed_by_the_way(walk: Walk) -> None:
    """The result that is explained is the one that was written."""
    worth, left, _ = walk(METRES, METRES)
    assert worth.steps == ()
    assert worth.start == {name: left.summary[name].value for name in METRES.metrics}
    assert np.allclose([value or 0 for value in worth.rest.values()], 0)
