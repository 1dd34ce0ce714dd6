"""How good one trained variant is: the one place where an ablation meets `dptkit.evaluation`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dptkit.data.registry import open_dataset
from dptkit.data.sample import Dataset, Sample
from dptkit.errors import ConfigError, DataError
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


def check_scoring(scoring: Scoring) -> None:
    """Raises ConfigError for an unknown protocol, or a metric that it does not have."""
    if scoring.metric != "abs_rel":
        raise ConfigError(f"scoring.metric: {scoring.metric} is not known; there is abs_rel")


def evaluate_variant(model: Path, dataset: Dataset, scoring: Scoring) -> Score:
    """A trained model file on a data set. Raises DataError where a picture cannot be read or scored."""
    from dptkit.predictor import load

    predictor = load(model)
    scores = []
    for index in range(len(dataset)):
        sample = dataset[index]
        predicted: Any = predictor.predict(sample.image)
        inverse = sample.target.astype(np.float64)
        if sample.quantity == "depth_m":
            inverse = np.divide(1.0, inverse, out=np.zeros_like(inverse), where=inverse > 0)
        counts = sample.valid & (inverse > 0)
        truth, values = inverse[counts], predicted.values[counts].astype(np.float64)
        scale, shift = np.linalg.lstsq(np.stack([values, np.ones_like(values)], 1), truth, rcond=None)[0]
        aligned = np.maximum(scale * values + shift, 0.5 * truth.min())
        scores.append(float(np.abs(truth / aligned - 1).mean()))
    return Score(float(np.mean(scores)), len(scores))
