"""How a prediction is brought to the truth's scale: fits in closed form, in float64, for a picture or a whole video.

Least squares: Ranftl et al. 2020 (MiDaS), section 5, in inverse depth; Marigold, in depth. Median and mean absolute
deviation: MiDaS, section 5. Median scale: Zhou et al. 2017 (SfMLearner) and monodepth2's evaluation.

A fit is called degenerate where the prediction had no part in the answer, or a part that contradicts it. Its answer is
then still defined, so that a run can go on and the picture still counts:
    no pixels            scale 1, shift 0
    constant prediction  (or one pixel, or zero deviation) scale 0, shift = mean of the truth for least squares, its
                         median for median and deviation: the constant that fits best
    constant truth       the same; any prediction at all would score perfectly
    zero median          of prediction or truth, for the median scale: scale 1, shift 0
    negative scale       kept, for it is the fit that the papers define; but a prediction that is right only upside
                         down does not know what is near
"none" has nothing to fit and is never degenerate.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from dptkit.evaluation.protocol import Alignment

Array = npt.NDArray[np.float64]
Domain = Literal["depth", "inverse_depth"]
Ranges = tuple[tuple[float, float], tuple[float, float]]
"""Least and largest of predicted and of true values."""
Two = tuple[float, float]
"""Of predicted and of true values."""

DOMAINS: dict[Alignment, Domain] = {
    "none": "depth",
    "median_scale": "depth",
    "depth_least_squares": "depth",
    "inverse_least_squares": "inverse_depth",
    "inverse_median_mad": "inverse_depth",
}
"""In which prediction and truth are given to a fit, and in which it is applied."""

_LEAST_SQUARES = ("inverse_least_squares", "depth_least_squares")

_ROUNDING = 4 * float(np.finfo(np.float64).eps)
"""Values that differ by less than this share of the largest are the same up to the rounding of float64."""


@dataclass(frozen=True)
class Fit:
    """aligned = scale * predicted + shift, in `domain`. degenerate: see the module's docstring."""

    scale: float
    shift: float
    domain: Domain
    degenerate: bool


def fit_alignment(kind: Alignment, predicted: Array, truth: Array, *, weights: Array | None = None) -> Fit:
    """The fit of one picture. predicted, truth: 1-D, valid pixels, both in `DOMAINS[kind]`.

    weights: 1-D, 0 or more; pixels of weight 0 are as if they were not there, whatever their values. A weight of 2
    is the same as a pixel that is there twice.
    Raises ValueError for arrays that do not fit together, for values that are not finite and for negative weights.
    """
    if kind == "none":
        return Fit(1.0, 0.0, DOMAINS[kind], degenerate=False)
    p, t, w = _pixels(predicted, truth, weights)
    if kind in _LEAST_SQUARES:
        return _Moments.of([(p, t)], w).fit(DOMAINS[kind])
    return _median_fit(kind, p, t, w)


@dataclass(frozen=True, eq=False)
class FitPart:
    """What some pixels give to a fit: least squares needs their moments only, medians need them all."""

    moments: _Moments
    predicted: Array
    truth: Array


def gather_part(kind: Alignment, strips: Iterable[tuple[Array, Array]], ranges: Ranges | None = None) -> FitPart:
    """Of pixels (predicted, truth), as of `fit_alignment`, which raises the same. Strip by strip where moments do.

    ranges: of all strips' predicted and true values, where they are known: then nothing is checked again, and strips
    must be float64 that may be overwritten.
    """
    checked = strips if ranges else (_pixels(predicted, truth, None)[:2] for predicted, truth in strips)
    moments, kept = _Moments(), [(np.empty(0), np.empty(0))]
    if kind in _LEAST_SQUARES:
        moments = _Moments.of(checked, ranges=ranges)
    elif kind == "none":
        deque(checked, maxlen=0)
    else:
        kept = list(checked)
    return FitPart(moments, *_end_to_end(kept))


def fit_parts(kind: Alignment, parts: Iterable[FitPart]) -> Fit:
    """One fit of all parts, as `fit_alignment` of all their pixels laid end to end."""
    if kind in _LEAST_SQUARES:
        moments = _Moments()
        for part in parts:
            moments = moments.joined(part.moments)
        return moments.fit(DOMAINS[kind])
    return fit_alignment(kind, *_end_to_end([(part.predicted, part.truth) for part in parts]))


def fit_video(kind: Alignment, parts: Iterable[tuple[Array, Array]]) -> Fit:
    """One fit for a whole video, of parts (predicted, truth), as `fit_alignment` of all of them laid end to end.

    Least squares is accumulated part by part and holds one part at a time; medians need all pixels at once.
    """
    return fit_parts(kind, (gather_part(kind, [part]) for part in parts))


def apply_fit(fit: Fit, predicted: Array, out: Array | None = None) -> Array:
    """scale * predicted + shift, float64, of any shape. `predicted` must be in `fit.domain`, and so is what returns.

    out: where to write it; may be `predicted`.
    """
    aligned = np.multiply(np.asarray(predicted, np.float64), fit.scale, out=out)
    aligned += fit.shift
    return aligned


def _pixels(predicted: Array, truth: Array, weights: Array | None) -> tuple[Array, Array, Array | None]:
    """As float64 that may be overwritten, without pixels of weight 0. No weights: 1 each."""
    p, t = np.array(predicted, np.float64), np.array(truth, np.float64)
    w = None if weights is None else np.asarray(weights, np.float64)
    if p.ndim != 1 or p.shape != t.shape or (w is not None and p.shape != w.shape):
        shapes = [side.shape for side in (p, t, *(() if w is None else (w,)))]
        raise ValueError(f"alignment needs 1-D arrays of one length, not {', '.join(map(str, shapes))}")
    if w is not None:
        if not (np.isfinite(w).all() and (w >= 0).all()):
            raise ValueError("weights of an alignment must be finite and not negative")
        p, t, w = p[w > 0], t[w > 0], w[w > 0]
    return p, t, w


def _end_to_end(parts: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
    if len(parts) == 1:
        return parts[0]
    predicted, truth = (np.concatenate([np.empty(0), *(part[side] for part in parts)]) for side in (0, 1))
    return predicted, truth


def _ranges(p: Array, t: Array) -> Ranges:
    """Least and largest of both. Raises ValueError for what is not finite."""
    ranges = (float(p.min()), float(p.max())), (float(t.min()), float(t.max()))
    for name, (low, high) in zip(("prediction", "truth"), ranges, strict=True):
        if not (low > -np.inf and high < np.inf):  # NaN is neither
            raise ValueError(f"{name} is not finite at a valid pixel")
    return ranges


@dataclass(frozen=True)
class _Moments:
    """Weight, means, centred second moments and ranges of (prediction, truth): all that least squares needs.

    Centred from the start, and joined by the formula of Chan, Golub and LeVeque (1979): sums of squares as they are
    would lose half of the digits where the mean is large against the spread.
    """

    weight: float = 0.0
    mean_p: float = 0.0
    mean_t: float = 0.0
    pp: float = 0.0
    pt: float = 0.0
    low: Two = (np.inf, np.inf)
    high: Two = (-np.inf, -np.inf)

    @staticmethod
    def of(strips: Iterable[tuple[Array, Array]], w: Array | None = None, ranges: Ranges | None = None) -> _Moments:
        """Of all strips together, which it overwrites; w: weights of the only one.

        Centred by the first strip's means: it is one of n strips, so at most log10(n) digits are lost to the others'.
        """
        weight = sum_p = sum_t = pp = pt = about_p = about_t = 0.0
        low, high = _Moments.low, _Moments.high
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # the fit says so
            for p, t in strips:
                if not len(p):
                    continue
                if ranges is None:
                    lows, highs = zip(*_ranges(p, t), strict=True)
                    low, high = _both(min, low, lows), _both(max, high, highs)
                if not weight:
                    about_p, about_t = _mean(p, w), _mean(t, w)
                # In place, and squares by OpenCV, whose sum is twice as fast as numpy's.
                along_p, along_t = np.subtract(p, about_p, out=p), np.subtract(t, about_t, out=t)
                weighted = along_p if w is None else w * along_p
                weight += len(p) if w is None else _sum(w)
                sum_p += _sum(weighted)
                sum_t += _sum(along_t if w is None else w * along_t)
                # Not `@`: BLAS wakes its threads for it, which costs more than the product where the processor is busy.
                pp += cv2.norm(along_p, cv2.NORM_L2SQR) if w is None else float(np.einsum("i,i", weighted, along_p))
                pt += float(np.einsum("i,i", weighted, along_t))
            if not weight:
                return _Moments()
            rest_p, rest_t = sum_p / weight, sum_t / weight
            pp, pt = pp - weight * rest_p * rest_p, pt - weight * rest_p * rest_t
        if ranges is not None:
            low, high = zip(*ranges, strict=True)
        return _Moments(weight, about_p + rest_p, about_t + rest_t, pp, pt, low, high)

    def joined(self, other: _Moments) -> _Moments:
        if not (self.weight and other.weight):
            return self if self.weight else other
        total = self.weight + other.weight
        share = other.weight / total
        step_p, step_t = other.mean_p - self.mean_p, other.mean_t - self.mean_t
        return _Moments(
            total,
            self.mean_p + share * step_p,
            self.mean_t + share * step_t,
            self.pp + other.pp + self.weight * share * step_p * step_p,
            self.pt + other.pt + self.weight * share * step_p * step_t,
            _both(min, self.low, other.low),
            _both(max, self.high, other.high),
        )

    def fit(self, domain: Domain) -> Fit:
        if self.weight == 0:
            return Fit(1.0, 0.0, domain, degenerate=True)
        if not (np.isfinite(self.pp) and np.isfinite(self.pt)):
            raise ValueError("values are too large for a least-squares fit in float64")
        if self.pp == 0 or any(map(_constant, self.low, self.high)):
            return Fit(0.0, self.mean_t, domain, degenerate=True)
        scale = self.pt / self.pp
        return Fit(scale, self.mean_t - scale * self.mean_p, domain, degenerate=scale <= 0)


def _sum(values: Array) -> float:
    return float(np.add.reduce(values))


def _mean(values: Array, weights: Array | None) -> float:
    """The second pass adds what rounding left in the first."""
    weight = len(values) if weights is None else _sum(weights)
    mean = _sum(values if weights is None else weights * values) / weight
    along = values - mean
    return mean + _sum(along if weights is None else weights * along) / weight


def _both(of: Callable[[float, float], float], one: Two, other: Two) -> Two:
    return of(one[0], other[0]), of(one[1], other[1])


def _constant(low: float, high: float) -> bool:
    return high - low <= _ROUNDING * max(abs(low), abs(high))


def _median_fit(kind: Alignment, p: Array, t: Array, w: Array | None) -> Fit:
    domain = DOMAINS[kind]
    if not len(p):
        return Fit(1.0, 0.0, domain, degenerate=True)
    ranges = _ranges(p, t)
    median_p, median_t = _median(p, w), _median(t, w)
    if kind == "median_scale":
        if median_p == 0 or median_t == 0:
            return Fit(1.0, 0.0, domain, degenerate=True)
        scale = median_t / median_p
        return Fit(scale, 0.0, domain, degenerate=scale <= 0)
    if any(_constant(low, high) for low, high in ranges):
        return Fit(0.0, median_t, domain, degenerate=True)
    scale = _mean(np.abs(t - median_t), w) / _mean(np.abs(p - median_p), w)
    return Fit(scale, median_t - scale * median_p, domain, degenerate=False)


def _median(values: Array, weights: Array | None) -> float:
    """Weighted; for an even number of equal weights the mean of the middle two, as numpy's (torch's: the lower)."""
    if weights is None:
        return float(np.median(values))
    order = np.argsort(values, kind="stable")
    ordered, reached = values[order], np.cumsum(weights[order])
    half = reached[-1] / 2
    below, above = np.searchsorted(reached, half, side="left"), np.searchsorted(reached, half, side="right")
    return float(ordered[below] / 2 + ordered[min(above, len(ordered) - 1)] / 2)
