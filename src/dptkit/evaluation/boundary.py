"""Are depth edges where they should be: boundary F1, exact and tolerant, and iBims-1's boundary errors.

Maps are [H, W], float64, above 0 at valid pixels; values of other pixels do not matter.
"""

from __future__ import annotations

from math import nan
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

F1_RATIOS = tuple(np.linspace(1.05, 1.25, 10).tolist())
"""Depth ratios of neighbours from which there is a boundary, in Depth Pro's code (its paper says t = 5% to 25%)."""
TOLERANT_RATIOS = (1.05, 1.1, 1.15, 1.2, 1.25)
TOLERANCE = 0.004
"""How far off a boundary may be, as a share of the diagonal: 3 pixels at 640x480."""
FAR_PX = 10.0
"""Distance from which iBims-1's errors do not grow."""
CANNY_SIGMA = float(np.sqrt(2))
CANNY_THRESHOLDS = (0.15, 0.3)
_UNIT = 8000
"""Of gradients as int16: the largest that Sobel's filter gives for depth in [0, 1] is 4."""


class EdgeError(NamedTuple):
    """In pixels, 0 to 10, lower is better. NaN where the truth has no edge.

    accuracy: mean distance of predicted edges to the nearest true one, of those closer than 10 pixels.
    completeness: mean distance of predicted edges to the nearest true one and of true edges to the nearest predicted
        one, each at most 10.
    """

    accuracy: float
    completeness: float


def boundary_f1(predicted: Array, truth: Array, valid: Mask | None = None) -> float:
    """Scale-invariant boundary F1, in [0, 1], higher is better: SI_boundary_F1 of Depth Pro (arXiv 2410.02073).

    A pixel occludes its neighbour where the ratio of their depths exceeds t. For each t of `F1_RATIOS`, precision and
    recall of those relations at the very same pair of pixels are averaged over the four directions (a direction without
    any counts 0), and F1 is computed of the averages; F1 is averaged with weights proportional to t.
    predicted, truth: both depth or both inverse depth; the number is the same up to rounding.
    Departures: pairs with a pixel that is not valid do not count; NaN, not 0, where the truth has no boundary at all.
    """
    ours, theirs, valid = _checked(predicted, truth, valid)
    steps = []
    for axis in (0, 1):
        here, there = _neighbours(axis)
        pairs = valid[here] & valid[there]
        for one, other in ((here, there), (there, here)):
            steps.append(((ours[one] / ours[other])[pairs], (theirs[one] / theirs[other])[pairs]))
    if not any((true > F1_RATIOS[0]).any() for _, true in steps):
        return nan
    scores = []
    for ratio in F1_RATIOS:
        precision = recall = 0.0
        for found_ratio, true_ratio in steps:
            found, true = found_ratio > ratio, true_ratio > ratio
            hits = int((found & true).sum())
            precision += hits / max(1, int(found.sum())) / 4
            recall += hits / max(1, int(true.sum())) / 4
        scores.append(2 * precision * recall / (precision + recall) if precision + recall else 0.0)
    return float(np.average(scores, weights=F1_RATIOS))


def boundary_f1_tolerant(predicted: Array, truth: Array, valid: Mask | None = None) -> float:
    """Mean F1 over `TOLERANT_RATIOS` of depth steps between neighbours, both valid, matched within `TOLERANCE`.

    A thin, exact line of steps scores 1; a ramp in place of a step has no step that is large enough, or too many.
    NaN where the truth has no boundary. predicted, truth: as for `boundary_f1`, with which it is not comparable: that
    one asks for the same pair of pixels, which measured truth is seldom exact enough for.
    """
    ours, theirs, valid = _checked(predicted, truth, valid)
    radius = max(1, round(TOLERANCE * float(np.hypot(*valid.shape))))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    scores = []
    for ratio in TOLERANT_RATIOS:
        found, true = _step_lines(ours, valid, ratio), _step_lines(theirs, valid, ratio)
        if not true.any():
            continue
        near_found, near_true = (cv2.dilate(lines.astype(np.uint8), kernel) > 0 for lines in (found, true))
        precision = (found & near_true).sum() / max(1, found.sum())
        recall = (true & near_found).sum() / true.sum()
        scores.append(2 * precision * recall / max(1e-12, precision + recall))
    return float(np.mean(scores)) if scores else nan


def edge_error(
    predicted: Array, truth: Array, valid: Mask | None = None, *, true_edges: Mask | None = None
) -> EdgeError:
    """Depth boundary errors of iBims-1, in pixels: Koch et al. 2018 (arXiv 1805.01328) and their Python script.

    predicted, truth: depth (after the alignment). Edges: Canny's detector (sigma sqrt 2, thresholds 0.15 and 0.3 of
    Sobel's gradient) on depth brought to [0, 1]; distances are Euclidean.
    true_edges: where edges of the truth are annotated, as in iBims-1; found in the truth as in the prediction if None.
    A prediction without an edge closer than 10 pixels to a true one scores 10 and 10.
    Departures: edges within 2 pixels of a pixel that is not valid do not count, so it is for dense truth; OpenCV's
    detector follows edges a little differently from scikit-image's, as that does from the paper's (Matlab's).
    """
    ours, theirs, valid = _checked(predicted, truth, valid)
    usable = cv2.erode(valid.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    true = (_edges(theirs, valid) if true_edges is None else np.asarray(true_edges, np.bool_)) & usable
    if not true.any():
        return EdgeError(nan, nan)
    found = _edges(ours, valid) & usable
    to_true = _distance_to(true)[found]
    if not (to_true < FAR_PX).any():
        return EdgeError(FAR_PX, FAR_PX)
    capped = np.minimum(np.concatenate([to_true, _distance_to(found)[true]]), FAR_PX)
    return EdgeError(float(to_true[to_true < FAR_PX].mean()), float(capped.mean()))


def _checked(predicted: Array, truth: Array, valid: Mask | None) -> tuple[Array, Array, Mask]:
    """As float64, 1 where not valid."""
    mask = np.ones(truth.shape, np.bool_) if valid is None else np.asarray(valid, np.bool_)
    if truth.ndim != 2 or predicted.shape != truth.shape or mask.shape != truth.shape:
        raise ValueError(f"boundaries need maps [H, W] of one size, not {predicted.shape}, {truth.shape}, {mask.shape}")
    for name, values in (("predicted", predicted[mask]), ("true", truth[mask])):
        if not (np.isfinite(values).all() and (values > 0).all()):
            raise ValueError(f"{name} values must be finite and above 0 at every valid pixel")
    ours, theirs = (np.where(mask, values, 1.0).astype(np.float64) for values in (predicted, truth))
    return ours, theirs, mask


def _neighbours(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Indices of each pixel but the first along the axis, and of the one before it."""
    if axis == 0:
        return (slice(1, None),), (slice(-1),)
    return (slice(None), slice(1, None)), (slice(None), slice(-1))


def _step_lines(values: Array, valid: Mask, ratio: float) -> Mask:
    """The lower or right pixel of each pair of valid neighbours whose ratio, either way, exceeds `ratio`."""
    lines = np.zeros(valid.shape, np.bool_)
    for here, there in (_neighbours(1), _neighbours(0)):
        step = np.maximum(values[here] / values[there], values[there] / values[here]) > ratio
        lines[here] |= step & valid[here] & valid[there]
    return lines


def _edges(depth: Array, valid: Mask) -> Mask:
    low, high = depth[valid].min(), depth[valid].max()
    if low == high:
        return np.zeros(valid.shape, np.bool_)
    smooth = cv2.GaussianBlur((_filled(depth, valid) - low) / (high - low), (0, 0), CANNY_SIGMA)
    dx, dy = (np.rint(cv2.Sobel(smooth, cv2.CV_64F, *order) * _UNIT).astype(np.int16) for order in ((1, 0), (0, 1)))
    low_step, high_step = (share * _UNIT for share in CANNY_THRESHOLDS)
    return np.asarray(cv2.Canny(dx, dy, low_step, high_step, L2gradient=True) > 0)


def _filled(values: Array, valid: Mask) -> Array:
    """Pixels that are not valid take the nearest valid value, so that no edge arises around them."""
    if valid.all():
        return values
    _, labels = cv2.distanceTransformWithLabels(
        (~valid).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_label = np.zeros(int(labels.max()) + 1)
    of_label[labels[valid]] = values[valid]
    return np.asarray(of_label[labels])


def _distance_to(lines: Mask) -> Array:
    """Of each pixel to the nearest of `lines`, in pixels; `lines` must not be empty."""
    return cv2.distanceTransform((~lines).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE).astype(np.float64)
