"""A picture with its classes laid over it, and a legend beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from dptkit.errors import ConfigError
from dptkit.image_io.names import printable
from dptkit.image_io.strips import row_strips
from dptkit.outputs import IGNORE_LABEL, SegmentationMap

_LEAST_SHARE = 0.001  # of all pixels; smaller classes are not worth a line of the legend
_SMALLEST_FONT, _LARGEST_FONT = 9, 96  # pixels; below 9 nothing can be read
_LONGEST_NAME = 28  # letters
_PAPER, _INK = (255, 255, 255), (20, 20, 20)


@dataclass(frozen=True)
class _Entry:
    name: str
    share: str
    colour: tuple[int, int, int] | None  # None for the line that says how many are left out


def palette_table(seg: SegmentationMap) -> npt.NDArray[np.uint8]:
    """uint8 [256, 3]: the colour of each class id; black for ids without a class and for 255, ignore."""
    table = np.zeros((256, 3), np.uint8)
    if seg.palette:
        table[: len(seg.palette)] = seg.palette
    return table


def draw_overlay(image: npt.NDArray[np.uint8], seg: SegmentationMap, alpha: float = 0.5) -> npt.NDArray[np.uint8]:
    """The picture with class colours over it, and at its right a legend: uint8 RGB [H, W', 3], W' >= W.

    image: uint8 RGB [H, W, 3]. alpha: 0 shows the picture alone, 1 the colours alone. Pixels of no class (255)
    stay as they are. The legend has the classes with at least 0.1 % of the pixels, largest first, as many as
    fit; a picture that is too low for one legible line gets none.

    Raises ConfigError if picture and classes differ in size, or for an alpha outside [0, 1].
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ConfigError(f"the picture must be uint8 [H, W, 3], not {image.dtype} {image.shape}")
    if image.shape[:2] != seg.size:
        raise ConfigError(f"the picture is {image.shape[:2]} pixels, its classes are {seg.size}")
    if not 0 <= alpha <= 1:
        raise ConfigError(f"alpha must lie in [0, 1], not {alpha}")
    legend = _legend(seg)
    height, width = seg.size
    canvas = np.empty((height, width + legend.shape[1], 3), np.uint8)
    canvas[:, width:] = legend
    table = palette_table(seg).astype(np.float32)
    for rows in row_strips(height, width):
        labels = seg.labels[rows]
        mixed = image[rows] * np.float32(1 - alpha) + table[labels] * np.float32(alpha)
        canvas[rows, :width] = np.where((labels == IGNORE_LABEL)[:, :, None], image[rows], np.rint(mixed))
    return canvas


def _legend(seg: SegmentationMap) -> npt.NDArray[np.uint8]:
    """uint8 [H, w, 3]; w is 0 where there is nothing to say or no room to say it."""
    height, width = seg.size
    entries = _entries(seg)
    wanted = min(max(round(min(height, width) / 30), 12), _LARGEST_FONT)
    # Smaller letters before left-out lines; a line is 1.5 letters high, and half a line stays free at the ends.
    size = min(wanted, int(height / 1.5 / (len(entries) + 1)))
    size = max(size, min(_SMALLEST_FONT, wanted))
    line = round(1.5 * size)
    room = (height - line // 2) // line
    if not entries or room < 1:
        return np.empty((height, 0, 3), np.uint8)
    if len(entries) > room:
        hidden = len(entries) - max(room - 1, 1)
        entries = entries[: max(room - 1, 1)]
        if room > 1:
            entries.append(_Entry(f"and {hidden} more", "", None))
    font = ImageFont.load_default(size=size)
    gap = size // 2
    name_width = max(round(font.getlength(entry.name)) for entry in entries)
    share_width = max(round(font.getlength(entry.share)) for entry in entries)
    name_left = gap + size + gap
    share_right = name_left + name_width + 2 * gap + share_width
    paper = Image.new("RGB", (share_right + gap, height), _PAPER)
    draw = ImageDraw.Draw(paper)
    for number, entry in enumerate(entries):
        top = line // 2 + number * line
        middle = top + size // 2
        if entry.colour is not None:
            # The outline keeps white and pale classes visible on the paper.
            draw.rectangle((gap, top, gap + size - 1, top + size - 1), fill=entry.colour, outline=_INK)
        draw.text((name_left, middle), entry.name, fill=_INK, font=font, anchor="lm")
        draw.text((share_right, middle), entry.share, fill=_INK, font=font, anchor="rm")
    return np.asarray(paper)


def _entries(seg: SegmentationMap) -> list[_Entry]:
    counts = np.bincount(seg.labels.ravel(), minlength=256)[: len(seg.class_names)]
    order = np.argsort(-counts, kind="stable")
    return [
        _Entry(_short(seg.class_names[k]), f"{100 * counts[k] / seg.labels.size:.1f} %", seg.palette[k])
        for k in order
        if counts[k] >= _LEAST_SHARE * seg.labels.size and counts[k] > 0
    ]


def _short(name: str) -> str:
    name = printable(name)
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1].rstrip() + "…"
