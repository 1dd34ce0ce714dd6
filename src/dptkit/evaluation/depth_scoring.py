"""From a predicted and a true depth map to numbers, in the order that a protocol's fields tell.

crop -> resize -> domain of the fit -> mask -> fit -> 16-bit rounding -> clamp -> metres -> metrics. H W: the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from dptkit.data.sample import Sample
from dptkit.errors import ConfigError, DataError
from dptkit.evaluation.alignment import Fit, apply_fit, fit_alignment, fit_video
from dptkit.evaluation.boundary import boundary_f1, boundary_f1_tolerant
from dptkit.evaluation.depth_metrics import DEPTH_METRICS
from dptkit.evaluation.masks import evaluation_mask, kitti_benchmark_window
from dptkit.evaluation.protocol import DepthProtocol, MapInterpolation
from dptkit.evaluation.result import ImageResult
from dptkit.outputs import DepthMap

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_STEPS_PER_METRE = {"uint16_per_mm": 1000, "uint16_per_256th_m": 256}
_LARGEST_CODE = 65535
_SMALLEST = 1e-8
"""Inverse depth below it is taken for it, in 1/m, as where the head inverts (isl-org/DPT `dpt/models.py`)."""

MAP_METRICS: dict[str, Callable[[Array, Array, Mask], float]] = {
    "boundary_f1": boundary_f1,
    "boundary_f1_tolerant": boundary_f1_tolerant,
}
"""Metrics that need the map and not only its pixels: (predicted depth, true depth, valid) [H, W] -> value or NaN."""


@dataclass(frozen=True, eq=False)
class DepthComparison:
    """What is compared, at the truth's resolution: for pictures of errors. Depth in metres, or up to scale.

    predicted, truth: float64 [h, w], 1 where not valid. window: (top, left, height, width) of the whole truth.
    """

    predicted: Array
    truth: Array
    valid: Mask
    fit: Fit
    window: tuple[int, int, int, int]


def score_depth(prediction: DepthMap, sample: Sample, protocol: DepthProtocol, fit: Fit | None = None) -> ImageResult:
    """Numbers of one picture. fit: that of its video, where the scope is a video.

    Raises DataError for a truth or a prediction that cannot be scored, ConfigError where the protocol does not fit
    what was predicted.
    """
    compared = compare_depth(prediction, sample, protocol, fit)
    predicted, truth = compared.predicted[compared.valid], compared.truth[compared.valid]
    metres = sample.unit != "relative"
    scores: dict[str, float | None] = {}
    counts: dict[str, list[float]] = {}
    for name in protocol.metrics:
        if name in MAP_METRICS:
            value = MAP_METRICS[name](compared.predicted, compared.truth, compared.valid)
        elif DEPTH_METRICS[name].needs_metres and not metres:
            value = float("nan")
        else:
            metric = DEPTH_METRICS[name]
            value = metric.function(predicted, truth)
            if protocol.aggregation == "pooled":
                counts[name] = [float(part) for part in metric.sums(predicted, truth)]
        scores[name] = float(value) if np.isfinite(value) else None
    return ImageResult(
        sample.name,
        sample.source,
        sample.group,
        "degenerate" if compared.fit.degenerate else "scored",
        scores,
        pixels=int(predicted.size),
        counts=counts,
        fit={"scale": compared.fit.scale, "shift": compared.fit.shift},
    )


def compare_depth(
    prediction: DepthMap, sample: Sample, protocol: DepthProtocol, fit: Fit | None = None
) -> DepthComparison:
    """Prediction and truth after everything that the protocol does to them."""
    window, predicted, truth, valid = _in_domain(prediction, sample, protocol)
    inside, true = predicted[valid], truth[valid]
    if fit is None:
        fit = fit_alignment(protocol.alignment, inside, true)
    inverse = fit.domain == "inverse_depth"
    aligned = apply_fit(fit, predicted)
    if protocol.rounding != "none":
        steps = _STEPS_PER_METRE[protocol.rounding]
        aligned = np.clip(np.trunc(aligned * steps), 0, _LARGEST_CODE) / steps
    low, high = protocol.prediction_range_m
    if inverse:
        smallest = protocol.relative_floor * float(true.min()) if high is None else 1 / high
        np.clip(aligned, smallest, None if low is None else 1 / low, out=aligned)
        np.reciprocal(aligned, out=aligned)
        truth = np.reciprocal(np.where(valid, truth, 1.0))
    else:
        np.clip(aligned, protocol.relative_floor * float(true.min()) if low is None else low, high, out=aligned)
        truth = np.where(valid, truth, 1.0)
    aligned[~valid] = 1.0
    return DepthComparison(aligned, truth, valid, fit, window)


def fit_depth_group(pairs: Iterable[tuple[DepthMap, Sample]], protocol: DepthProtocol) -> Fit:
    """One fit for all pictures of a video."""

    def parts() -> Iterable[tuple[Array, Array]]:
        for prediction, sample in pairs:
            _, predicted, truth, valid = _in_domain(prediction, sample, protocol)
            yield predicted[valid], truth[valid]

    return fit_video(protocol.alignment, parts())


def _in_domain(
    prediction: DepthMap, sample: Sample, protocol: DepthProtocol
) -> tuple[tuple[int, int, int, int], Array, Array, Mask]:
    """Window, prediction and truth in the domain of the fit, and the pixels that count. The truth is 1 elsewhere."""
    if sample.quantity == "labels":
        raise DataError(f"{sample.name}: has labels, but {protocol.name} compares depth")
    size = (sample.target.shape[0], sample.target.shape[1])
    window = (0, 0, *size)
    if protocol.crop == "kitti_benchmark":
        try:
            window = kitti_benchmark_window(size)
        except ValueError as error:
            raise DataError(f"{sample.name}: {error}") from error
    top, left, height, width = window
    cut = (slice(top, top + height), slice(left, left + width))
    inverse = protocol.alignment.startswith("inverse")
    valid = _valid_truth(sample, protocol, size)[cut].copy()
    if protocol.mask_frame == "crop":
        valid &= _mask(protocol, (height, width), sample.name)
    if not valid.any():
        raise DataError(f"{sample.name}: no pixel of the truth counts")
    truth = sample.target[cut].astype(np.float64)
    truth[~valid] = 1.0
    if (sample.quantity == "inverse_depth") != inverse:
        np.reciprocal(truth, out=truth)
    predicted = _predicted(prediction, sample, protocol, inverse, (height, width))
    if not np.isfinite(predicted[valid]).all():
        raise DataError(f"{sample.name}: the prediction has no finite value at some pixels that count")
    return window, predicted, truth, valid


def _valid_truth(sample: Sample, protocol: DepthProtocol, size: tuple[int, int]) -> Mask:
    """Measured, in the protocol's range, and, for a mask of the whole truth, under it."""
    valid = sample.valid & (sample.target > 0)  # inverse depth 0 is at infinity: no ratio to it
    if sample.unit != "relative":
        low, high = protocol.truth_range_m
        if sample.quantity == "inverse_depth":
            low, high = 1 / high if high else 0.0, 1 / low if low else None
        if low:
            valid &= sample.target > low
        if high is not None:
            valid &= sample.target < high
    elif protocol.alignment == "none":
        raise DataError(f"{sample.name}: the truth is known up to scale only, and {protocol.name} compares metres")
    if protocol.mask_frame == "whole" and protocol.mask != "none":
        valid = valid & _mask(protocol, size, sample.name)
    return valid


def _mask(protocol: DepthProtocol, size: tuple[int, int], name: str) -> Mask:
    try:
        return evaluation_mask(protocol.mask, size)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from error


def _predicted(
    prediction: DepthMap, sample: Sample, protocol: DepthProtocol, inverse: bool, size: tuple[int, int]
) -> Array:
    """The prediction at the truth's size, in the domain of the fit."""
    if prediction.quantity == "inverse_depth" and not inverse:
        raise ConfigError(
            f"{protocol.name} needs metres: {prediction.provenance.model} predicts relative inverse depth, whose scale "
            "and shift are unknown; use a protocol that fits both in inverse depth"
        )
    if prediction.size != size and prediction.size == size[::-1]:
        raise DataError(f"{sample.name}: the prediction lies on its side: {prediction.size} for {size}")
    values = prediction.values
    low, high = protocol.prediction_range_m
    if not np.isfinite(values).all():  # as cleinc/bts: infinity is far, no number is near
        if prediction.quantity == "inverse_depth" or low is None or high is None:
            raise DataError(f"{sample.name}: the prediction has pixels without a finite value")
        values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    values = resize_prediction(values, size, protocol.interpolation)
    if inverse and prediction.quantity == "depth_m":
        return 1 / np.maximum(values.astype(np.float64), _SMALLEST)
    return values.astype(np.float64)


def resize_prediction(
    values: npt.NDArray[np.float32], size: tuple[int, int], interpolation: MapInterpolation
) -> npt.NDArray[np.float32]:
    """float32 [h, w] -> [H, W], as torch.nn.functional.interpolate with the mode that the name says."""
    if values.shape == size:
        return values
    height, width = size
    values = np.ascontiguousarray(values)
    if interpolation == "bilinear_aligned_corners":
        rows = np.linspace(0, values.shape[0] - 1, height, dtype=np.float32)
        columns = np.linspace(0, values.shape[1] - 1, width, dtype=np.float32)
        places = np.meshgrid(columns, rows)
        return np.asarray(cv2.remap(values, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)
    flag = {"nearest": cv2.INTER_NEAREST, "bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}[interpolation]
    return np.asarray(cv2.resize(values, (width, height), interpolation=flag), np.float32)
