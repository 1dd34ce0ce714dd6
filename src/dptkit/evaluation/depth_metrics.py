"""Errors of depth against true depth, over valid pixels: definitions, and how each is pooled over pictures.

Every function takes predicted and true depth in metres, 1-D, float64, above 0, and returns NaN where there are no
pixels. Shares are in [0, 1]; `DepthMetric.percent` says which are printed times 100. Depth that is known up to one
scale (truth of unit "relative", after an alignment) can be given too, except where `needs_metres`: the other
metrics see ratios only and do not change when both sides are multiplied by the same number.

e is ln(predicted) - ln(true). Definitions: Eigen et al. 2014, as in cleinc/bts utils/eval_with_pngs.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from math import inf, log, nan, sqrt

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Sums = tuple[float, ...]


@dataclass(frozen=True)
class DepthMetric:
    """One metric.

    label: for tables. unit: "m", "" for ratios and shares. percent: a share in [0, 1] that papers print times 100.
    needs_metres: no meaning where depth is known up to scale. source: where the definition is from.
    pixel_sums: of `Pixels` -> number of pixels, and sums over pixels. Add those of several pictures and
        `from_sums` gives the metric of all their pixels at once ("pooled"). from_sums: NaN for no pixels.
    """

    name: str
    label: str
    function: Callable[[Array, Array], float]
    pixel_sums: Callable[[Pixels], Sums]
    from_sums: Callable[[Sums], float]
    higher_is_better: bool
    unit: str
    percent: bool
    needs_metres: bool
    source: str

    def sums(self, predicted_m: Array, truth_m: Array) -> Sums:
        """`pixel_sums` of two arrays."""
        return self.pixel_sums(Pixels.checked(predicted_m, truth_m))


def abs_rel(predicted_m: Array, truth_m: Array) -> float:
    """mean |p - t| / t."""
    return _mean(_abs_rel_sums(Pixels.checked(predicted_m, truth_m)))


def sq_rel(predicted_m: Array, truth_m: Array) -> float:
    """mean (p - t)^2 / t, in metres."""
    return _mean(_sq_rel_sums(Pixels.checked(predicted_m, truth_m)))


def rmse(predicted_m: Array, truth_m: Array) -> float:
    """sqrt(mean (p - t)^2), in metres."""
    return _root_mean(_square_sums(Pixels.checked(predicted_m, truth_m)))


def rmse_log(predicted_m: Array, truth_m: Array) -> float:
    """sqrt(mean e^2)."""
    return _root_mean(_log_square_sums(Pixels.checked(predicted_m, truth_m)))


def log10(predicted_m: Array, truth_m: Array) -> float:
    """mean |log10 p - log10 t|."""
    return _mean(_log10_sums(Pixels.checked(predicted_m, truth_m)))


def silog(predicted_m: Array, truth_m: Array) -> float:
    """100 sqrt(mean e^2 - (mean e)^2): 100 times the standard deviation of e; the same for any scale of p.

    Where e is the same everywhere up to rounding, what is left is below 1e-5.
    """
    return _silog(_log_sums(Pixels.checked(predicted_m, truth_m)))


def silog_half(predicted_m: Array, truth_m: Array) -> float:
    """sqrt(mean e^2 - (mean e)^2 / 2). Called silog in Depth Anything V2's metric_depth/util/metric.py."""
    return _silog_half(_log_sums(Pixels.checked(predicted_m, truth_m)))


def delta1(predicted_m: Array, truth_m: Array) -> float:
    """Share of pixels with max(p/t, t/p) < 1.25."""
    return _mean(_delta_sums(Pixels.checked(predicted_m, truth_m), power=1))


def delta2(predicted_m: Array, truth_m: Array) -> float:
    """Share of pixels with max(p/t, t/p) < 1.25^2."""
    return _mean(_delta_sums(Pixels.checked(predicted_m, truth_m), power=2))


def delta3(predicted_m: Array, truth_m: Array) -> float:
    """Share of pixels with max(p/t, t/p) < 1.25^3."""
    return _mean(_delta_sums(Pixels.checked(predicted_m, truth_m), power=3))


def delta1_error(predicted_m: Array, truth_m: Array) -> float:
    """1 - delta1, a share: "δ > 1.25" of DPT's table 1, where it is in percent. At 1.25 exactly a pixel is an error."""
    return _complement(_delta_sums(Pixels.checked(predicted_m, truth_m), power=1))


def delta2_error(predicted_m: Array, truth_m: Array) -> float:
    """1 - delta2."""
    return _complement(_delta_sums(Pixels.checked(predicted_m, truth_m), power=2))


def delta3_error(predicted_m: Array, truth_m: Array) -> float:
    """1 - delta3."""
    return _complement(_delta_sums(Pixels.checked(predicted_m, truth_m), power=3))


class Pixels:
    """Depth at the pixels that count, and what several metrics make of it, computed once and only where asked for.

    predicted, truth: 1-D float64, above 0, finite: depth, or its inverse where `inverse` says so of either.
    """

    def __init__(self, predicted: Array, truth: Array, inverse: tuple[bool, bool] = (False, False)) -> None:
        self._predicted, self._truth, self._inverse = predicted, truth, inverse

    @classmethod
    def checked(cls, predicted_m: Array, truth_m: Array) -> Pixels:
        """Of depth. Raises ValueError for anything else than the class says."""
        p, t = np.asarray(predicted_m, np.float64), np.asarray(truth_m, np.float64)
        if p.ndim != 1 or p.shape != t.shape:
            raise ValueError(f"depth metrics need 1-D arrays of one length, not {p.shape} and {t.shape}")
        for name, values in (("predicted", p), ("true", t)):
            if len(values) and not (values.min() > 0 and values.max() < inf):  # NaN is neither
                raise ValueError(f"{name} depth must be finite and above 0 at every valid pixel")
        return cls(p, t)

    def __len__(self) -> int:
        return len(self._truth)

    @cached_property
    def p(self) -> Array:
        return np.reciprocal(self._predicted) if self._inverse[0] else self._predicted

    @cached_property
    def t(self) -> Array:
        return np.reciprocal(self._truth) if self._inverse[1] else self._truth

    @cached_property
    def ratio(self) -> Array:
        """p / t, with one division whatever is inverse: divisions are what takes longest."""
        match self._inverse:
            case (True, True):
                return self._truth / self._predicted
            case (True, False):
                product = self._truth * self._predicted
                return np.reciprocal(product, out=product)
            case (False, True):
                return self._predicted * self._truth
            case _:
                return self._predicted / self._truth

    @cached_property
    def difference(self) -> Array:
        return self.p - self.t

    @cached_property
    def square(self) -> Array:
        return self.difference**2

    @cached_property
    def log_error(self) -> Array:
        return np.log(self.ratio)

    @cached_property
    def log_square_sum(self) -> float:
        return float((self.log_error**2).sum())


def _abs_rel_sums(pixels: Pixels) -> Sums:
    return len(pixels), cv2.norm(pixels.ratio - 1, cv2.NORM_L1)  # a third of the time of numpy's two passes


def _sq_rel_sums(pixels: Pixels) -> Sums:
    return len(pixels), float((pixels.square / pixels.t).sum())


def _square_sums(pixels: Pixels) -> Sums:
    return len(pixels), float(pixels.square.sum())


def _log_sums(pixels: Pixels) -> Sums:
    return len(pixels), float(pixels.log_error.sum()), pixels.log_square_sum


def _log_square_sums(pixels: Pixels) -> Sums:
    return len(pixels), pixels.log_square_sum


def _log10_sums(pixels: Pixels) -> Sums:
    return len(pixels), float(np.abs(pixels.log_error).sum()) / log(10)


def _delta_sums(pixels: Pixels, *, power: int) -> Sums:
    largest = 1.25**power
    below = np.count_nonzero(pixels.ratio < largest)
    return len(pixels), float(below - np.count_nonzero(pixels.ratio <= 1 / largest))


def _mean(sums: Sums) -> float:
    return sums[1] / sums[0] if sums[0] else nan


def _root_mean(sums: Sums) -> float:
    return sqrt(_mean(sums))


def _complement(sums: Sums) -> float:
    return 1 - _mean(sums)


def _silog(sums: Sums) -> float:
    mean, mean_square = _mean(sums), sums[2] / max(sums[0], 1)
    return 100 * sqrt(max(mean_square - mean * mean, 0.0)) if sums[0] else nan


def _silog_half(sums: Sums) -> float:
    mean, mean_square = _mean(sums), sums[2] / max(sums[0], 1)
    return sqrt(max(mean_square - mean * mean / 2, 0.0)) if sums[0] else nan


_EIGEN = "Eigen et al. 2014; cleinc/bts utils/eval_with_pngs.py"
_TABLE_1 = "Ranftl et al. 2020 (MiDaS), section 6; DPT, table 1"
_HALF = "DepthAnything/Depth-Anything-V2 metric_depth/util/metric.py"


def _ratio(
    label: str,
    function: Callable[[Array, Array], float],
    sums: Callable[[Pixels], Sums],
    from_sums: Callable[[Sums], float] = _mean,
    *,
    higher_is_better: bool = False,
    unit: str = "",
    percent: bool = False,
    source: str = _EIGEN,
) -> DepthMetric:
    name, needs_metres = function.__name__, unit == "m"
    return DepthMetric(name, label, function, sums, from_sums, higher_is_better, unit, percent, needs_metres, source)


_DELTA = {power: partial(_delta_sums, power=power) for power in (1, 2, 3)}

DEPTH_METRICS: dict[str, DepthMetric] = {
    metric.name: metric
    for metric in (
        _ratio("AbsRel", abs_rel, _abs_rel_sums),
        _ratio("SqRel", sq_rel, _sq_rel_sums, unit="m"),
        _ratio("RMSE", rmse, _square_sums, _root_mean, unit="m"),
        _ratio("RMSElog", rmse_log, _log_square_sums, _root_mean),
        _ratio("log10", log10, _log10_sums),
        _ratio("SILog", silog, _log_sums, _silog),
        _ratio("SILog½", silog_half, _log_sums, _silog_half, source=_HALF),
        _ratio("δ1", delta1, _DELTA[1], higher_is_better=True),
        _ratio("δ2", delta2, _DELTA[2], higher_is_better=True),
        _ratio("δ3", delta3, _DELTA[3], higher_is_better=True),
        _ratio("δ>1.25", delta1_error, _DELTA[1], _complement, percent=True, source=_TABLE_1),
        _ratio("δ>1.25²", delta2_error, _DELTA[2], _complement, percent=True, source=_TABLE_1),
        _ratio("δ>1.25³", delta3_error, _DELTA[3], _complement, percent=True, source=_TABLE_1),
    )
}
"""By name, as in `DepthProtocol.metrics`."""
