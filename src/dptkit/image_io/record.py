"""What every file says about its numbers: one JSON record, written with them and checked when they are read.

The record is ASCII JSON under the key `dptkit` (PNG text, EXR attribute), in ImageDescription (TIFF), or in a
sidecar (NPY, PFM). Keys of a depth record:

content         "depth" or "depth_colour"; segmentation files have "labels" and "scores"
format          how the numbers are stored: "png16", "color", "npy", "pfm", "tiff", "exr"
quantity, unit  as in DepthMap
meaning         a sentence for people
scale, offset   value = stored * scale + offset; null for a colour picture
range           "fixed" (millimetres), "given", "per-picture", or "none" (values stored as they are)
vmin, vmax      the bounds that were used, or null
clipped         valid pixels beyond the bounds, stored as the nearest bound
invalid         pixels without a value
height, width   of the picture
provenance      as in Provenance, without what is unknown
extra           what the caller added, text to text
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from dptkit.errors import ImageReadError
from dptkit.outputs import DepthMap, Provenance, Quantity, provenance_dict

RECORD_KEY = "dptkit"
RECORD_VERSION = 1


class NoRecordError(ImageReadError):
    """A file of another program, which does not say what its numbers mean."""


NOT_OURS = "not written by dptkit: it does not say what its numbers mean"

QUANTITY_MEANING: dict[Quantity, str] = {
    "inverse_depth": "relative inverse depth: larger is nearer, known only up to scale and shift",
    "depth_m": "depth in metres",
}


def depth_record(
    depth: DepthMap,
    *,
    content: str,
    format_name: str,
    stored_as: str,
    scale: float | None,
    offset: float | None,
    range_mode: str,
    bounds: tuple[float, float] | None = None,
    clipped: int = 0,
    extra: Mapping[str, str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """The record of a depth file. `stored_as` opens the sentence that says what the stored numbers are."""
    height, width = depth.size
    known = bounds is not None and bool(np.isfinite(bounds).all())
    return {
        "record": RECORD_VERSION,
        "content": content,
        "format": format_name,
        "quantity": depth.quantity,
        "unit": depth.unit,
        "meaning": f"{stored_as}; {QUANTITY_MEANING[depth.quantity]}",
        "scale": scale,
        "offset": offset,
        "range": range_mode,
        "vmin": bounds[0] if bounds is not None and known else None,
        "vmax": bounds[1] if bounds is not None and known else None,
        "clipped": clipped,
        "invalid": int(depth.valid.size - np.count_nonzero(depth.valid)),
        "height": height,
        "width": width,
        "provenance": provenance_dict(depth.provenance),
        "extra": dict(extra or {}),
        **more,
    }


CONTENTS = ("depth", "depth_colour", "labels", "overlay", "scores")
"""What a file of ours can hold."""


def to_text(record: Mapping[str, Any]) -> str:
    """The record as one line of ASCII JSON; floats are written so that they read back exactly."""
    return json.dumps(record, allow_nan=False, separators=(",", ":"))


def parse_record(text: str | None, contents: tuple[str, ...]) -> dict[str, Any]:
    """Read a record back.

    Raises ImageReadError, the reason alone, if it is of other contents; NoRecordError if it is not ours.
    """
    try:
        record = json.loads(text or "")
    except ValueError:
        raise NoRecordError(NOT_OURS) from None
    if not isinstance(record, dict) or "record" not in record or "content" not in record:
        raise NoRecordError(NOT_OURS)
    if record["record"] != RECORD_VERSION:
        raise ImageReadError(f"its record has version {record['record']!r}; this dptkit reads {RECORD_VERSION}")
    content = record["content"]
    if content == "depth_colour" and content not in contents:
        raise ImageReadError("a colour picture shows depth but does not hold it: read the png16, npy or exr file")
    if content not in contents:
        raise ImageReadError(f"it holds {content!r}, not {' or '.join(contents)}")
    return record


def provenance_of(record: Mapping[str, Any]) -> Provenance:
    """Rebuild the Provenance. Raises KeyError or TypeError on a record that was tampered with."""
    stored = dict(record["provenance"])
    if stored.get("network_size") is not None:
        height, width = stored["network_size"]
        stored["network_size"] = (int(height), int(width))
    if stored.get("scales") is not None:
        stored["scales"] = tuple(float(scale) for scale in stored["scales"])
    return Provenance(**stored)
