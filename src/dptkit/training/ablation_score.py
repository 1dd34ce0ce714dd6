"""How good one trained variant is: the one place where an ablation meets `dptkit.evaluation`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from dptkit.data.registry import open_dataset
from dptkit.data.sample import Dataset, Sample
from dptkit.errors import ConfigError, DataError
from dptkit.evaluation.protocol import DepthProtocol
from dptkit.evaluation.protocols import find_protocol
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


def open_scored(key: str, scored: ScoredSet) -> Dataset:
    """The data set with the pictures that count. Raises DataError that begins with `key`."""
    try:
        dataset = open_dataset(scored.dataset, Path(scored.root), scored.split, **scored.options)
    except DataError as error:
        raise DataError(f"{key} ({scored.dataset} in {scored.root}, {scored.split}): {error}") from None
    count = len(dataset)
    if not 0 < scored.pictures < count:
        return dataset
    return SomeOf(dataset, np.linspace(0, count - 1, scored.pictures).round().astype(int).tolist())


def check_scoring(scoring: Scoring) -> DepthProtocol:
    """The protocol. Raises ConfigError for an unknown one, one that is not for depth, or a metric that it lacks."""
    protocol = find_protocol(scoring.protocol)
    if not isinstance(protocol, DepthProtocol):
        raise ConfigError(f"scoring.protocol: {protocol.name} is for {protocol.task}; an ablation is scored on depth")
    if scoring.metric not in protocol.metrics:
        raise ConfigError(
            f"scoring.metric: {protocol.name} has no {scoring.metric}; it has {', '.join(protocol.metrics)}"
        )
    return protocol


def evaluate_variant(model: Path, dataset: Dataset, scoring: Scoring) -> Score:
    """A trained model file on a data set. Raises ConfigError, DataError where nothing can be scored."""
    from dptkit.evaluation.own_model import OwnModel
    from dptkit.evaluation.scoring import score_picture
    from dptkit.predictor import load

    protocol = check_scoring(scoring)
    subject = OwnModel(load(model), protocol)
    by_source: dict[str, list[float]] = {}
    for index in range(len(dataset)):
        sample = dataset[index]
        scored = score_picture(subject.predict(sample.image), sample, protocol)
        value = scored.scores[scoring.metric]
        if value is not None:
            by_source.setdefault(scored.source, []).append(value)
    if not by_source:
        raise DataError(f"{dataset.name}: no picture has a value for {scoring.metric}")
    return Score(fmean(map(fmean, by_source.values())), sum(map(len, by_source.values())))
