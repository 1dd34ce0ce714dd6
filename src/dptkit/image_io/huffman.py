"""Filtered rows of 16-bit pixels -> a zlib stream (RFC 1950) of Huffman codes alone (RFC 1951), by arrays.

The low byte of a smooth 16-bit picture is noise, in which zlib looks for repetitions in vain. Without any, deflate is
one look-up a pixel and bits put side by side: half the time, for two per cent of size.

H W pixels of the picture · symbols 0..255 are bytes, 256 ends a block
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from dptkit.image_io.strips import row_strips

Bits = npt.NDArray[np.uint64]
"""Codes, the first bit of each lowest. An array beside it says how many bits each has."""

_END = 256
_LONGEST = 12  # bits of a code, of 15 that deflate allows: two pixels and a filter then fit 63
_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)  # in which lengths of lengths come

_COUNTED = 1 << 15  # bytes of a block, which tell as much as all of them in a twentieth of the time
_AT_ONCE = 1 << 15  # pixels put side by side: 128 kB, which stay in the processor's cache

_BITS_AT = 27  # where a pixel's entry in the table, of 32 bits, has the number of its bits
_CODE = (1 << _BITS_AT) - 1


def has_runs(pixels: npt.NDArray[np.uint16]) -> bool:
    """Whether three equal pixels in a row are common: then a compressor of runs makes a smaller file.

    Below one place in 32 runs would save it two per cent at most.
    """
    found = 0
    for rows in row_strips(*pixels.shape):
        same = pixels[rows, 1:] == pixels[rows, :-1]
        found += int(np.count_nonzero(same[:, 1:] & same[:, :-1]))
    return 32 * found > pixels.size


class HuffmanDeflate:
    """As zlib's compressobj, for rows uint8 [h, 1 + 2 W]: a filter's number, then pixels of two bytes."""

    def __init__(self) -> None:
        self._bits, self._check, self._start = _Side(), 1, b"\x78\x01"

    def compress(self, rows: npt.NDArray[np.uint8]) -> bytes:
        """A block: these rows get codes of their own."""
        self._check = zlib.adler32(rows.data, self._check)
        pixels = np.ascontiguousarray(rows[:, 1:]).view("<u2")
        lengths = _code_lengths(_counts(rows))
        codes = _codes(lengths)
        parts = [self._start, self._bits.put(*_header(lengths))]
        self._start = b""
        parts += _packed(rows[:, 0], pixels, codes, lengths, self._bits)
        parts.append(self._bits.put(codes[_END:], lengths[_END:]))
        return b"".join(parts)

    def flush(self) -> bytes:
        """The end: an empty last block, of ten bits, and the checksum."""
        last = self._bits.put(np.array([3], np.uint64), np.array([10], np.uint64))
        return last + self._bits.rest() + self._check.to_bytes(4, "big")


def _counts(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """How often each symbol occurs, nearly: no symbol has none, so that all can be written."""
    step = rows.size // _COUNTED | 1  # odd, to meet low and high bytes in turn
    counts: npt.NDArray[np.int64] = 1 + step * np.bincount(rows.ravel()[::step], minlength=_END + 1)
    return counts


def _code_lengths(counts: npt.NDArray[np.int64]) -> Bits:
    """Bits per symbol by Huffman's method; where one has too many, with counts that differ less."""
    symbols = len(counts)
    while True:
        order = np.argsort(counts, kind="stable")
        weights = counts[order].tolist()
        parents = [0] * (2 * symbols - 1)
        leaf, pair = 0, symbols  # the least of either kind that has no parent yet
        for parent in range(symbols, 2 * symbols - 1):
            weight = 0
            for _ in range(2):
                if pair == parent or (leaf < symbols and weights[leaf] <= weights[pair]):
                    child, leaf = leaf, leaf + 1
                else:
                    child, pair = pair, pair + 1
                weight += weights[child]
                parents[child] = parent
            weights.append(weight)
        depths = [0] * (2 * symbols - 1)
        for node in range(2 * symbols - 3, -1, -1):
            depths[node] = depths[parents[node]] + 1
        if max(depths[:symbols]) <= _LONGEST:
            lengths = np.empty(symbols, np.uint64)
            lengths[order] = depths[:symbols]
            return lengths
        counts = counts + (int(counts.sum()) >> 10) + 1


def _codes(lengths: Bits) -> Bits:
    """The codes that follow from their lengths (RFC 1951, 3.2.2), their first bit lowest.

    Put at the top of `_LONGEST` bits each is the sum of those before it, shorter ones first.
    """
    order = np.argsort(lengths, kind="stable")
    room = np.uint64(1) << _LONGEST - lengths[order]
    codes = np.empty_like(lengths)
    codes[order] = _reversed(np.cumsum(room) - room, _LONGEST)
    return codes


def _header(lengths: Bits) -> tuple[Bits, Bits]:
    """What opens a block, not the last: its kind, then the length of each symbol's code, in four bits.

    No distance is used; two codes for them, of one bit each, are a complete set, which every reader takes.
    """
    fields = [(0, 1), (2, 2), (0, 5), (1, 5), (len(_ORDER) - 4, 4)]
    fields += [(4 if symbol < 16 else 0, 3) for symbol in _ORDER]
    values, widths = np.array(fields, np.uint64).T
    each = np.append(lengths, np.ones(2, np.uint64))
    return np.append(values, _reversed(each, 4)), np.append(widths, np.full(len(each), 4, np.uint64))


def _reversed(values: Bits, width: int) -> Bits:
    """The lowest `width` bits in the opposite order."""
    turned, one = np.zeros_like(values), np.uint64(1)
    for _ in range(width):
        turned = turned << one | values & one
        values = values >> one
    return turned


def _packed(
    filters: npt.NDArray[np.uint8], pixels: npt.NDArray[np.uint16], codes: Bits, lengths: Bits, bits: _Side
) -> Iterator[bytes]:
    """`pixels`: [h, W], the byte that comes first is the lower."""
    code, taken = codes[:_END].astype(np.uint32), lengths[:_END].astype(np.uint32)
    table = code | code[:, None] << taken
    table |= taken + taken[:, None] << _BITS_AT
    height, width = pixels.shape
    at_once = max(1, _AT_ONCE // width)
    entries = np.zeros((min(at_once, height), width + width % 2), "<u4")  # an odd row's last entry has no bits
    for top in range(0, height, at_once):
        rows = slice(top, min(top + at_once, height))
        count = rows.stop - top
        entries[:count, :width] = table.ravel().take(pixels[rows])
        pairs = entries[:count].view("<u8")
        before = pairs >> _BITS_AT & 31
        put, widths = pairs & _CODE | (pairs >> 32 & _CODE) << before, before + (pairs >> 32 + _BITS_AT)
        ahead = lengths[filters[rows]]
        put[:, 0] = put[:, 0] << ahead | codes[filters[rows]]
        widths[:, 0] += ahead
        yield bits.put(put.ravel().astype(np.uint64, copy=False), widths.ravel().astype(np.uint64, copy=False))


class _Side:
    """Puts codes side by side. Keeps those that do not fill a word of 64 bits for the next call."""

    def __init__(self) -> None:
        self._rest, self._kept = np.uint64(0), 0

    def put(self, codes: Bits, lengths: Bits) -> bytes:
        """Codes of 1 to 63 bits -> the words that are full now."""
        ends = np.cumsum(lengths, dtype=np.uint64)
        ends += np.uint64(self._kept)
        at = ends - lengths
        word, shift = at >> 6, at & 63
        # Each word has a code that begins in it, and codes do not overlap, so that their sum puts them together.
        first = np.append(0, np.flatnonzero(word[1:] != word[:-1]) + 1)
        last = np.append(first[1:], len(word)) - 1
        words = np.add.reduceat(codes << shift, first)
        beyond = codes[last] >> 1 >> (63 - shift[last])  # what a word's last code has in the next
        words[1:] += beyond[:-1]
        words[0] += self._rest
        total = int(ends[-1])
        full, self._kept = total >> 6, total & 63
        self._rest = beyond[-1] if full == len(words) else words[-1]
        return words[:full].astype("<u8", copy=False).tobytes()

    def rest(self) -> bytes:
        """What is left, filled up with zeros to a byte."""
        return int(self._rest).to_bytes(8, "little")[: (self._kept + 7) // 8]
