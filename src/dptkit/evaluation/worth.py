"""What each difference between two protocols is worth: predictions scored again, one field changed at a time.

Stored ones serve as long as the rules leave them what they are; beyond that the model predicts again, if it is there.

The steps lead from the left protocol to the right one and add up, with the rest, to the whole difference. What a field
is worth depends on the fields changed before it: a clamp matters less after a fit. The order is that of the fields, but
16-bit rounding is left first or entered last, as it only has a meaning for metres.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dptkit.data.sample import Dataset, OrdinalDataset, OrdinalSample, Sample
from dptkit.errors import ConfigError, DataError
from dptkit.evaluation.alignment import Fit
from dptkit.evaluation.depth_scoring import VIDEO_METRICS
from dptkit.evaluation.pairing import pictures_in_common
from dptkit.evaluation.protocol import DepthProtocol, Protocol, SegmentationProtocol, differing_fields
from dptkit.evaluation.protocol_words import NEW_PREDICTION, OTHER_DATA
from dptkit.evaluation.result import EvaluationResult, ImageResult
from dptkit.evaluation.sample_places import SampleKey, sample_key, sample_places
from dptkit.evaluation.scoring import fit_group, score_picture
from dptkit.evaluation.subject import Prediction, StoredPredictions
from dptkit.evaluation.summary import estimator
from dptkit.image_io.names import printable

Values = dict[str, float | None]
PredictAgain = Callable[[Protocol], Callable[[Sample | OrdinalSample], Prediction]]
"""By the rules of a protocol, what the scored model predicts of a sample."""
_SAME = 1e-6
"""Relative difference up to which a score is the recorded one: another machine's arithmetic."""


@dataclass(frozen=True)
class WorthStep:
    """One field changed. worth: change of each metric. pictures: scored under the rules so far.

    problem: why these predictions cannot be scored so; the field keeps its left value, and its worth is in the rest.
    """

    field: str
    left: Any
    right: Any
    worth: Values
    pictures: int
    problem: str = ""


@dataclass(frozen=True)
class Worth:
    """start: the left result's values over the pictures in common. end: the right one's.

    start + the steps' worth + rest = end, for every metric. rest: what is left, because of other predictions (other
    subject, or `not_told`). not_told: fields that differ and cannot be told from stored predictions, with the reason.
    predictions: whose were scored again.
    """

    predictions: str
    pictures: int
    start: Values
    steps: tuple[WorthStep, ...]
    rest: Values
    end: Values
    not_told: dict[str, str]


def worth_of_differences(
    left: EvaluationResult,
    right: EvaluationResult,
    dataset: Dataset | OrdinalDataset,
    predictions: StoredPredictions,
    predict_again: PredictAgain | None = None,
) -> Worth:
    """Score the left result's predictions again, by its own protocol and then field by field by the right one's.

    dataset: what left was scored on. predictions: those kept when it was. predict_again: what was scored; with it,
    fields that change the prediction are told too, after the others, at a new run over all pictures for each.
    Raises DataError where samples or predictions are missing, or are not those of the result: then scoring by the
    result's own protocol does not give the recorded numbers.
    """
    here, there = pictures_in_common([left, right])
    common = (name for name in left.protocol.metrics if name in right.protocol.metrics)
    metrics = tuple(name for name in common if name not in VIDEO_METRICS)  # those take more than one picture
    if not metrics:
        raise DataError(f"{left.protocol.name} and {right.protocol.name} have no metric in common")
    order, not_told = told_fields(left.protocol, right.protocol, again=predict_again is not None)
    rescorer = _Rescorer(dataset, predictions, left, here, predict_again)
    current = replace(left.protocol, metrics=metrics)
    images = rescorer.score(current)
    _check_same(images, here, metrics)
    start = values = _values(images, current, metrics)
    steps = []
    for name, (ours, theirs) in order.items():
        candidate = replace(current, **{name: getattr(right.protocol, name)})
        problem = ""
        try:
            images = rescorer.score(candidate)
        except (ConfigError, DataError) as error:
            problem = str(error)
        if problem:
            steps.append(WorthStep(name, ours, theirs, dict.fromkeys(metrics), len(images), problem))
            continue
        after = _values(images, candidate, metrics)
        steps.append(WorthStep(name, ours, theirs, _change(values, after), len(images)))
        current, values = candidate, after
    end = _values(there, replace(right.protocol, metrics=metrics), metrics)
    return Worth(left.subject.name, len(here), start, tuple(steps), _change(values, end), end, not_told)


def told_fields(
    left: Protocol, right: Protocol, *, again: bool = False
) -> tuple[dict[str, tuple[Any, Any]], dict[str, str]]:
    """Fields that differ: those whose worth can be told, in order; the others with the reason.

    again: whether the model can predict again; otherwise stored predictions are all there is.
    """
    told: dict[str, tuple[Any, Any]] = {}
    predicted: dict[str, tuple[Any, Any]] = {}
    not_told: dict[str, str] = {}
    for name, values in differing_fields(left, right).items():
        if name == "metrics":
            continue  # which numbers are computed changes none of them
        if again and name in _of_the_prediction(left):
            predicted[name] = values
        elif name in NEW_PREDICTION:
            not_told[name] = "changes the prediction itself: run the model again with it"
        elif name in OTHER_DATA:
            not_told[name] = "changes the data"
        elif name == "interpolation" and isinstance(left, SegmentationProtocol):
            not_told[name] = "labels were chosen after it: run the model again with it"
        else:
            told[name] = values
    if "scales" in predicted and right.tta != "ms-flip":
        predicted["tta"] = predicted.pop("tta")  # without ms-flip there is one scale
    told |= predicted
    if "rounding" in told and told["rounding"][1] == "none":
        told = {"rounding": told["rounding"], **told}
    elif "rounding" in told:
        told["rounding"] = told.pop("rounding")
    return told, not_told


def _of_the_prediction(protocol: Protocol) -> tuple[str, ...]:
    """Fields that a prediction depends on: labels are chosen after the interpolation."""
    return (*NEW_PREDICTION, "interpolation") if isinstance(protocol, SegmentationProtocol) else NEW_PREDICTION


class _Rescorer:
    """The pictures that a result scored, from data and predictions; `wanted`: those whose scores are."""

    def __init__(
        self,
        dataset: Dataset | OrdinalDataset,
        predictions: StoredPredictions,
        result: EvaluationResult,
        wanted: Sequence[ImageResult],
        predict_again: PredictAgain | None,
    ) -> None:
        self._dataset, self._predictions = dataset, predictions
        self._rules, self._again = result.protocol, predict_again
        self._wanted = [sample_key(image) for image in wanted]
        self._images = [image for image in result.images if image.state != "skipped"]
        self._places = self._find()

    def score(self, protocol: Protocol) -> list[ImageResult]:
        """Wanted pictures in the result's order, without those that the protocol cannot score.

        Raises ConfigError where it fits no picture, DataError where it can score none.
        """
        predict = self._predictor(protocol)
        fits = self._fits(protocol, predict)
        images, problem = [], ""
        for sample in self._samples(self._wanted):
            try:
                prediction = predict(sample)
                fit = fits.get((sample.source, sample.group)) if fits else None
                images.append(score_picture(prediction, sample, protocol, fit))
            except DataError as error:
                problem = problem or str(error)
        if not images:
            raise DataError(problem or "no picture can be scored")
        return images

    def _predictor(self, protocol: Protocol) -> Callable[[Sample | OrdinalSample], Prediction]:
        """What is stored, unless rules that a prediction depends on are others."""
        changed = differing_fields(self._rules, protocol).keys() & set(_of_the_prediction(protocol))
        if self._again is not None and changed:
            return self._again(protocol)
        return lambda sample: self._predictions.read(sample.name)

    def _fits(
        self, protocol: Protocol, predict: Callable[[Sample | OrdinalSample], Prediction]
    ) -> Mapping[tuple[str, str], Fit]:
        """Of each video, over all its pictures that the result scored; empty where each picture has its own."""
        if not isinstance(protocol, DepthProtocol) or protocol.alignment_scope == "image":
            return {}
        videos: dict[tuple[str, str], list[SampleKey]] = {}
        for image in self._images:
            videos.setdefault((image.source, image.group), []).append(sample_key(image))

        def pairs(keys: list[SampleKey]) -> Iterator[tuple[Prediction, Sample | OrdinalSample]]:
            for sample in self._samples(keys):
                yield predict(sample), sample

        return {video: fit_group(pairs(keys), protocol) for video, keys in videos.items()}

    def _samples(self, keys: Sequence[SampleKey]) -> Iterator[Sample | OrdinalSample]:
        for key in keys:
            yield self._dataset[self._places[key]]

    def _find(self) -> dict[SampleKey, int]:
        """Where in the data set each picture is. Raises DataError naming one that is not there."""
        places = sample_places(self._dataset)
        missing = [image.name for image in self._images if sample_key(image) not in places]
        if missing:
            raise DataError(
                f"{self._dataset.name}: {len(missing)} of the result's pictures are not there, such as "
                f"{printable(missing[0])}: give the folder that was scored"
            )
        return places


def _check_same(images: Sequence[ImageResult], recorded: Sequence[ImageResult], metrics: Sequence[str]) -> None:
    now = {sample_key(image): image.scores for image in images}
    for image in recorded:
        scores = now.get(sample_key(image), {})
        for name in metrics:
            old, new = image.scores.get(name), scores.get(name)
            if (old is None) != (new is None) or (
                old is not None and new is not None and abs(old - new) > _SAME * max(1.0, abs(old))
            ):
                raise DataError(
                    f"{printable(image.name)}: the stored prediction scores {name} {new} and the result says {old}: "
                    "predictions or data are not those of the result"
                )


def _values(images: Sequence[ImageResult], protocol: Protocol, metrics: Sequence[str]) -> Values:
    names, estimate = estimator(images, protocol)
    row = dict(zip(names, estimate(np.ones((1, len(images))))[0], strict=True))
    return {name: float(row[name]) if np.isfinite(row.get(name, np.nan)) else None for name in metrics}


def _change(before: Values, after: Values) -> Values:
    return {name: None if old is None or (new := after[name]) is None else new - old for name, old in before.items()}
