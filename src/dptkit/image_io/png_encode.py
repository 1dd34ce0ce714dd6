"""Pixels -> PNG without Pillow, which tries five filters a row: that takes longer than all the rest of a picture."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dptkit.image_io.strips import row_strips

Chunk = tuple[bytes, bytes]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NONE, _SUB = 0, 1  # filters of a row: its bytes as they are; minus the pixel to the left
_GREY, _RGB = 0, 2
_MEMORY_LEVEL = 9  # the most zlib takes: fewer, larger blocks


def encode_pixels(pixels: npt.NDArray[Any], chunks: Iterable[Chunk], content: Literal["smooth", "flat"]) -> bytes:
    """uint16 [H, W] (grey) or uint8 [H, W, 3] (RGB) -> a PNG file. `chunks`: (kind, data), written before the pixels.

    content: "smooth", where neighbours differ by little and nothing repeats: differences, Huffman codes and runs;
    "flat", of few colours that repeat: plain deflate at its quickest level. Both are lossless.
    """
    height, width = pixels.shape[:2]
    depth, colour = (16, _GREY) if pixels.ndim == 2 else (8, _RGB)
    parts = [_SIGNATURE, *_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))]
    for kind, data in chunks:
        parts += _chunk(kind, data)
    for data in _deflated(pixels, content):
        parts += _chunk(b"IDAT", data)
    return b"".join([*parts, *_chunk(b"IEND", b"")])


def _deflated(pixels: npt.NDArray[Any], content: Literal["smooth", "flat"]) -> Iterator[bytes]:
    deflate = _compressor(content)
    filtering = _SUB if content == "smooth" else _NONE
    for rows in row_strips(*pixels.shape[:2]):
        if data := deflate.compress(_filtered(pixels[rows], filtering).data):
            yield data
    yield deflate.flush()


def _compressor(content: Literal["smooth", "flat"]) -> Any:
    """A compressobj. Intel's ISA-L, where it is installed, takes less than half of zlib's time to the same size."""
    if content == "smooth":
        try:
            from isal import isal_zlib
        except ImportError:
            return zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, _MEMORY_LEVEL, zlib.Z_RLE)
        return isal_zlib.compressobj(1)
    return zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, _MEMORY_LEVEL)


def _filtered(pixels: npt.NDArray[Any], filtering: int) -> npt.NDArray[np.uint8]:
    """Rows as PNG has them: the filter's number, then bytes, most significant first."""
    rows = np.ascontiguousarray(pixels, ">u2" if pixels.ndim == 2 else np.uint8).view(np.uint8)
    rows = rows.reshape(len(pixels), -1)
    filtered = np.empty((rows.shape[0], rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = filtering
    if filtering == _SUB:
        left = 2 if pixels.ndim == 2 else 3  # bytes of a pixel
        filtered[:, 1 : 1 + left] = rows[:, :left]
        np.subtract(rows[:, left:], rows[:, :-left], out=filtered[:, 1 + left :])
    else:
        filtered[:, 1:] = rows
    return filtered


def _chunk(kind: bytes, data: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    return struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))
