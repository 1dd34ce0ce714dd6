"""From pictures' numbers to the data set's, each with how far it would move had other pictures been taken.

Every estimate is a function of how often each picture counts: once in the value itself, a number of times that is drawn
in each sample of the bootstrap (Efron 1979; percentile intervals). So a sample is a row of weights, and all samples are
one matrix product. Legend: S samples, N pictures, M metrics, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from dptkit.evaluation.depth_metrics import DEPTH_METRICS
from dptkit.evaluation.protocol import Protocol, SegmentationProtocol
from dptkit.evaluation.result import ImageResult, Interval

Array = npt.NDArray[np.float64]
Summary = dict[str, Interval]
_Key = TypeVar("_Key")
BySource = dict[str, dict[str, float | None]]

_SEGMENTATION_DEFAULT = ("mean_iou", "pixel_accuracy")
_PERCENTILES = (2.5, 97.5)
_WEIGHTS_AT_ONCE = 4_000_000
"""Entries of the weights' matrix that are in memory together."""


@dataclass(frozen=True)
class _Columns:
    """Metrics that are estimated together.

    estimate: (weights [S, n], indices [n] of the pictures they are for) -> [S, M], NaN where there is no value.
    present: bool [N, M], the pictures that a metric rests on.
    """

    names: tuple[str, ...]
    estimate: Callable[[Array, npt.NDArray[np.intp]], Array]
    present: npt.NDArray[np.bool_]


def summarise(
    images: Sequence[ImageResult], protocol: Protocol, *, samples: int = 1000, seed: int = 0
) -> tuple[Summary, BySource]:
    """Every metric over all pictures with its 95% interval, and its value in each source.

    By the protocol's aggregation. image_mean: over pictures. source_mean: over sources of means over pictures; the
    bootstrap draws within each source. video_mean: the same of videos.
    pooled: of all pixels at once, from the pictures' counts; a metric that has none
    (those of boundaries of depth) is averaged over pictures. Skipped pictures are in no number, and a picture without
    a value for one metric is not in that metric; `Interval.pictures` says how many are. No interval where
    nothing varies: below two pictures, or two in any source.
    Of segmentation also "mean_accuracy" (pooled) and, per class, "iou/CLASS". The same seed gives the same intervals.
    """
    counted = [image for image in images if image.state != "skipped"]
    columns = _all_columns(counted, protocol)
    members = _members_of_sources(counted)
    strata = strata_of(counted, protocol)
    names = [name for part in columns for name in part.names]
    value = _over_strata(columns, strata, [np.ones((1, len(part))) for part in strata])[0]
    drawn = np.concatenate(
        [_over_strata(columns, strata, weights) for weights in _resamples(strata, samples, np.random.default_rng(seed))]
    )
    pictures = np.concatenate([part.present.sum(axis=0) for part in columns]).astype(int)
    order = _order(names, protocol)
    varies = any(len(part) > 1 for part in strata)
    summary = {names[k]: _interval(float(value[k]), drawn[:, k], int(pictures[k]), varies) for k in order}
    by_source: BySource = {}
    for source, part in members.items():
        alone = _over_strata(columns, [part], [np.ones((1, len(part)))])[0]
        by_source[source] = {names[k]: _finite(float(alone[k])) for k in order}
    return summary, by_source


def _order(names: Sequence[str], protocol: Protocol) -> list[int]:
    """The protocol's metrics first, in its order."""
    rank = {name: k for k, name in enumerate(protocol.metrics)}
    return sorted(range(len(names)), key=lambda k: rank.get(names[k], len(rank) + k))


def strata_of(images: Sequence[ImageResult], protocol: Protocol) -> list[npt.NDArray[np.intp]]:
    """Indices of the pictures that are averaged together first: of each source, of each video, or all."""
    if protocol.aggregation == "source_mean":
        return list(_members_of_sources(images).values())
    if protocol.aggregation == "video_mean":
        return list(_members(images, lambda image: (image.source, image.group)).values())
    return [np.arange(len(images))]


def _members_of_sources(images: Sequence[ImageResult]) -> dict[str, npt.NDArray[np.intp]]:
    return _members(images, lambda image: image.source)


def _members(images: Sequence[ImageResult], key: Callable[[ImageResult], _Key]) -> dict[_Key, npt.NDArray[np.intp]]:
    members: dict[_Key, list[int]] = {}
    for k, image in enumerate(images):
        members.setdefault(key(image), []).append(k)
    return {name: np.array(part) for name, part in members.items()}


def _all_columns(images: Sequence[ImageResult], protocol: Protocol) -> list[_Columns]:
    pooled = protocol.aggregation == "pooled"
    if isinstance(protocol, SegmentationProtocol):
        if pooled and any("intersection" in image.counts for image in images):
            return [_label_columns(images, protocol)]
        found = dict.fromkeys(name for image in images for name in image.scores if name.startswith("iou/"))
        known = [f"iou/{name}" for name in protocol.classes if f"iou/{name}" in found] or list(found)
        return [_mean_columns(images, (*(protocol.metrics or _SEGMENTATION_DEFAULT), *known))]
    counts = [
        name for name in protocol.metrics if pooled and name in DEPTH_METRICS and any(name in i.counts for i in images)
    ]
    means = tuple(name for name in protocol.metrics if name not in counts)
    return [*(_sum_columns(images, name) for name in counts), *([_mean_columns(images, means)] if means else [])]


def _mean_columns(images: Sequence[ImageResult], names: tuple[str, ...]) -> _Columns:
    values = np.array([[image.scores.get(name) for name in names] for image in images], np.float64)
    values = values.reshape(len(images), len(names))
    present = np.isfinite(values)
    filled = np.where(present, values, 0.0)
    return _Columns(names, lambda weights, part: _ratio(weights @ filled[part], weights @ present[part]), present)


def _sum_columns(images: Sequence[ImageResult], name: str) -> _Columns:
    """A metric of depth from sums over pixels; `counts[name]` begins with the number of pixels."""
    from_sums = DEPTH_METRICS[name].from_sums
    length = max(len(image.counts.get(name, ())) for image in images)
    sums = np.array([image.counts.get(name, [0.0] * length) for image in images], np.float64)

    def estimate(weights: Array, part: npt.NDArray[np.intp]) -> Array:
        return np.array([[from_sums(tuple(map(float, row)))] for row in weights @ sums[part]])

    return _Columns((name,), estimate, sums[:, :1] > 0)


def _label_columns(images: Sequence[ImageResult], protocol: SegmentationProtocol) -> _Columns:
    """From counts per class: intersection, predicted and truth, and the two of boundaries where they were counted."""
    K = max(len(image.counts.get("intersection", ())) for image in images)
    classes = protocol.classes or tuple(map(str, range(K)))
    counts = {
        name: np.array([image.counts.get(name, [0.0] * K) for image in images], np.float64)
        for name in ("intersection", "predicted", "truth", "boundary_intersection", "boundary_union")
    }
    general = dict.fromkeys((*(protocol.metrics or _SEGMENTATION_DEFAULT), "mean_accuracy"))

    def estimate(weights: Array, part: npt.NDArray[np.intp]) -> Array:
        total = {name: weights @ values[part] for name, values in counts.items()}
        iou = _ratio(total["intersection"], total["predicted"] + total["truth"] - total["intersection"])
        found = {
            "mean_iou": _mean_of_present(iou),
            "pixel_accuracy": _ratio(total["intersection"].sum(axis=1), total["truth"].sum(axis=1)),
            "mean_accuracy": _mean_of_present(_ratio(total["intersection"], total["truth"])),
            "boundary_iou": _mean_of_present(_ratio(total["boundary_intersection"], total["boundary_union"])),
        }
        return np.column_stack([*(found[name] for name in general), iou])

    seen = counts["predicted"] + counts["truth"] > 0
    bounded = (counts["boundary_union"] > 0).any(axis=1)
    rests = [bounded if name == "boundary_iou" else seen.any(axis=1) for name in general]
    names = (*general, *(f"iou/{name}" for name in classes))
    return _Columns(names, estimate, np.column_stack([*rests, seen]))


def _resamples(strata: Sequence[npt.NDArray[np.intp]], samples: int, rng: np.random.Generator) -> Iterator[list[Array]]:
    """Weights [s, n] of each stratum, for `samples` samples in all: how often each picture was drawn."""
    total = sum(map(len, strata))
    at_once = max(1, _WEIGHTS_AT_ONCE // max(1, total))
    for begin in range(0, samples, at_once):
        count = min(at_once, samples - begin)
        yield [_drawn(count, len(part), rng) for part in strata]


def _drawn(count: int, size: int, rng: np.random.Generator) -> Array:
    if size == 0:
        return np.zeros((count, 0))
    places = rng.integers(size, size=(count, size)) + size * np.arange(count)[:, None]
    return np.bincount(places.ravel(), minlength=count * size).reshape(count, size).astype(np.float64)


def _over_strata(
    columns: Sequence[_Columns], strata: Sequence[npt.NDArray[np.intp]], weights: Sequence[Array]
) -> Array:
    """[S, M]: the mean over strata, of those that have a value."""
    each = [
        np.concatenate([part.estimate(rows, stratum) for part in columns], axis=1)
        for stratum, rows in zip(strata, weights, strict=True)
    ]
    if len(each) == 1:
        return each[0]
    if not each:
        return np.full((1, sum(len(part.names) for part in columns)), np.nan)
    return _mean_of_present(np.stack(each, axis=-1))


def _mean_of_present(values: Array) -> Array:
    """The mean over the last axis without NaN; NaN where nothing else is there."""
    present = np.isfinite(values)
    return _ratio(np.where(present, values, 0.0).sum(axis=-1), present.sum(axis=-1))


def _ratio(above: Array, below: npt.NDArray[np.float64] | npt.NDArray[np.intp]) -> Array:
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=np.asarray(below) > 0)


def _interval(value: float, drawn: Array, pictures: int, varies: bool) -> Interval:
    kept = drawn[np.isfinite(drawn)]
    if pictures < 2 or not kept.size or not varies:
        return Interval(_finite(value), None, None, pictures)
    low, high = (float(edge) for edge in np.percentile(kept, _PERCENTILES))
    return Interval(_finite(value), low, high, pictures)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def estimator(images: Sequence[ImageResult], protocol: Protocol) -> tuple[tuple[str, ...], Callable[[Array], Array]]:
    """Names of the metrics, and from how often each picture counts [S, N] to their values [S, M]; NaN for no value.

    By the protocol's aggregation. images: none of them skipped. Weights of 1 give the values themselves.
    """
    columns = _all_columns(images, protocol)
    strata = strata_of(images, protocol)
    names = tuple(name for part in columns for name in part.names)
    return names, lambda weights: _over_strata(columns, strata, [weights[:, part] for part in strata])
