"""One batch of one data set, looked at before it is mixed with others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dptkit.config import ModelSpec, SegmentationDecoding
from dptkit.data.batches import Collate, MixedSample
from dptkit.data.mixing import augmentation_rng
from dptkit.data.sample import Dataset, Sample
from dptkit.errors import DataError, DptkitError
from dptkit.training.config import DepthLoss, MetricLoss, OnDisk, Procedural, SegmentationLoss, TrainConfig
from dptkit.training.sources import build_augmentation, describe_source

_LOOKED_AT = 8
"""Pictures, from all over a data set, that are looked at where the first has no ground truth."""


@dataclass(frozen=True)
class SourceReport:
    """What a batch of a data set holds. sizes: (height, width) of pictures, the most frequent first; valid_share: of
    all pixels; least, greatest: of the valid targets, in `unit`."""

    key: str
    name: str
    samples: int
    read: int
    sizes: tuple[tuple[int, int], ...]
    quantity: str
    unit: str
    valid_share: float
    least: float
    greatest: float


def check_first_samples(config: TrainConfig, datasets: Sequence[Dataset], spec: ModelSpec) -> None:
    """A sample of each source, before a run begins: that it holds what the loss needs.

    Raises DataError that begins with the source's key. Later it would be a loader's traceback, or, of inverse depth
    taken for metres, nothing at all.
    """
    for number, (source, dataset) in enumerate(zip(config.sources, datasets, strict=True)):
        if isinstance(source, Procedural) and isinstance(config.loss, DepthLoss):
            continue  # it gives inverse depth, and its first picture takes long
        try:
            first = dataset[0]
            _check_sample(first, config, spec)
            _check_measured(dataset, first)
        except DataError as error:
            raise DataError(f"sources.{number} ({describe_source(source)}): {error}") from None


def _check_measured(dataset: Dataset, first: Sample) -> None:
    """A picture without ground truth is no harm among others; many are a folder of something else."""
    if not first.valid.any():
        places = sorted({round(k * (len(dataset) - 1) / _LOOKED_AT) for k in range(1, _LOOKED_AT + 1)})
        if not any(dataset[place].valid.any() for place in places):
            raise DataError(
                f"nothing is valid in {len(places)} pictures looked at, such as {first.name}: where ground truth is 0 "
                "(of classes, 255) there is none"
            )


def check_source(
    key: str, source: Procedural | OnDisk, dataset: Dataset, config: TrainConfig, spec: ModelSpec
) -> SourceReport:
    """Read samples from all over the data set, as many as the first phase's batch has, and make a batch of them.

    Raises DataError that begins with `key` and says which picture or file is wrong.
    """
    count = min(config.phases[0].batch_size, len(dataset))
    samples = []
    try:
        for index in np.unique(np.linspace(0, len(dataset) - 1, count).round().astype(int)).tolist():
            try:
                samples.append(dataset[index])
            except (ValueError, OSError) as error:
                raise DataError(f"picture {index}: {error}") from None
            _check_sample(samples[-1], config, spec)
        _make_batch(samples, config, spec)
    except DptkitError as error:
        raise DataError(f"{key} ({describe_source(source)}): {error}") from None
    return _describe(key, describe_source(source), len(dataset), samples)


def _check_sample(sample: Sample, config: TrainConfig, spec: ModelSpec) -> None:
    wanted = ("labels",) if isinstance(config.loss, SegmentationLoss) else ("depth_m", "inverse_depth")
    if isinstance(config.loss, MetricLoss):
        wanted = ("depth_m",)
    if sample.quantity not in wanted:
        raise DataError(
            f"{sample.name}: holds {sample.quantity} in {sample.unit}; loss {config.loss.kind} needs "
            f"{' or '.join(wanted)}"
        )
    if isinstance(spec.decoding, SegmentationDecoding) and sample.valid.any():
        greatest, classes = int(sample.target[sample.valid].max()), len(spec.decoding.class_names)
        if greatest >= classes:
            raise DataError(f"{sample.name}: label {greatest}, but {spec.name} has {classes} classes")


def _make_batch(samples: list[Sample], config: TrainConfig, spec: ModelSpec) -> None:
    augmentation = build_augmentation(config, config.phases[0].crops[0], training=True)
    augmented = []
    for place, sample in enumerate(samples):
        try:
            augmented.append(MixedSample(augmentation(sample, augmentation_rng(place)), 0))
        except ValueError as error:
            raise DataError(f"{sample.name}: {error}") from None
    try:
        Collate(spec.preprocess.mean, spec.preprocess.std)(augmented)
    except ValueError as error:
        raise DataError(str(error)) from None
    if not any(sample.valid.any() for sample in samples):
        raise DataError(f"nothing is valid in the {len(samples)} pictures read, such as {samples[0].name}")


def _describe(key: str, name: str, total: int, samples: list[Sample]) -> SourceReport:
    values = np.concatenate([sample.target[sample.valid].ravel() for sample in samples])
    valid = sum(int(sample.valid.sum()) for sample in samples) / sum(sample.valid.size for sample in samples)
    sizes = Counter((sample.image.shape[0], sample.image.shape[1]) for sample in samples)
    return SourceReport(
        key, name, total, len(samples), tuple(size for size, _ in sizes.most_common()),
        samples[0].quantity, samples[0].unit, valid, float(values.min()), float(values.max()),
    )  # fmt: skip
