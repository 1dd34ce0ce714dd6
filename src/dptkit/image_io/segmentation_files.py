"""SegmentationMap <-> files: labels, scores, a table of classes, and a picture for the eye."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from dptkit.errors import ImageReadError, OutputWriteError
from dptkit.image_io.atomic import write_bytes
from dptkit.image_io.names import printable
from dptkit.image_io.opening import open_file
from dptkit.image_io.overlay import draw_overlay, palette_table
from dptkit.image_io.png_text import decode_png, encode_array, encode_png
from dptkit.image_io.record import RECORD_VERSION, parse_record, provenance_of
from dptkit.image_io.strips import row_strips
from dptkit.outputs import IGNORE_LABEL, SegmentationMap, provenance_dict

SegmentFormat = Literal["labels", "overlay", "json", "scores"]

SEGMENT_SUFFIXES: dict[SegmentFormat, str] = {
    "labels": "_labels.png",
    "overlay": "_overlay.png",
    "json": "_segments.json",
    "scores": "_scores.png",
}
"""What is appended to a picture's stem to name its segmentation files, by format."""

_SCORE_STEPS = 65535


def write_labels(path: str | os.PathLike[str], seg: SegmentationMap) -> Path:
    """Write an 8-bit palette PNG: the index is the class id, 255 (ignore) is opaque black.

    Class names, colours and provenance are in its record. Returns the path. Raises OutputWriteError.
    """
    record = _record(seg, "labels", "stored = class id, 255 is no class; see classes for the names")
    # Opaque: transparency in a palette makes many readers expand the indices to colours.
    image = Image.fromarray(seg.labels).convert("L")
    image.putpalette(palette_table(seg).tobytes(), "RGB")
    return _write(path, encode_png(image, record))


def read_labels(path: str | os.PathLike[str]) -> SegmentationMap:
    """Read what `write_labels` wrote; `scores` is None.

    Raises ImageReadError `PATH: <reason>` for a broken or missing file; NoRecordError for files of other programs,
    which do not name their classes.
    """
    try:
        return _read_labels(Path(path))
    except ImageReadError as error:
        raise type(error)(f"{printable(path)}: {error}") from error.__cause__


def write_overlay(
    path: str | os.PathLike[str], image: npt.NDArray[np.uint8], seg: SegmentationMap, alpha: float = 0.5
) -> Path:
    """Write the picture of `draw_overlay` as PNG. Returns the path. Raises OutputWriteError, ConfigError."""
    record = _record(seg, "overlay", "a picture for the eye: class colours over the photograph, with a legend")
    return _write(path, encode_png(Image.fromarray(draw_overlay(image, seg, alpha)), record))


def write_scores(path: str | os.PathLike[str], seg: SegmentationMap) -> Path:
    """Write the scores as 16-bit grey PNG: score = stored / 65535. Returns the path.

    Raises OutputWriteError, also where `seg` has no scores or they are not in [0, 1].
    """
    if seg.scores is None:
        raise OutputWriteError(f"cannot write {printable(path)}: the segmentation was made without scores")
    codes = np.empty(seg.size, np.uint16)
    for rows in row_strips(*seg.size):
        scores = seg.scores[rows]
        if not ((scores >= 0) & (scores <= 1)).all():  # NaN fails too
            raise OutputWriteError(f"cannot write {printable(path)}: its scores are not all in [0, 1]")
        codes[rows] = np.rint(scores.astype(np.float64) * _SCORE_STEPS)
    meaning = "score = stored / 65535: softmax probability of the chosen class"
    record = _record(seg, "scores", meaning) | {"scale": 1 / _SCORE_STEPS, "offset": 0.0}
    return _write(path, encode_array(codes, record, "smooth"))


def write_segments_json(path: str | os.PathLike[str], seg: SegmentationMap) -> Path:
    """Write the classes present, largest first, as JSON: id, name, colour, pixels, share. Returns the path.

    Beside them: height, width, `ignored` (pixels of no class) and provenance; shares are of all pixels and add
    up to 1 with the ignored ones. UTF-8. Raises OutputWriteError.
    """
    counts = np.bincount(seg.labels.ravel(), minlength=256)
    order = [int(k) for k in np.argsort(-counts[: len(seg.class_names)], kind="stable") if counts[k]]
    classes = [{**_class(seg, k), "pixels": int(counts[k]), "share": int(counts[k]) / seg.labels.size} for k in order]
    record = _record(seg, "segments", "classes present, largest first; share of all pixels") | {"classes": classes}
    return _write(path, (json.dumps(record, indent=2) + "\n").encode("ascii"))


def _class(seg: SegmentationMap, k: int) -> dict[str, Any]:
    return {"id": k, "name": seg.class_names[k], "colour": [int(channel) for channel in seg.palette[k]]}


def _record(seg: SegmentationMap, content: str, meaning: str) -> dict[str, Any]:
    height, width = seg.size
    return {
        "record": RECORD_VERSION,
        "content": content,
        "meaning": meaning,
        "height": height,
        "width": width,
        "ignore_label": IGNORE_LABEL,
        "ignored": int(np.count_nonzero(seg.labels == IGNORE_LABEL)),
        "classes": [_class(seg, k) for k in range(len(seg.class_names))],
        "provenance": provenance_dict(seg.provenance),
    }


def _write(path: str | os.PathLike[str], data: bytes) -> Path:
    write_bytes(path, data)
    return Path(path)


def _read_labels(path: Path) -> SegmentationMap:
    with open_file(path) as file:
        try:
            data = file.read()
        except OSError as error:
            raise ImageReadError(error.strerror or str(error)) from error
    image, text = decode_png(data)
    record = parse_record(text, ("labels",))
    if image.mode != "P":
        raise ImageReadError(f"its record says class ids, its pixels are {image.mode}; was it converted?")
    labels = np.array(image, np.uint8)
    try:
        if labels.shape != (record["height"], record["width"]):
            raise ImageReadError("its record is of a picture of another size; was it resized?")
        names = tuple(str(entry["name"]) for entry in record["classes"])
        palette = tuple(_colour(entry["colour"]) for entry in record["classes"])
        return SegmentationMap(labels, names, palette, provenance_of(record))
    except (KeyError, TypeError, ValueError) as error:
        raise ImageReadError(f"its record does not fit its data ({error})") from error


def _colour(stored: list[int]) -> tuple[int, int, int]:
    red, green, blue = stored
    return int(red), int(green), int(blue)
