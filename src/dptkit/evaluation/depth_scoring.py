"""From a predicted and a true depth map to numbers, in the order that a protocol's fields tell.

crop -> resize -> domain of the fit -> mask -> fit -> 16-bit rounding -> clamp -> metres -> metrics. H W: the truth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from dptkit.data.sample import Sample
from dptkit.errors import ConfigError, DataError
from dptkit.evaluation.alignment import DOMAINS, Fit, apply_fit, fit_alignment
from dptkit.evaluation.boundary import boundary_f1, boundary_f1_tolerant, edge_error
from dptkit.evaluation.depth_metrics import DEPTH_METRICS, Pixels
from dptkit.evaluation.masks import Window, crop_window, evaluation_mask
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
    "edge_accuracy": lambda predicted, truth, valid: edge_error(predicted, truth, valid).accuracy,
    "edge_completeness": lambda predicted, truth, valid: edge_error(predicted, truth, valid).completeness,
}
"""Metrics that need the map and not only its pixels: (predicted depth, true depth, valid) [H, W] -> value or NaN."""

VIDEO_METRICS = ("temporal_alignment_error",)
"""Metrics of a picture and the one before it in its video; `dptkit.evaluation.video_groups` computes them."""


@dataclass(frozen=True, eq=False)
class DepthComparison:
    """What is compared, at the truth's resolution: for pictures of errors. Depth in metres, or up to scale.

    predicted, truth: float64 [h, w], 1 where not valid. window: (top, left, height, width) of the whole truth.
    """

    predicted: Array
    truth: Array
    valid: Mask
    fit: Fit
    window: Window


def score_depth(prediction: DepthMap, sample: Sample, protocol: DepthProtocol, fit: Fit | None = None) -> ImageResult:
    """Numbers of one picture. fit: that of its video, where the scope is a video.

    Raises DataError for a truth or a prediction that cannot be scored, ConfigError where the protocol does not fit
    what was predicted.
    """
    domain = _in_domain(prediction, sample, protocol)
    fit = fit or fit_alignment(protocol.alignment, domain.predicted, domain.truth)
    pixels = Pixels(*_in_depth(domain, protocol, fit))
    scores: dict[str, float | None] = {}
    counts: dict[str, list[float]] = {}
    for name in protocol.metrics:
        if name in VIDEO_METRICS:
            scores[name] = None
            continue
        if name in MAP_METRICS:
            value = MAP_METRICS[name](domain.spread(pixels.p), domain.spread(pixels.t), domain.valid)
        elif DEPTH_METRICS[name].needs_metres and sample.unit == "relative":
            value = float("nan")
        else:
            sums = DEPTH_METRICS[name].pixel_sums(pixels)
            value = DEPTH_METRICS[name].from_sums(sums)
            if protocol.aggregation == "pooled":
                counts[name] = [float(part) for part in sums]
        scores[name] = float(value) if np.isfinite(value) else None
    return ImageResult(
        sample.name,
        sample.source,
        sample.group,
        "degenerate" if fit.degenerate else "scored",
        scores,
        pixels=len(pixels),
        counts=counts,
        fit={"scale": fit.scale, "shift": fit.shift},
    )


def compare_depth(
    prediction: DepthMap, sample: Sample, protocol: DepthProtocol, fit: Fit | None = None
) -> DepthComparison:
    """Prediction and truth after everything that the protocol does to them, as maps."""
    domain = _in_domain(prediction, sample, protocol)
    fit = fit or fit_alignment(protocol.alignment, domain.predicted, domain.truth)
    predicted, truth = _in_depth(domain, protocol, fit)
    return DepthComparison(domain.spread(predicted), domain.spread(truth), domain.valid, fit, domain.window)


def aligned_depth(prediction: DepthMap, sample: Sample, protocol: DepthProtocol, fit: Fit) -> tuple[Array, Window]:
    """Predicted depth of every pixel [h, w], above 0, after fit, rounding and clamp; and its window of the truth."""
    valid, window = _counted(sample, protocol)
    whole = _predicted(prediction, sample, protocol, valid).astype(np.float64)
    return _to_depth(whole, protocol, fit, lambda: float(_truth(sample, protocol, valid, window).min())), window


def fit_part(prediction: DepthMap, sample: Sample, protocol: DepthProtocol) -> tuple[Array, Array]:
    """What one picture gives to the fit of its video: predicted and true pixels [P] that count, in the fit's domain.

    Raises as `score_depth`.
    """
    domain = _in_domain(prediction, sample, protocol)
    return domain.predicted, domain.truth


class _Domain(NamedTuple):
    """Where the fit is made. predicted, truth: float64 [P], the pixels of `valid` [h, w], a window of the truth."""

    predicted: Array
    truth: Array
    valid: Mask
    window: Window

    def spread(self, values: Array) -> Array:
        """[P] -> [h, w], 1 where not valid."""
        whole = np.ones(self.valid.shape)
        whole[self.valid] = values
        return whole


def _in_depth(domain: _Domain, protocol: DepthProtocol, fit: Fit) -> tuple[Array, Array]:
    """Predicted and true depth [P] after fit, rounding and clamp."""
    predicted = _to_depth(domain.predicted, protocol, fit, lambda: float(domain.truth.min()))
    return predicted, np.reciprocal(domain.truth) if fit.domain == "inverse_depth" else domain.truth


def _to_depth(predicted: Array, protocol: DepthProtocol, fit: Fit, smallest_truth: Callable[[], float]) -> Array:
    """Depth after fit, rounding and clamp. smallest_truth: of the pixels that count, in the domain of the fit."""
    aligned = apply_fit(fit, predicted)
    if protocol.rounding != "none":
        steps = _STEPS_PER_METRE[protocol.rounding]
        aligned = np.clip(np.trunc(aligned * steps), 0, _LARGEST_CODE) / steps
    low, high = protocol.prediction_range_m
    if fit.domain == "inverse_depth":
        smallest = protocol.relative_floor * smallest_truth() if high is None else 1 / high
        np.clip(aligned, smallest, None if low is None else 1 / low, out=aligned)
        return np.reciprocal(aligned, out=aligned)
    return np.clip(aligned, protocol.relative_floor * smallest_truth() if low is None else low, high, out=aligned)


def _in_domain(prediction: DepthMap, sample: Sample, protocol: DepthProtocol) -> _Domain:
    """What counts of prediction and truth, in the domain of the fit."""
    valid, window = _counted(sample, protocol)
    truth = _truth(sample, protocol, valid, window)
    predicted = _predicted(prediction, sample, protocol, valid)[valid].astype(np.float64)
    if not np.isfinite(predicted).all():
        raise DataError(f"{sample.name}: the prediction has no finite value at some pixels that count")
    return _Domain(predicted, truth, valid, window)


def _counted(sample: Sample, protocol: DepthProtocol) -> tuple[Mask, Window]:
    """The pixels [h, w] of the truth that count, and the window of the whole truth that the crop leaves."""
    if sample.quantity == "labels":
        raise DataError(f"{sample.name}: has labels, but {protocol.name} compares depth")
    size = (sample.target.shape[0], sample.target.shape[1])
    try:
        window = crop_window(protocol.crop, size)
    except ValueError as error:
        raise DataError(f"{sample.name}: {error}") from error
    valid = _valid_truth(sample, protocol, size)[_cut(window)]
    if protocol.mask_frame == "crop" and protocol.mask != "none":
        valid = valid & _mask(protocol, (window[2], window[3]), sample.name)
    if not valid.any():
        raise DataError(f"{sample.name}: no pixel of the truth counts")
    return valid, window


def _cut(window: Window) -> tuple[slice, slice]:
    top, left, height, width = window
    return slice(top, top + height), slice(left, left + width)


def _truth(sample: Sample, protocol: DepthProtocol, valid: Mask, window: Window) -> Array:
    """[P], in the domain of the fit."""
    truth = sample.target[_cut(window)][valid].astype(np.float64)
    if (sample.quantity == "inverse_depth") != (DOMAINS[protocol.alignment] == "inverse_depth"):
        np.reciprocal(truth, out=truth)
    return truth


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


def _predicted(prediction: DepthMap, sample: Sample, protocol: DepthProtocol, valid: Mask) -> npt.NDArray[np.float32]:
    """The prediction at the truth's size, in the domain of the fit. valid: the pixels of the truth that count."""
    size = (valid.shape[0], valid.shape[1])
    inverse = DOMAINS[protocol.alignment] == "inverse_depth"
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
    if prediction.quantity == "depth_m":
        # A fit in depth takes affine-invariant depth, where 0 is a value; a lower bound takes it for that, as BTS.
        if inverse or (low is None and protocol.alignment != "depth_least_squares"):
            _check_positive(values, valid, sample.name)
        if inverse:  # before the resize: cubic weights may leave nothing of a depth beside an edge
            values = (1 / np.maximum(values, _SMALLEST)).astype(np.float32)
    return resize_prediction(values, size, protocol.interpolation)


def _check_positive(values: npt.NDArray[np.float32], valid: Mask, name: str) -> None:
    """Raises DataError for depth of 0 or less where it counts; anywhere, if the map is of another size."""
    empty = values <= 0
    if values.shape == valid.shape:
        empty &= valid
    if empty.any():
        raise DataError(f"{name}: the prediction has {np.count_nonzero(empty)} pixels of depth 0 or less")


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
