"""How good one trained variant is: the one place where an ablation meets `dptkit.evaluation`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dptkit.data.fingerprint import dataset_fingerprint
from dptkit.data.registry import open_dataset
from dptkit.data.sample import Dataset, Sample
from dptkit.errors import ConfigError, DataError
from dptkit.evaluation.protocol import DepthProtocol
from dptkit.evaluation.protocols import find_protocol
from dptkit.evaluation.result import EvaluationResult, write_result
from dptkit.training.ablation_config import ScoredSet, Scoring


@dataclass(frozen=True)
class Score:
    """value: the metric over a data set. pictures: how many counted."""

    value: float
    pictures: int


@dataclass(frozen=True)
class SomeOf:
    """Samples of another data set, by their numbers."""

    dataset: Dataset
    indices: Sequence[int]

    @property
    def name(self) -> str:
        return self.dataset.name

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        return self.dataset[self.indices[index]]


@dataclass(frozen=True)
class OpenedSet:
    """Pictures that count, and what a result says of them: name, folder, split, fingerprint, and which were chosen."""

    dataset: Dataset
    facts: dict[str, Any]


def open_scored(key: str, scored: ScoredSet) -> OpenedSet:
    """Raises DataError that begins with `key`."""
    try:
        dataset = open_dataset(scored.dataset, Path(scored.root), scored.split, **scored.options)
    except DataError as error:
        raise DataError(f"{key} ({scored.dataset} in {scored.root}, {scored.split}): {error}") from None
    facts: dict[str, Any] = {
        "name": dataset.name,
        "folder": Path(scored.root).resolve().name,
        "split": scored.split,
        "fingerprint": dataset_fingerprint(dataset),
    }
    if scored.options:
        facts["options"] = dict(scored.options)
    count = len(dataset)
    if not 0 < scored.pictures < count:
        return OpenedSet(dataset, facts)
    chosen = np.linspace(0, count - 1, scored.pictures).round().astype(int).tolist()
    return OpenedSet(SomeOf(dataset, chosen), {**facts, "evenly_chosen": len(chosen), "pictures_in_split": count})


def check_scoring(scoring: Scoring) -> DepthProtocol:
    """The protocol. Raises ConfigError for an unknown one, one that is not for depth, or a metric that it lacks."""
    protocol = find_protocol(scoring.protocol)
    if not isinstance(protocol, DepthProtocol):
        raise ConfigError(f"scoring.protocol: {protocol.name} is for {protocol.task}; an ablation is scored on depth")
    if scoring.metric not in protocol.metrics:
        known = ", ".join(protocol.metrics)
        raise ConfigError(f"scoring.metric: {protocol.name} has no {scoring.metric}; it has {known}")
    return protocol


def evaluate_variant(
    model: Path,
    opened: OpenedSet,
    scoring: Scoring,
    record: Path,
    after_picture: Callable[[], None] = lambda: None,
) -> EvaluationResult:
    """A trained model file on a data set, by every metric of the protocol.

    record: a file for the result, as `dpt eval --json` writes it. after_picture: may raise, to end it.
    Raises DataError naming the picture that could not be read or scored, since means over different pictures are not
    to be compared; ConfigError where model and protocol do not fit.
    """
    from dptkit.evaluation.evaluate import evaluate
    from dptkit.evaluation.own_model import OwnModel
    from dptkit.predictor import load

    protocol = replace(check_scoring(scoring), split=opened.facts["split"])
    subject = OwnModel(load(model), protocol)
    result = evaluate(
        subject, opened.dataset, protocol, dataset_facts=opened.facts, on_picture=lambda image: after_picture()
    )
    skipped = [image for image in result.images if image.state == "skipped"]
    if skipped:
        raise DataError(f"{skipped[0].name}: {skipped[0].problem}; {len(skipped)} of {len(result.images)} not scored")
    write_result(record, result)
    return result


def score_of(result: EvaluationResult, metric: str) -> Score:
    """Raises DataError where no picture has a value."""
    value = result.summary[metric].value
    if value is None:
        raise DataError(f"{result.dataset['name']}: no picture has a value for {metric}")
    return Score(value, len(result.images))
