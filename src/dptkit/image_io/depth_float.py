"""Depth as 32-bit floats: NPY, PFM, TIFF and EXR, to bytes and back. Valid values are stored to the bit."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from dptkit.errors import ImageReadError, OutputWriteError
from dptkit.image_io.opening import decode
from dptkit.image_io.record import RECORD_KEY
from dptkit.outputs import DepthMap, Quantity

Floats = npt.NDArray[np.float32]

EXR_CHANNELS: dict[Quantity, str] = {"depth_m": "Z", "inverse_depth": "Y"}
"""Z is EXR's name for distance in the scene; relative inverse depth is no distance, so it goes as luminance."""

_IMAGE_DESCRIPTION, _SOFTWARE = 270, 305
_NEEDS_OPENEXR = "EXR files need OpenEXR 3.5 or newer: pip install -U 'dptkit[exr]'"


def encode_npy(depth: DepthMap) -> bytes:
    """float32 [H, W], NaN where invalid."""
    buffer = io.BytesIO()
    np.save(buffer, _marked(depth, np.nan), allow_pickle=False)
    return buffer.getvalue()


def decode_npy(data: bytes) -> Floats:
    try:
        values = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ImageReadError(f"the data is broken ({error})") from error
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype != np.float32:
        raise ImageReadError("not float32 of shape [H, W]")
    return values


def encode_pfm(depth: DepthMap) -> bytes:
    """Little-endian, bottom row first, as the format wants; +infinity where invalid.

    Infinity, not NaN: it is what the Middlebury stereo files, from which PFM readers are written, use for
    "unknown". Valid values are finite, so it cannot be mistaken.
    """
    height, width = depth.size
    pixels = np.ascontiguousarray(_marked(depth, np.inf)[::-1]).astype("<f4", copy=False)
    return b"Pf\n%d %d\n-1.0\n" % (width, height) + pixels.tobytes()


def decode_pfm(data: bytes) -> Floats:
    """What `encode_pfm` wrote; NaN where invalid. Other dialects of the format are not ours, hence not read."""
    try:
        magic, size, order, pixels = data.split(b"\n", 3)
        width, height = (int(number) for number in size.split())
        values = np.frombuffer(pixels, "<f4").reshape(height, width)
    except ValueError as error:
        raise ImageReadError(f"the data is broken ({error})") from error
    if magic != b"Pf" or order != b"-1.0":
        raise ImageReadError("not a little-endian PFM of one channel")
    upright = values[::-1].astype(np.float32)
    upright[np.isinf(upright)] = np.nan
    return upright


def encode_tiff(depth: DepthMap, record: str) -> bytes:
    """One float32 band, deflate, record in ImageDescription; NaN where invalid."""
    tags = ImageFileDirectory_v2()
    tags[_IMAGE_DESCRIPTION] = record
    tags[_SOFTWARE] = f"dptkit {depth.provenance.version}".encode("ascii", "backslashreplace").decode()
    buffer = io.BytesIO()
    Image.fromarray(_marked(depth, np.nan)).save(buffer, "TIFF", compression="tiff_adobe_deflate", tiffinfo=tags)
    return buffer.getvalue()


def decode_tiff(data: bytes) -> tuple[Floats, str | None]:
    image = decode(io.BytesIO(data))
    tags = getattr(image, "tag_v2", {})
    text = tags.get(_IMAGE_DESCRIPTION)
    return _grey_floats(image), text if isinstance(text, str) else None


def encode_exr(depth: DepthMap, record: str, meaning: str) -> bytes:
    """One float32 channel, "Z" or "Y", ZIP compression, record as string attribute; NaN where invalid.

    Raises OutputWriteError, the reason alone, without OpenEXR.
    """
    try:
        import OpenEXR
    except ImportError:
        raise OutputWriteError(_NEEDS_OPENEXR) from None
    header = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        RECORD_KEY: record,
        "comments": meaning,
    }
    channels = {EXR_CHANNELS[depth.quantity]: _marked(depth, np.nan)}
    # In memory: OpenEXR says nothing when the disk is full.
    buffer = io.BytesIO()
    try:
        OpenEXR.File(header, channels).write(buffer)
    except TypeError:  # before 3.5 it wrote to paths only
        raise OutputWriteError(_NEEDS_OPENEXR) from None
    return buffer.getvalue()


def decode_exr(data: bytes) -> tuple[Floats, str | None]:
    """Raises ImageReadError, also without OpenEXR."""
    try:
        import OpenEXR
    except ImportError:
        raise ImageReadError(_NEEDS_OPENEXR) from None
    try:
        with OpenEXR.File(io.BytesIO(data), separate_channels=True) as file:
            text = file.header().get(RECORD_KEY)
            channels = file.channels()
            if text is not None and len(channels) == 1:
                (channel,) = channels.values()
                return np.array(channel.pixels, np.float32), str(text)
    except TypeError:
        raise ImageReadError(_NEEDS_OPENEXR) from None
    except (RuntimeError, ValueError, OSError) as error:
        raise ImageReadError(f"the data is broken ({error})") from error
    return np.empty((0, 0), np.float32), None


def _grey_floats(image: Image.Image) -> Floats:
    return np.array(image, np.float32) if image.mode == "F" else np.empty((0, 0), np.float32)


def _marked(depth: DepthMap, mark: float) -> Floats:
    return np.where(depth.valid, depth.values, np.float32(mark))
