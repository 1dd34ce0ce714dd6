"""Looks at every sample of a data set and sums up what it found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dptkit.data.sample import IGNORED, Dataset, OrdinalDataset, OrdinalSample, Sample
from dptkit.errors import DataError

_VALUES = 2_000_000  # values kept in all for the percentiles
_PERCENTILES = (0, 1, 50, 99, 100)
_NEARER = {1: "A", -1: "B", 0: "neither"}


@dataclass(frozen=True)
class ValueSummary:
    """Values of one quantity, over valid pixels of all its samples; percentiles are of a regular sample of pixels."""

    quantity: str
    unit: str
    samples: int
    least: float
    percentile_1: float
    median: float
    percentile_99: float
    greatest: float


@dataclass(frozen=True)
class CheckReport:
    """What a data set is like.

    broken: messages that name files, one for each sample that cannot be read. wholly_invalid: names of samples
    without a valid pixel. sizes: "640x480" -> samples. valid_mean, valid_least: share of valid pixels, over samples;
    NaN where none could be read. class_shares: class id (or name) -> share of the labelled pixels. pairs: of points,
    by which is nearer: "A", "B" or "neither"; empty for other data sets, as all about pixels is for these.
    """

    dataset: str
    split: str
    samples: int
    broken: tuple[str, ...]
    sizes: dict[str, int]
    sources: dict[str, int]
    groups: int
    valid_mean: float
    valid_least: float
    wholly_invalid: tuple[str, ...]
    values: tuple[ValueSummary, ...]
    class_shares: dict[str, float]
    pairs: dict[str, int] = field(default_factory=dict)


def check_dataset(
    dataset: Dataset | OrdinalDataset, split: str, on_sample: Callable[[], None] | None = None
) -> CheckReport:
    """Read every sample once. A broken one is noted and the rest goes on."""
    tally = _Tally(max(16, _VALUES // max(1, len(dataset))))
    for index in range(len(dataset)):
        try:
            tally.add(dataset[index])
        except DataError as error:
            tally.broken.append(str(error))
        if on_sample is not None:
            on_sample()
    return tally.report(dataset, split)


class _Tally:
    """Counts of one run over a data set."""

    def __init__(self, values_per_sample: int) -> None:
        self.values_per_sample = values_per_sample
        self.broken: list[str] = []
        self.sizes: Counter[str] = Counter()
        self.sources: Counter[str] = Counter()
        self.groups: set[tuple[str, str]] = set()
        self.shares: list[float] = []
        self.empty: list[str] = []
        self.values: dict[tuple[str, str], list[Any]] = {}
        self.classes = np.zeros(IGNORED + 1, np.int64)
        self.pairs: Counter[str] = Counter()

    def add(self, sample: Sample | OrdinalSample) -> None:
        height, width = sample.image.shape[:2]
        self.sizes[f"{width}x{height}"] += 1
        self.sources[sample.source] += 1
        self.groups.add((sample.source, sample.group))
        if isinstance(sample, OrdinalSample):
            self.pairs.update(_NEARER[int(value)] for value in sample.nearer)
            return
        self.shares.append(float(sample.valid.mean()))
        values = sample.target[sample.valid]
        if values.size == 0:
            self.empty.append(sample.name)
        if sample.quantity == "labels":
            self.classes += np.bincount(values, minlength=IGNORED + 1)
            return
        kept = values[:: max(1, values.size // self.values_per_sample)]
        ends = [values.min(), values.max()] if values.size else []
        self.values.setdefault((sample.quantity, sample.unit), []).append((kept, ends))

    def report(self, dataset: Dataset | OrdinalDataset, split: str) -> CheckReport:
        names: tuple[str, ...] = getattr(dataset, "class_names", ())
        labelled = int(self.classes.sum())
        return CheckReport(
            dataset=dataset.name,
            split=split,
            samples=len(dataset),
            broken=tuple(self.broken),
            sizes=dict(self.sizes.most_common()),
            sources=dict(self.sources.most_common()),
            groups=len(self.groups),
            valid_mean=float(np.mean(self.shares)) if self.shares else float("nan"),
            valid_least=min(self.shares, default=float("nan")),
            wholly_invalid=tuple(self.empty),
            values=tuple(_summary(*key, parts) for key, parts in self.values.items()),
            class_shares={
                names[k] if k < len(names) else str(k): float(self.classes[k] / labelled)
                for k in range(IGNORED)
                if self.classes[k] or (labelled and k < len(names))
            },
            pairs={key: self.pairs[key] for key in _NEARER.values()} if self.pairs else {},
        )


def _summary(quantity: str, unit: str, parts: list[Any]) -> ValueSummary:
    pooled = np.concatenate([kept for kept, _ in parts] + [np.array(ends, np.float32) for _, ends in parts])
    if pooled.size == 0:
        pooled = np.array([np.nan])
    low, first, median, last, high = (float(value) for value in np.percentile(pooled, _PERCENTILES))
    return ValueSummary(quantity, unit, len(parts), low, first, median, last, high)
