"""Depth as 16-bit grey PNG: value = stored * scale + offset, stored 0 is invalid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dptkit.image_io.strips import row_strips
from dptkit.outputs import DepthMap

FIRST_CODE, LAST_CODE = 1, 65535  # 0 is invalid
MILLIMETRE = 0.001

_AT_ONCE = 1 << 15  # pixels: 256 kB in float64, which stay in the processor's cache


@dataclass(frozen=True, eq=False)
class Quantised:
    """codes: uint16 [H, W]; value = code * scale + offset. clipped: values that their code does not hold."""

    codes: npt.NDArray[np.uint16]
    scale: float
    offset: float
    clipped: int
    range_mode: str
    bounds: tuple[float, float] | None


def quantise(depth: DepthMap, vmin: float | None, vmax: float | None) -> Quantised:
    """Codes 1..65535 for the valid pixels, 0 for the others.

    depth_m: whole millimetres whatever the bounds, so 0.001 to 65.535 m.
    inverse_depth: the codes span [vmin, vmax]; a missing bound is the least or greatest valid value. Where both
    bounds meet (a constant map) the scale is 0, the offset is the value, and the code is 1.

    The value that a code stands for is at most scale / 2 from the true one, or the pixel counts as clipped and
    has the code of the nearer bound; nothing ever wraps.
    """
    if depth.quantity == "depth_m":
        codes, clipped = _codes(depth, MILLIMETRE, 0.0)
        return Quantised(codes, MILLIMETRE, 0.0, clipped, "fixed", None)
    range_mode = "per-picture" if vmin is None or vmax is None else "given"
    low, high = _bounds(depth, vmin, vmax)
    scale = (high - low) / (LAST_CODE - FIRST_CODE)
    offset = low - FIRST_CODE * scale
    codes, clipped = _codes(depth, scale, offset)
    bounds = None if np.isnan(low) else (low, high)
    scale, offset = (1.0, 0.0) if bounds is None else (scale, offset)
    return Quantised(codes, scale, offset, clipped, range_mode, bounds)


def dequantise(
    codes: npt.NDArray[np.uint16], scale: float, offset: float
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Values, NaN where invalid, and validity. Computed in float64: float32 would lose steps of narrow ranges."""
    valid = codes != 0
    values = np.empty(codes.shape, np.float32)
    for rows in row_strips(*codes.shape):
        values[rows] = codes[rows].astype(np.float64) * scale + offset
    values[~valid] = np.nan
    return values, valid


def _bounds(depth: DepthMap, vmin: float | None, vmax: float | None) -> tuple[float, float]:
    if depth.valid.all():
        low, high = float(depth.values.min()), float(depth.values.max())
    elif depth.valid.any():
        low = float(depth.values.min(where=depth.valid, initial=np.inf))
        high = float(depth.values.max(where=depth.valid, initial=-np.inf))
    else:
        low = high = np.nan
    low = low if vmin is None else float(vmin)
    high = high if vmax is None else float(vmax)
    if vmin is None and vmax is not None:
        low = min(low, high)
    return low, max(low, high)


def _codes(depth: DepthMap, scale: float, offset: float) -> tuple[npt.NDArray[np.uint16], int]:
    height, width = depth.size
    codes = np.zeros((height, width), np.uint16)
    clipped = 0
    for rows in row_strips(height, width, _AT_ONCE):
        valid = depth.valid[rows]
        whole = bool(valid.all())  # then without masks, which cost more than the arithmetic
        values = (depth.values[rows] if whole else depth.values[rows][valid]).astype(np.float64)
        if scale > 0:
            exact = values
            exact -= offset
            exact /= scale
            np.rint(exact, out=exact)
        else:  # one value alone: at it, below it, above it
            exact = np.where(values == offset, FIRST_CODE, np.where(values < offset, 0, LAST_CODE + 1))
        if exact.size and not (exact.min() >= FIRST_CODE and exact.max() <= LAST_CODE):
            clipped += int(np.count_nonzero((exact < FIRST_CODE) | (exact > LAST_CODE)))
            np.clip(exact, FIRST_CODE, LAST_CODE, out=exact)
        if whole:
            codes[rows] = exact
        else:
            codes[rows][valid] = exact
    return codes, clipped
