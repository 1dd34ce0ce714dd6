"""DepthMap -> a colour picture for the eye: near is bright."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from dptkit.errors import ConfigError
from dptkit.image_io.strips import row_strips
from dptkit.outputs import DepthMap

Colour = tuple[int, int, int]

# Shown where depth is invalid: the first that stands apart from every colour of the map.
_INVALID_COLOURS: tuple[Colour, ...] = ((128, 128, 128), (255, 0, 255), (0, 0, 0), (255, 255, 255))
_APART = 64.0  # distance in RGB that the eye tells apart at a glance, beside any neighbour
_SAMPLE = 1 << 20  # pixels looked at for the percentiles


@dataclass(frozen=True, eq=False)
class ColourPicture:
    """Depth as colours.

    pixels: uint8 RGB [H, W, 3].
    vmin, vmax: the bounds of the colours, in the unit of the depth map. inverse_depth: vmin is the dark (far)
        end. depth_m: metres, vmin is the near, bright end. NaN where nothing is valid and no bounds were given.
    per_picture: True if a bound was taken from this picture, so that its colours do not compare with others.
    clipped: valid pixels beyond the bounds, shown in the colours of the ends.
    invalid_colour: RGB of the pixels without a value.
    """

    pixels: npt.NDArray[np.uint8]
    vmin: float
    vmax: float
    per_picture: bool
    clipped: int
    colormap: str
    invalid_colour: Colour


@cache
def colormap_names() -> tuple[str, ...]:
    """The names `colorize` knows: OpenCV's in lower case, and "gray"."""
    import cv2

    prefix = "COLORMAP_"
    names = [name[len(prefix) :].lower() for name in dir(cv2) if name.startswith(prefix)]
    return tuple(sorted({"gray", *names}))


def colorize(
    depth: DepthMap, colormap: str = "inferno", vmin: float | None = None, vmax: float | None = None
) -> ColourPicture:
    """Colour a depth map; near is at the bright end of `colormap`.

    inverse_depth: the colour is linear in the value, from `vmin` (far) to `vmax` (near).
    depth_m: the colour is linear in 1 / depth, so that detail is near; `vmin` is the nearer bound and `vmax` the
        farther one, in metres. Depth of zero or less counts as nearer than any bound.

    A missing bound is the 1st or 99th percentile of the valid values of this picture (of a regular grid of about
    a million pixels in large pictures): one stray value must not darken all others. A constant map gets the
    middle colour. Invalid pixels get a colour that the map does not have, see `ColourPicture.invalid_colour`.

    Raises ConfigError for an unknown colormap, or bounds that are not finite, not increasing, or, for metres,
    not positive.
    """
    table = colour_table(colormap)
    check_bounds(depth, vmin, vmax)
    low, high = _bounds(depth, vmin, vmax)
    invalid = _invalid_colour(table)
    pixels, clipped = _paint(depth, table, low, high, invalid)
    return ColourPicture(pixels, low, high, vmin is None or vmax is None, clipped, colormap, invalid)


def colour_table(colormap: str) -> npt.NDArray[np.uint8]:
    """The 256 RGB colours of a map, uint8 [256, 3]. Raises ConfigError for an unknown name."""
    import cv2

    ramp = np.arange(256, dtype=np.uint8)
    if colormap == "gray":
        return np.repeat(ramp[:, None], 3, axis=1)
    if colormap not in colormap_names():
        near = difflib.get_close_matches(colormap, colormap_names(), n=1, cutoff=0.0)
        raise ConfigError(f"unknown colormap {colormap!r}: did you mean {near[0]!r}?")
    code = getattr(cv2, f"COLORMAP_{colormap.upper()}")
    return np.ascontiguousarray(cv2.applyColorMap(ramp.reshape(256, 1), code).reshape(256, 3)[:, ::-1])


def check_bounds(depth: DepthMap, vmin: float | None, vmax: float | None) -> None:
    """Raises ConfigError for bounds that cannot be meant for this quantity."""
    for name, bound in (("vmin", vmin), ("vmax", vmax)):
        if bound is not None and not np.isfinite(bound):
            raise ConfigError(f"{name} must be a finite number, not {bound}")
        if bound is not None and depth.quantity == "depth_m" and bound <= 0:
            raise ConfigError(f"{name} is in metres and must be positive, not {bound}")
    if vmin is not None and vmax is not None and vmin >= vmax:
        raise ConfigError(f"vmin {vmin} must be less than vmax {vmax}")


def _bounds(depth: DepthMap, vmin: float | None, vmax: float | None) -> tuple[float, float]:
    if vmin is not None and vmax is not None:
        return float(vmin), float(vmax)
    step = max(1, int(np.sqrt(depth.values.size / _SAMPLE)))
    usable = depth.valid & (depth.values > 0) if depth.quantity == "depth_m" else depth.valid
    sample, known = depth.values[::step, ::step], usable[::step, ::step]
    sample = sample.ravel() if known.all() else sample[known]
    if sample.size == 0:
        sample = depth.values[usable]
    if sample.size == 0:
        low = high = np.nan
    else:
        # Values of the picture itself: between two huge ones of either sign, interpolation overflows float32.
        low, high = (float(bound) for bound in np.percentile(sample, (1, 99), method="nearest"))
    low = low if vmin is None else float(vmin)
    high = high if vmax is None else float(vmax)
    # A given bound wins over the picture's: where all of the picture is beyond it, both ends meet there.
    return (low, max(low, high)) if vmin is not None else (min(low, high), high)


def _paint(
    depth: DepthMap, table: npt.NDArray[np.uint8], low: float, high: float, invalid: Colour
) -> tuple[npt.NDArray[np.uint8], int]:
    import cv2

    height, width = depth.size
    pixels = np.empty((height, width, 3), np.uint8)
    palette = table.reshape(256, 1, 3)
    metres = depth.quantity == "depth_m"
    clipped = 0
    for rows in row_strips(height, width):
        valid = depth.valid[rows]
        values = np.where(valid, depth.values[rows], 1.0).astype(np.float64)
        if metres:
            with np.errstate(divide="ignore"):
                position = _position(np.where(values > 0, 1 / values, np.inf), 1 / high, 1 / low)
        else:
            position = _position(values, low, high)
        clipped += int(np.count_nonzero(((position < 0) | (position > 1)) & valid))
        position = np.nan_to_num(position, copy=False)
        np.clip(position, 0, 1, out=position)
        position *= 255
        codes = np.rint(position, out=position).astype(np.uint8)
        # OpenCV copies the table's channels in their order: RGB in, RGB out.
        pixels[rows] = cv2.applyColorMap(codes, palette)
        if not valid.all():
            pixels[rows][~valid] = invalid
    return pixels, clipped


def _position(values: npt.NDArray[np.float64], dark: float, bright: float) -> npt.NDArray[np.float64]:
    """0 at `dark`, 1 at `bright`, beyond outside; where both are one, that value is in the middle."""
    if bright > dark:
        return np.asarray((values - dark) / (bright - dark))
    return np.asarray(0.5 + np.sign(values - dark))


def _invalid_colour(table: npt.NDArray[np.uint8]) -> Colour:
    distances = [
        float(np.linalg.norm(table.astype(np.float64) - np.array(colour), axis=1).min()) for colour in _INVALID_COLOURS
    ]
    for colour, distance in zip(_INVALID_COLOURS, distances, strict=True):
        if distance >= _APART:
            return colour
    return _INVALID_COLOURS[int(np.argmax(distances))]
