"""One picture's numbers, by whatever its protocol compares: depth, which of two points is nearer, labels."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import numpy.typing as npt

from dptkit.data.sample import IGNORED, OrdinalSample, Sample
from dptkit.errors import ConfigError, DataError
from dptkit.evaluation.alignment import Fit, FitPart, fit_parts
from dptkit.evaluation.depth_pixels import resize_prediction
from dptkit.evaluation.depth_scoring import fit_part, score_depth
from dptkit.evaluation.ordinal import ordinal_sums, pairwise_accuracy, values_at, whdr
from dptkit.evaluation.protocol import DepthProtocol, OrdinalProtocol, Protocol, SegmentationProtocol
from dptkit.evaluation.result import ImageResult
from dptkit.evaluation.segmentation_metrics import (
    boundary_counts,
    boundary_iou,
    class_iou,
    confusion,
    mean_accuracy,
    mean_iou,
    pixel_accuracy,
)
from dptkit.evaluation.subject import Prediction
from dptkit.outputs import DepthMap, SegmentationMap

ORDINAL_METRICS = {"whdr": whdr, "pairwise_accuracy": pairwise_accuracy}


def score_picture(
    prediction: Prediction, sample: Sample | OrdinalSample, protocol: Protocol, fit: Fit | None = None
) -> ImageResult:
    """Raises DataError for data that cannot be scored, ConfigError where prediction and protocol do not fit."""
    if isinstance(protocol, SegmentationProtocol):
        if not isinstance(prediction, SegmentationMap):
            raise ConfigError(f"{protocol.name} compares labels, but depth was predicted")
        if not isinstance(sample, Sample) or sample.quantity != "labels":
            raise ConfigError(f"{protocol.name} compares labels, but the data set has none")
        return score_labels(prediction, sample, protocol)
    if not isinstance(prediction, DepthMap):
        raise ConfigError(f"{protocol.name} compares depth, but labels were predicted")
    if isinstance(protocol, OrdinalProtocol):
        if not isinstance(sample, OrdinalSample):
            raise ConfigError(f"{protocol.name} compares pairs of points, but the data set has none")
        return score_pairs(prediction, sample, protocol)
    if not isinstance(sample, Sample):
        raise ConfigError(f"{protocol.name} compares depth maps, but the data set has pairs of points")
    return score_depth(prediction, sample, protocol, fit)


def fit_group(pairs: Iterable[tuple[Prediction, Sample | OrdinalSample]], protocol: Protocol) -> Fit:
    """The fit of a whole video. Raises as `score_picture`."""
    return fit_of_parts((part_of_fit(prediction, sample, protocol) for prediction, sample in pairs), protocol)


def part_of_fit(prediction: Prediction, sample: Sample | OrdinalSample, protocol: Protocol) -> FitPart:
    """See `dptkit.evaluation.depth_scoring.fit_part`. Raises as `score_picture`."""
    if not isinstance(prediction, DepthMap) or not isinstance(sample, Sample):
        raise ConfigError(f"{protocol.name} compares depth maps")
    if not isinstance(protocol, DepthProtocol):
        raise ConfigError(f"{protocol.name} fits nothing")
    return fit_part(prediction, sample, protocol)


def fit_of_parts(parts: Iterable[FitPart], protocol: Protocol) -> Fit:
    """One fit for all pictures of a video. Raises ConfigError for a protocol without one."""
    if not isinstance(protocol, DepthProtocol):
        raise ConfigError(f"{protocol.name} fits nothing")
    return fit_parts(protocol.alignment, parts)


def score_pairs(prediction: DepthMap, sample: OrdinalSample, protocol: OrdinalProtocol) -> ImageResult:
    """Metric depth counts as its inverse."""
    at_points = values_at(nearness_of(prediction, sample, protocol), sample.points)
    if not np.isfinite(at_points).all():
        raise DataError(f"{sample.name}: the prediction has no finite value at some points")
    if not len(at_points):
        raise DataError(f"{sample.name}: no pairs of points")
    scores: dict[str, float | None] = {
        name: float(ORDINAL_METRICS[name](at_points, sample.nearer, equal_ratio=protocol.equal_ratio))
        for name in protocol.metrics
    }
    sums = ordinal_sums(at_points, sample.nearer, equal_ratio=protocol.equal_ratio)
    return ImageResult(
        sample.name, sample.source, sample.group, "scored", scores, len(at_points), {key: list(sums) for key in scores}
    )


def nearness_of(prediction: DepthMap, sample: OrdinalSample, protocol: OrdinalProtocol) -> npt.NDArray[np.float64]:
    """Predicted inverse depth at the picture's size [H, W]."""
    size = (sample.image.shape[0], sample.image.shape[1])
    nearness = prediction.values
    if prediction.quantity == "depth_m":  # before the resize: cubic weights may leave nothing of a depth beside an edge
        nearness = (1 / np.maximum(nearness.astype(np.float64), 1e-8)).astype(np.float32)
    return resize_prediction(nearness, size, protocol.interpolation).astype(np.float64)


def score_labels(prediction: SegmentationMap, sample: Sample, protocol: SegmentationProtocol) -> ImageResult:
    """counts: per class, "intersection", "predicted" and "truth" pixels, and the two of boundary IoU."""
    names = protocol.classes or prediction.class_names
    if prediction.class_names and prediction.class_names != names:
        raise ConfigError(f"{protocol.name}: {prediction.provenance.model} knows other classes")
    truth = np.where(sample.valid, sample.target, IGNORED).astype(np.uint8)
    labels = labels_at(prediction.labels, (truth.shape[0], truth.shape[1]), sample.name)
    try:
        table = confusion(labels, truth, len(names))
    except ValueError as error:
        raise DataError(f"{sample.name}: {error}") from error
    if not table.sum():
        raise DataError(f"{sample.name}: no pixel of the truth has a label")
    iou = class_iou(table)
    scores: dict[str, float | None] = {
        "mean_iou": _finite(mean_iou(table)),
        "pixel_accuracy": _finite(pixel_accuracy(table)),
        "mean_accuracy": _finite(mean_accuracy(table)),
    }
    square = table[:, :-1]  # the last column is "no class"
    counts = {"intersection": np.diag(square), "predicted": square.sum(axis=0), "truth": table.sum(axis=1)}
    if "boundary_iou" in protocol.metrics:
        boundary = boundary_counts(labels, truth, len(names))
        counts |= {"boundary_intersection": boundary[:, 0], "boundary_union": boundary[:, 1]}
        scores["boundary_iou"] = _finite(boundary_iou(boundary))
    scores |= {f"iou/{name}": _finite(value) for name, value in zip(names, iou, strict=True) if np.isfinite(value)}
    return ImageResult(
        sample.name,
        sample.source,
        sample.group,
        "scored",
        scores,
        pixels=int(table.sum()),
        counts={name: [float(part) for part in values] for name, values in counts.items()},
    )


def labels_at(labels: npt.NDArray[np.uint8], size: tuple[int, int], name: str) -> npt.NDArray[np.uint8]:
    """The nearest label. Raises DataError for a map that lies on its side."""
    if labels.shape == size:
        return labels
    if labels.shape == size[::-1]:
        raise DataError(f"{name}: the prediction lies on its side: {labels.shape} for {size}")
    return np.asarray(cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
