"""Arrays of pixels of any depth and 1, 3 or 4 channels -> uint8 RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from dptkit.errors import ImageReadError
from dptkit.image_io.strips import row_strips

# Nearest of 65536 values to 256: 65535 -> 255 and 257 * k -> k exactly.
_SIXTEEN_TO_EIGHT = ((np.arange(65536) + 128) // 257).astype(np.uint8)


def to_8bit(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """uint8 (as is), uint16 (/ 257), bool (0 or 255) or float in [0, 1] (* 255), rounded to the nearest.

    Raises ImageReadError for other types, and for floats that are NaN or outside [0, 1].
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:  # of any byte order
        return _SIXTEEN_TO_EIGHT[values]
    if values.dtype.kind == "f":
        low, high = float(values.min()), float(values.max())
        if not (low >= 0 and high <= 1):  # written so that NaN fails too
            found = "NaN" if np.isnan(low) else f"{low:g} to {high:g}"
            raise ImageReadError(f"float pixels must lie in [0, 1], found {found}")
        return np.rint(values * np.float32(255)).astype(np.uint8)
    raise ImageReadError(f"pixels must be uint8, uint16, bool or float in [0, 1], not {values.dtype}")


def array_to_rgb(array: npt.NDArray[Any], background: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """[H, W], [H, W, 1], [H, W, 3] or [H, W, 4] -> uint8 RGB [H, W, 3], C-contiguous and writable."""
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        hint = ""
        if array.ndim == 3 and array.shape[0] in (1, 3, 4):
            hint = "; this looks like channels first, which only tensors may have"
        raise ImageReadError(f"an array must be [H, W], [H, W, 1], [H, W, 3] or [H, W, 4]{hint}")
    if array.size == 0:
        raise ImageReadError("the picture is empty")
    height, width, channels = array.shape
    if array.dtype == np.uint8 and channels == 3:
        return np.require(array, requirements=["C", "W"])
    rgb = np.empty((height, width, 3), np.uint8)
    for rows in row_strips(height, width):
        strip = to_8bit(array[rows])
        if channels == 4:
            strip = np.asarray(on_background(Image.fromarray(np.ascontiguousarray(strip)), background))
        rgb[rows] = strip  # one channel is repeated
    return rgb


def on_background(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """An RGBA image over one colour, as RGB: (colour * alpha + background * (255 - alpha)) / 255, rounded."""
    canvas = Image.new("RGB", image.size, tuple(background))
    canvas.paste(image, mask=image.getchannel("A"))
    return canvas
