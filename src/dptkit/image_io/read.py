"""Stage 0, a picture in any form -> uint8 RGB [H, W, 3], upright, without alpha."""

from __future__ import annotations

import io
import os
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from dptkit.errors import ConfigError, ImageReadError
from dptkit.image_io.arrays import array_to_rgb, on_background, to_8bit
from dptkit.image_io.names import describe_source, is_tensor
from dptkit.image_io.opening import decode, load, open_file, plain_cause, stored_pixels
from dptkit.image_io.strips import row_strips

ImageSource = str | os.PathLike[str] | bytes | IO[bytes] | Image.Image | npt.NDArray[Any]
"""What `read_image` takes; a torch tensor too, which is not named here because torch is not imported here."""

_AT_ONCE = 1 << 19
"""Pixels of a picture that is taken over whole: below, cutting strips costs more than it saves."""

_ORIENTATION = 0x0112  # EXIF
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(
    source: ImageSource | Any, *, background: tuple[int, int, int] = (255, 255, 255)
) -> npt.NDArray[np.uint8]:
    """Read one picture as uint8 RGB [H, W, 3], C-contiguous and writable.

    source:
        a path, encoded bytes, or a binary file object (read from where it stands to its end);
        a PIL image of any mode;
        an array [H, W], [H, W, 1], [H, W, 3] or [H, W, 4]: uint8, uint16, bool, or float in [0, 1];
        a torch tensor of the same types with channels first: [H, W], [1, H, W], [3, H, W], [4, H, W], also with
        a leading batch axis of 1.
    background: what shows through transparent pixels, RGB in 0..255.

    Files and PIL images are turned upright by their EXIF orientation. An animation gives its first frame. 16-bit
    grey is divided by 257 and rounded; 16-bit colour keeps its upper eight bits. CMYK and LAB are converted
    without regard to an embedded profile; float pictures must lie in [0, 1]. An array that already is uint8 RGB,
    contiguous and writable is returned as it is, not copied.

    Raises ImageReadError `SOURCE: <reason>` for anything missing, broken, or not a picture, and above twice
    `PIL.Image.MAX_IMAGE_PIXELS` (about 179 megapixels); ConfigError for a background out of range. Data damaged
    in a way that the decoder notices is an error, never a half-grey picture.
    """
    if len(background) != 3 or not all(0 <= channel <= 255 for channel in background):
        raise ConfigError(f"background must be three values in 0..255, not {background!r}")
    try:
        return _read(source, background)
    except ImageReadError as error:
        raise ImageReadError(f"{describe_source(source)}: {error}") from error.__cause__


def count_pixels(source: ImageSource | Any) -> int:
    """Height times width of a picture before it is read; 0 where that cannot be told without reading it.

    Takes what `read_image` takes, and never raises: a source that cannot be read is `read_image`'s to report.
    """
    if isinstance(source, (str, os.PathLike)):
        try:
            with open_file(source) as file:
                return stored_pixels(file)
        except (ImageReadError, OSError):
            return 0
    if isinstance(source, (bytes, bytearray, memoryview)):
        return stored_pixels(io.BytesIO(source))
    if isinstance(source, Image.Image):
        return source.width * source.height
    if isinstance(source, np.ndarray):
        return int(np.prod(source.shape[:2]))
    if is_tensor(source):
        shape: Any = source.shape  # type: ignore[union-attr]
        return int(np.prod(shape[-2:]))
    return 0


def _read(source: Any, background: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    if isinstance(source, (str, os.PathLike)):
        with open_file(source) as file:
            return _image_to_rgb(decode(file), background)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _image_to_rgb(decode(io.BytesIO(source)), background)
    if isinstance(source, Image.Image):
        try:
            load(source)
        except ImageReadError:
            raise
        except Exception as error:  # a lazily opened file fails here, in as many ways as in `decode`
            raise ImageReadError(plain_cause(error)) from error
        return _image_to_rgb(source, background)
    if isinstance(source, np.ndarray):
        return array_to_rgb(source, background)
    if is_tensor(source):
        return array_to_rgb(_tensor_to_array(source), background)
    if hasattr(source, "read"):
        return _image_to_rgb(decode(io.BytesIO(_read_all(source))), background)
    raise ImageReadError("not a path, bytes, binary file, PIL image, array or tensor")


def _read_all(file: IO[bytes]) -> bytes:
    try:
        data = file.read()
    except (OSError, ValueError) as error:  # ValueError: the file is closed, or text in another encoding
        raise ImageReadError(str(error)) from error
    if not isinstance(data, bytes):
        raise ImageReadError("the file is opened as text; open it with mode 'rb'")
    return data


def _tensor_to_array(tensor: Any) -> npt.NDArray[Any]:
    """Channels first -> channels last, on the CPU."""
    plain = tensor.detach().cpu()
    if "bfloat16" in str(plain.dtype):  # NumPy has no such type
        plain = plain.float()
    array: npt.NDArray[Any] = plain.numpy()
    shape = array.shape
    if array.ndim == 4 and shape[0] == 1:
        array = array[0]
    if array.ndim == 3 and array.shape[0] in (1, 3, 4):
        return np.moveaxis(array, 0, -1)
    if array.ndim == 2:
        return array
    raise ImageReadError("a tensor must be [3, H, W], [1, H, W] or [4, H, W], channels first, of one picture")


def _image_to_rgb(image: Image.Image, background: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """A loaded image of any mode -> uint8 RGB [H, W, 3]."""
    method = _UPRIGHT.get(_orientation(image))
    if method is not None:
        image = image.transpose(method)
    width, height = image.size
    if width * height <= _AT_ONCE:
        return np.array(_strip_to_rgb(image, background))  # writable, which Pillow's own is not
    rgb = np.empty((height, width, 3), np.uint8)
    for rows in row_strips(height, width):
        strip = image.crop((0, rows.start, width, rows.stop))
        rgb[rows] = _strip_to_rgb(strip, background)
    return rgb


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken EXIF fails in many ways, and says nothing against the pixels
        return 1


def _strip_to_rgb(strip: Image.Image, background: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    if strip.mode == "RGB" and "transparency" not in strip.info:
        return np.asarray(strip)
    if strip.mode.startswith("I") or strip.mode == "F":
        return _deep_grey_to_rgb(strip, background)
    try:
        if strip.has_transparency_data:
            strip = on_background(strip.convert("RGBA"), background)
        elif strip.mode != "RGB":
            strip = strip.convert("RGB")
    except (ValueError, OSError) as error:
        raise ImageReadError(f"pixels of mode {strip.mode} cannot be shown as RGB ({error})") from error
    return np.asarray(strip)


def _deep_grey_to_rgb(strip: Image.Image, background: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Modes I;16 (any byte order), I and F: one channel of more than eight bits."""
    stored = np.asarray(strip)
    values = stored
    if strip.mode == "I":
        if int(stored.min()) < 0 or int(stored.max()) > 65535:
            raise ImageReadError(
                f"32-bit grey values must lie in 0..65535, found {int(stored.min())}..{int(stored.max())}"
            )
        values = stored.astype(np.uint16)
    grey = to_8bit(values)
    rgb = np.repeat(grey[:, :, None], 3, axis=2)
    transparent = strip.info.get("transparency")
    if isinstance(transparent, int):
        rgb[stored == transparent] = background
    return rgb
