"""The zlib streams made by arrays: zlib reads them, codes are the best there are, tables are what deflate allows."""

from __future__ import annotations

import heapq
import io
import zlib

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from dptkit.image_io import huffman, png_encode
from dptkit.image_io.huffman import HuffmanDeflate, has_runs


def rows_of(height: int, width: int, spread: float, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Filter numbers 0..4, then bytes of which small ones are the more common the smaller `spread` is."""
    rng = np.random.default_rng(seed)
    rows = (rng.normal(0, spread, (height, 1 + 2 * width)).astype(np.int64) % 256).astype(np.uint8)
    rows[:, 0] = rng.integers(0, 5, height)
    return rows


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 70_000), (3, 5), (50, 1301), (64, 512)])
@pytest.mark.parametrize("spread", [0.0, 0.4, 30.0, 1e6])
def test_zlib_reads_what_was_written(height: int, width: int, spread: float) -> None:
    blocks = [rows_of(height, width, spread, seed) for seed in (0, 1)]
    deflate = HuffmanDeflate()
    stream = b"".join([*map(deflate.compress, blocks), deflate.flush()])
    assert zlib.decompress(stream) == b"".join(block.tobytes() for block in blocks)


def test_codes_are_as_short_as_can_be() -> None:
    rng = np.random.default_rng(0)
    counts = 50 + rng.geometric(0.01, 257)  # so alike that no code reaches the longest
    lengths = huffman._code_lengths(counts)
    heap = counts.tolist()
    heapq.heapify(heap)
    least = 0  # the sum of all inner nodes is the sum of count times depth
    while len(heap) > 1:
        pair = heapq.heappop(heap) + heapq.heappop(heap)
        least += pair
        heapq.heappush(heap, pair)
    assert int((counts * lengths.astype(np.int64)).sum()) == least


def test_no_code_is_longer_than_there_is_room_for() -> None:
    # Counts that grow like Fibonacci's numbers make Huffman's tree as deep as it can be: 40 bits here.
    counts = np.ones(257, np.int64)
    for symbol in range(2, 42):
        counts[symbol] = counts[symbol - 1] + counts[symbol - 2]
    lengths = huffman._code_lengths(counts).astype(np.int64)
    longest = huffman._LONGEST
    assert lengths.max() <= longest
    assert int((1 << (longest - lengths)).sum()) == 1 << longest  # a complete set, which readers insist on


def test_noise_on_a_slope_takes_less_than_zlibs_two_percent_more() -> None:
    rng = np.random.default_rng(0)
    pixels = (np.arange(400)[:, None] * 40 + np.arange(300) * 60 + rng.normal(0, 90, (400, 300))).astype(np.uint16)
    assert not has_runs(pixels)
    ours = len(png_encode.encode_pixels(pixels, [], "smooth"))
    deflate = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    theirs = len(deflate.compress(png_encode._filtered(pixels, 1).data) + deflate.flush())
    assert ours < 1.02 * theirs


def test_pictures_of_several_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png_encode, "_BLOCK", 20_000)
    pixels = (np.random.default_rng(0).normal(0, 300, (301, 203)).cumsum(1) + 30_000).astype(np.uint16)
    read = Image.open(io.BytesIO(png_encode.encode_pixels(pixels, [], "smooth")))
    np.testing.assert_array_equal(np.asarray(read), pixels)


def test_flat_areas_go_to_zlib() -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (200, 300)).astype(np.uint16)
    assert not has_runs(pixels)
    pixels[:, :30] = 7  # a tenth
    assert has_runs(pixels)
