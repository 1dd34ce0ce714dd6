"""From a predicted and a true depth map to numbers, in the order that a protocol's fields tell.

`depth_pixels` -> fit -> 16-bit rounding -> clamp -> metres -> metrics. P: pixels that count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from dptkit.data.sample import Sample
from dptkit.evaluation.alignment import Fit, FitPart, apply_fit, fit_parts, gather_part
from dptkit.evaluation.boundary import EdgeError, boundary_f1, boundary_f1_tolerant, edge_error
from dptkit.evaluation.depth_metrics import DEPTH_METRICS, Pixels, Sums
from dptkit.evaluation.depth_pixels import STRIP, DepthPixels, depth_pixels
from dptkit.evaluation.masks import Window
from dptkit.evaluation.protocol import DepthProtocol
from dptkit.evaluation.result import ImageResult
from dptkit.image_io.strips import row_strips
from dptkit.outputs import DepthMap

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_STEPS_PER_METRE = {"uint16_per_mm": 1000, "uint16_per_256th_m": 256}
_LARGEST_CODE = 65535

VIDEO_METRICS = ("temporal_alignment_error",)
"""Metrics of a picture and the one before it in its video; `dptkit.evaluation.video_groups` computes them."""


class DepthMaps:
    """Predicted and true depth [h, w], 1 where not valid, and what several metrics make of them, computed once."""

    def __init__(self, predicted: Array, truth: Array, valid: Mask) -> None:
        self.predicted, self.truth, self.valid = predicted, truth, valid

    @cached_property
    def edge_error(self) -> EdgeError:
        return edge_error(self.predicted, self.truth, self.valid)


MAP_METRICS: dict[str, Callable[[DepthMaps], float]] = {
    "boundary_f1": lambda maps: boundary_f1(maps.predicted, maps.truth, maps.valid),
    "boundary_f1_tolerant": lambda maps: boundary_f1_tolerant(maps.predicted, maps.truth, maps.valid),
    "edge_accuracy": lambda maps: maps.edge_error.accuracy,
    "edge_completeness": lambda maps: maps.edge_error.completeness,
}
"""Metrics that need the map and not only its pixels; NaN where they have no value."""


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
    """Numbers of one picture. fit: that of its video, where the scope is a video. Raises as `depth_pixels`."""
    return score_pixels(depth_pixels(prediction, sample, protocol), sample, protocol, fit)


def score_pixels(pixels: DepthPixels, sample: Sample, protocol: DepthProtocol, fit: Fit | None = None) -> ImageResult:
    """As `score_depth`, of what `depth_pixels` gave. Raises DataError where a prediction that counts is not finite."""
    fit = fit or _fit_of(pixels, protocol)
    relative = sample.unit == "relative"
    by_pixel = {
        name: DEPTH_METRICS[name]
        for name in protocol.metrics
        if not (name in MAP_METRICS or name in VIDEO_METRICS or (relative and DEPTH_METRICS[name].needs_metres))
    }
    parts: dict[Callable[[Pixels], Sums], list[Sums]] = {metric.pixel_sums: [] for metric in by_pixel.values()}
    count = 0
    for strip in _compared(pixels, protocol, fit):
        count += len(strip)
        for sums, of_strips in parts.items():
            of_strips.append(sums(strip))
    total = {sums: tuple(map(sum, zip(*of_strips, strict=True))) for sums, of_strips in parts.items()}
    of_maps = [name for name in protocol.metrics if name in MAP_METRICS]
    maps = _maps(pixels, protocol, fit) if of_maps else None
    scores: dict[str, float | None] = {}
    counts: dict[str, list[float]] = {}
    for name in protocol.metrics:
        value = float("nan")
        if name in by_pixel:
            value = by_pixel[name].from_sums(total[by_pixel[name].pixel_sums])
            if protocol.aggregation == "pooled":
                counts[name] = [float(part) for part in total[by_pixel[name].pixel_sums]]
        elif maps is not None and name in MAP_METRICS:
            value = MAP_METRICS[name](maps)
        scores[name] = float(value) if np.isfinite(value) else None
    return ImageResult(
        sample.name,
        sample.source,
        sample.group,
        "degenerate" if fit.degenerate else "scored",
        scores,
        pixels=count,
        counts=counts,
        fit={"scale": fit.scale, "shift": fit.shift},
    )


def compare_depth(
    prediction: DepthMap, sample: Sample, protocol: DepthProtocol, fit: Fit | None = None
) -> DepthComparison:
    """Prediction and truth after everything that the protocol does to them, as maps."""
    pixels = depth_pixels(prediction, sample, protocol)
    fit = fit or _fit_of(pixels, protocol)
    maps = _maps(pixels, protocol, fit)
    return DepthComparison(maps.predicted, maps.truth, maps.valid, fit, pixels.window)


def aligned_depth(pixels: DepthPixels, protocol: DepthProtocol, fit: Fit) -> Array:
    """Predicted depth of every pixel [h, w], above 0, after fit, rounding and clamp."""
    bounds = _bounds(pixels, protocol, fit)
    depth = np.empty(pixels.size)
    for rows in row_strips(*pixels.size, STRIP):
        depth[rows] = _aligned(pixels.predicted[rows].astype(np.float64), protocol, fit, bounds)
    return np.reciprocal(depth, out=depth) if fit.domain == "inverse_depth" else depth


def fit_part(prediction: DepthMap, sample: Sample, protocol: DepthProtocol) -> FitPart:
    """What one picture gives to the fit of its video. Raises as `depth_pixels`."""
    return _part_of(depth_pixels(prediction, sample, protocol), protocol)


def _part_of(pixels: DepthPixels, protocol: DepthProtocol) -> FitPart:
    return gather_part(protocol.alignment, pixels.strips_to_fit(), pixels.ranges)


def _fit_of(pixels: DepthPixels, protocol: DepthProtocol) -> Fit:
    return fit_parts(protocol.alignment, [] if protocol.alignment == "none" else [_part_of(pixels, protocol)])


def _compared(pixels: DepthPixels, protocol: DepthProtocol, fit: Fit) -> Iterator[Pixels]:
    """Prediction after fit, rounding and clamp, and truth, strip by strip."""
    bounds = _reached(_bounds(pixels, protocol, fit), pixels, protocol, fit)
    predicted_inverse = fit.domain == "inverse_depth"
    inverse = (predicted_inverse, predicted_inverse != pixels.inverted)
    for predicted, truth in pixels.strips():
        yield Pixels(_aligned(predicted, protocol, fit, bounds), truth, inverse)


def _maps(pixels: DepthPixels, protocol: DepthProtocol, fit: Fit) -> DepthMaps:
    strips = [(strip.p, strip.t) for strip in _compared(pixels, protocol, fit)]
    predicted, truth = (pixels.spread(np.concatenate([strip[side] for strip in strips])) for side in (0, 1))
    return DepthMaps(predicted, truth, pixels.valid)


Bounds = tuple[float | None, float | None]
"""Of aligned values, in the domain of the fit; None: no value is beyond."""


def _bounds(pixels: DepthPixels, protocol: DepthProtocol, fit: Fit) -> Bounds:
    low, high = protocol.prediction_range_m
    if fit.domain == "inverse_depth":
        low, high = (None if metres is None else 1 / metres for metres in (high, low))
    return protocol.relative_floor * pixels.ranges[1][0] if low is None else low, high


def _reached(bounds: Bounds, pixels: DepthPixels, protocol: DepthProtocol, fit: Fit) -> Bounds:
    """Those of `bounds` that some pixel that counts is beyond: a fit keeps the order, or turns it round."""
    if protocol.rounding != "none":
        return bounds
    ends = apply_fit(fit, np.asarray(pixels.ranges[0]))
    low, high = bounds
    return (
        None if low is None or ends.min() >= low else low,
        None if high is None or ends.max() <= high else high,
    )


def _aligned(predicted: Array, protocol: DepthProtocol, fit: Fit, bounds: Bounds) -> Array:
    """After fit, rounding and clamp, in the domain of the fit; float64 that it overwrites."""
    aligned = apply_fit(fit, predicted, out=predicted)
    if protocol.rounding != "none":
        steps = _STEPS_PER_METRE[protocol.rounding]
        if fit.domain == "inverse_depth":  # the files hold metres
            farthest = steps / _LARGEST_CODE  # also of what lies at or behind infinity
            codes = np.trunc(np.divide(steps, np.maximum(aligned, farthest)))
            # Code 0, below a step: as near as the clamp lets it be, or half a step.
            nearest = 0.5 if bounds[1] is None else steps / bounds[1]
            aligned = steps / np.where(codes > 0, codes, nearest)
        else:
            aligned *= steps
            np.trunc(aligned, out=aligned)
            _clamp(aligned, 0, _LARGEST_CODE)
            aligned /= steps
    _clamp(aligned, *bounds)
    return aligned


def _clamp(values: Array, low: float | None, high: float | None) -> None:
    """In place. numpy's clip is for arrays that are larger."""
    if low is not None:
        np.maximum(values, low, out=values)
    if high is not None:
        np.minimum(values, high, out=values)
