"""Encoded bytes -> Pillow image, opened and bounded in size, without touching Pillow's registry or settings.

`PIL.Image.open` is not used: it tries dozens of formats, some of which run other programs, and it warns about
large pictures in a way that only process-global settings can silence. Here the first bytes choose the decoder.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import IO, Any

from PIL import Image

from dptkit.errors import ImageReadError

SUPPORTED_SUFFIXES: frozenset[str] = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".avif", ".heic", ".heif", ".hif"}
    | {".tif", ".tiff", ".bmp", ".dib", ".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k"}
)
"""File name endings, lower case, of pictures that `read_image` reads; HEIC needs `dptkit[heic]`."""

_FORMATS = "JPEG, PNG, WebP, AVIF, HEIC, TIFF, BMP, GIF, PPM or JPEG 2000"
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_HEAD = 256

# First bytes -> Pillow's plugin module and class. JpegImageFile also reads the first picture of an MPO file.
_DECODERS: tuple[tuple[bytes, str, str], ...] = (
    (b"\xff\xd8\xff", "JpegImagePlugin", "JpegImageFile"),
    (b"\x89PNG\r\n\x1a\n", "PngImagePlugin", "PngImageFile"),
    (b"GIF8", "GifImagePlugin", "GifImageFile"),
    (b"BM", "BmpImagePlugin", "BmpImageFile"),
    (b"II*\0", "TiffImagePlugin", "TiffImageFile"),
    (b"MM\0*", "TiffImagePlugin", "TiffImageFile"),
    (b"II+\0", "TiffImagePlugin", "TiffImageFile"),
    (b"MM\0+", "TiffImagePlugin", "TiffImageFile"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "Jpeg2KImagePlugin", "Jpeg2KImageFile"),
    (b"\xff\x4f\xff\x51", "Jpeg2KImagePlugin", "Jpeg2KImageFile"),
    *((b"P%c" % kind, "PpmImagePlugin", "PpmImageFile") for kind in b"123456fF"),
)


def open_file(path: str | os.PathLike[str]) -> IO[bytes]:
    """Open for reading. Raises ImageReadError whose message is the reason alone, in plain words."""
    try:
        return Path(path).open("rb")
    except FileNotFoundError:
        raise ImageReadError("no such file") from None
    except IsADirectoryError:
        raise ImageReadError("is a directory, not a picture") from None
    except PermissionError:
        raise ImageReadError("permission denied") from None
    except OSError as error:
        raise ImageReadError(error.strerror or str(error)) from None
    except ValueError as error:  # a NUL byte in the name
        raise ImageReadError(f"not a file name ({error})") from None


def decode(file: IO[bytes]) -> Image.Image:
    """Decode the first picture of a seekable file, of any mode, not yet turned upright.

    Raises ImageReadError whose message is the reason alone, in plain words.
    """
    try:
        image = _open(file)
        load(image)
    except ImageReadError:
        raise
    except MemoryError:
        raise ImageReadError("not enough memory for a picture of this size") from None
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, zlib.error, ...
        raise ImageReadError(plain_cause(error)) from error
    return image


def stored_pixels(file: IO[bytes]) -> int:
    """Height times width of a seekable file's first picture, by its head alone; 0 if it cannot be told."""
    try:
        width, height = _open(file).size
    except Exception:  # decoders raise whatever they like; whoever decodes it will say what is wrong
        return 0
    return width * height


def load(image: Image.Image) -> None:
    """Decode the pixels of an opened image, whose size is checked first; does nothing on a loaded one."""
    width, height = image.size
    if width < 1 or height < 1:
        raise ImageReadError(f"the picture is empty ({width}x{height} pixels)")
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > 2 * limit:
        raise ImageReadError(
            f"{width}x{height} pixels are more than the {2 * limit // 1_000_000} megapixels that"
            " Pillow considers safe to decode"
        )
    tile_size = getattr(image, "_tile_size", None)
    if limit is not None and width * height > limit and tile_size is not None and hasattr(image, "tile"):
        # Pillow's TIFF reader warns when it makes its own canvas above the limit; it uses one that is there.
        image.im = Image.new(image.mode, tile_size).im
    image.load()


def plain_cause(error: Exception) -> str:
    """Why a decoder gave up, in plain words."""
    text = str(error).strip() or type(error).__name__
    if "truncated" in text.lower() or isinstance(error, EOFError):
        return "the file is cut short"
    return f"the data is broken ({text})"


def _open(file: IO[bytes]) -> Image.Image:
    head = file.read(_HEAD)
    file.seek(0)
    if not head:
        raise ImageReadError("the file is empty")
    if head[4:8] == b"ftyp":
        brands = _brands(head)
        if brands & _HEIC_BRANDS:
            return _open_heic(file)
        if brands & {b"avif", b"avis"}:
            return _plugin("AvifImagePlugin", "AvifImageFile")(file)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _plugin("WebPImagePlugin", "WebPImageFile")(file)
    for magic, module, name in _DECODERS:
        if head.startswith(magic):
            return _plugin(module, name)(file)
    raise ImageReadError(f"not a picture in a format that can be read ({_FORMATS})")


def _brands(head: bytes) -> set[bytes]:
    """The brands in the `ftyp` box that opens an AVIF or HEIC file: the major one and the compatible ones."""
    length = min(int.from_bytes(head[:4], "big"), len(head))
    return {head[8:12], *(head[at : at + 4] for at in range(16, length, 4))}


def _plugin(module: str, name: str) -> Any:
    plugin = importlib.import_module(f"PIL.{module}")
    if not getattr(plugin, "SUPPORTED", True):
        raise ImageReadError(f"this build of Pillow cannot read {module.removesuffix('ImagePlugin')}")
    return getattr(plugin, name)


def _open_heic(file: IO[bytes]) -> Image.Image:
    try:
        import pillow_heif
    except ImportError:
        raise ImageReadError("HEIC pictures need pillow-heif: pip install 'dptkit[heic]'") from None
    # The class, not `register_heif_opener`: the registry of Pillow belongs to the whole process.
    image: Image.Image = pillow_heif.HeifImageFile(file)
    return image
