"""DepthMap <-> files, each of which says what its numbers mean."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dptkit.errors import ImageReadError, OutputWriteError
from dptkit.image_io import depth_float
from dptkit.image_io.atomic import write_bytes
from dptkit.image_io.colour import check_bounds, colorize
from dptkit.image_io.depth_png import dequantise, quantise
from dptkit.image_io.names import printable
from dptkit.image_io.opening import open_file
from dptkit.image_io.png_text import decode_png, encode_array
from dptkit.image_io.record import CONTENTS, depth_record, parse_record, provenance_of, to_text
from dptkit.image_io.sidecar import read_sidecar, sidecar_path, write_with_sidecar
from dptkit.outputs import DepthMap

DepthFormat = Literal["png16", "color", "npy", "pfm", "tiff", "exr"]

DEPTH_SUFFIXES: dict[DepthFormat, str] = {
    "png16": "_depth.png",
    "color": "_depth_color.png",
    "npy": "_depth.npy",
    "pfm": "_depth.pfm",
    "tiff": "_depth.tiff",
    "exr": "_depth.exr",
}
"""What is appended to a picture's stem to name its depth file, by format."""

_WITH_SIDECAR: tuple[DepthFormat, ...] = ("npy", "pfm")

_ENDINGS: tuple[tuple[str, DepthFormat], ...] = (
    ("_color.png", "color"),
    (".png", "png16"),
    (".npy", "npy"),
    (".pfm", "pfm"),
    (".tiff", "tiff"),
    (".tif", "tiff"),
    (".exr", "exr"),
)


@dataclass(frozen=True)
class WrittenDepth:
    """A depth file on disk: value = stored * scale + offset (None for a colour picture).

    clipped: valid pixels stored as the nearest bound. sidecar: the JSON file beside NPY and PFM.
    """

    path: Path
    clipped: int
    scale: float | None
    offset: float | None
    sidecar: Path | None = None


def depth_endings(format: DepthFormat) -> tuple[str, ...]:
    """Endings of all files that a format writes: the data's, and the sidecar's where there is one."""
    ending = DEPTH_SUFFIXES[format]
    return (ending, sidecar_path(ending).name) if format in _WITH_SIDECAR else (ending,)


def write_depth(
    path: str | os.PathLike[str],
    depth: DepthMap,
    format: DepthFormat | None = None,
    *,
    vmin: float | None = None,
    vmax: float | None = None,
    colormap: str = "inferno",
    extra: Mapping[str, str] | None = None,
) -> WrittenDepth:
    """Write a depth map, whole or not at all, with a record of what its numbers mean (see `record.py`).

    format: by the ending of `path` where None: `_color.png`, any other `.png` (png16), `.npy`, `.pfm`, `.tif(f)`,
        `.exr`.

    png16: 16-bit grey, stored 0 is invalid. depth_m in whole millimetres (0.001 to 65.535 m); inverse_depth with
        codes 1..65535 over [vmin, vmax]. Values beyond are stored as the nearest bound and counted.
    npy, pfm: float32, exact, NaN (npy) or +infinity (pfm) where invalid, and a sidecar `NAME.json`.
    tiff, exr: float32, exact, NaN where invalid. EXR needs `dptkit[exr]`.
    color: a picture for the eye, see `colorize`; it cannot be read back.

    vmin, vmax bound png16 of inverse_depth (default: the least and greatest valid value) and color (default:
    see `colorize`); the other formats store values as they are and have no use for them.

    Raises OutputWriteError if the file cannot be written or its format is not known; ConfigError for an unknown
    colormap or impossible bounds.
    """
    path = Path(path)
    format = format or _format_of(path)
    check_bounds(depth, vmin, vmax)
    if format == "color":
        return _write_colour(path, depth, vmin, vmax, colormap, extra)
    if format == "png16":
        return _write_png16(path, depth, vmin, vmax, extra)
    if format in ("npy", "pfm"):
        return _write_beside(path, depth, format, extra)
    if format in ("tiff", "exr"):
        return _write_tagged(path, depth, format, extra)
    raise OutputWriteError(f"cannot write {printable(path)}: unknown format {format!r}, not {_formats()}")


def read_depth(path: str | os.PathLike[str]) -> DepthMap:
    """Read what `write_depth` wrote, with validity and provenance; NaN where invalid.

    Float formats give back every valid value to the bit, png16 to within scale / 2 (and float32's own rounding).
    The format is told from the contents, not from the name.

    Raises ImageReadError `PATH: <reason>` for a broken or missing file, for a colour picture, for a data file
    that does not fit its sidecar; NoRecordError for files of other programs, which do not say what their numbers mean.
    """
    try:
        return _read(Path(path))
    except ImageReadError as error:
        raise type(error)(f"{printable(path)}: {error}") from error.__cause__


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The record of any file of ours that holds one, pictures of depth and classes included; keys in `record.py`.

    Raises ImageReadError as `read_depth` does, for files of other programs too.
    """
    try:
        return _load(Path(path), CONTENTS)[1]
    except ImageReadError as error:
        raise type(error)(f"{printable(path)}: {error}") from error.__cause__


def _formats() -> str:
    return ", ".join(DEPTH_SUFFIXES)


def _format_of(path: Path) -> DepthFormat:
    name = path.name.lower()
    for ending, format in _ENDINGS:
        if name.endswith(ending):
            return format
    raise OutputWriteError(f"cannot write {printable(path)}: its ending names no depth format ({_formats()})")


def _write_png16(
    path: Path, depth: DepthMap, vmin: float | None, vmax: float | None, extra: Mapping[str, str] | None
) -> WrittenDepth:
    coded = quantise(depth, vmin, vmax)
    record = depth_record(
        depth,
        content="depth",
        format_name="png16",
        stored_as=f"value = stored * {coded.scale!r} + {coded.offset!r}; stored 0 is invalid",
        scale=coded.scale,
        offset=coded.offset,
        range_mode=coded.range_mode,
        bounds=coded.bounds,
        clipped=coded.clipped,
        extra=extra,
    )
    write_bytes(path, encode_array(coded.codes, record, "smooth"))
    return WrittenDepth(path, coded.clipped, coded.scale, coded.offset)


def _write_colour(
    path: Path,
    depth: DepthMap,
    vmin: float | None,
    vmax: float | None,
    colormap: str,
    extra: Mapping[str, str] | None,
) -> WrittenDepth:
    picture = colorize(depth, colormap, vmin, vmax)
    range_mode = "per-picture" if picture.per_picture else "given"
    normalised = "normalised per picture" if picture.per_picture else "bounds given, comparable across pictures"
    over = "1 / depth" if depth.quantity == "depth_m" else "the value"
    record = depth_record(
        depth,
        content="depth_colour",
        format_name="color",
        stored_as=(
            f"colours for the eye, near is bright: {colormap} over {over}"
            f" from {picture.vmin:g} to {picture.vmax:g} {depth.unit}, {normalised}"
        ),
        scale=None,
        offset=None,
        range_mode=range_mode,
        bounds=(picture.vmin, picture.vmax),
        clipped=picture.clipped,
        extra=extra,
        colormap=colormap,
        invalid_colour=picture.invalid_colour,
    )
    write_bytes(path, encode_array(picture.pixels, record, "flat"))
    return WrittenDepth(path, picture.clipped, None, None)


def _float_record(depth: DepthMap, format: DepthFormat, extra: Mapping[str, str] | None) -> dict[str, Any]:
    mark = "infinity" if format == "pfm" else "NaN"
    return depth_record(
        depth,
        content="depth",
        format_name=format,
        stored_as=f"value = stored; {mark} is invalid",
        scale=1.0,
        offset=0.0,
        range_mode="none",
        extra=extra,
    )


def _write_beside(path: Path, depth: DepthMap, format: DepthFormat, extra: Mapping[str, str] | None) -> WrittenDepth:
    data = depth_float.encode_npy(depth) if format == "npy" else depth_float.encode_pfm(depth)
    sidecar = write_with_sidecar(path, data, _float_record(depth, format, extra))
    return WrittenDepth(path, 0, 1.0, 0.0, sidecar)


def _write_tagged(path: Path, depth: DepthMap, format: DepthFormat, extra: Mapping[str, str] | None) -> WrittenDepth:
    record = _float_record(depth, format, extra)
    text = to_text(record)
    try:
        data = (
            depth_float.encode_tiff(depth, text)
            if format == "tiff"
            else depth_float.encode_exr(depth, text, record["meaning"])
        )
    except OutputWriteError as error:
        raise OutputWriteError(f"cannot write {printable(path)}: {error}") from None
    write_bytes(path, data)
    return WrittenDepth(path, 0, 1.0, 0.0)


def _read(path: Path) -> DepthMap:
    values, record = _load(path, ("depth",))
    try:
        if record["format"] == "png16":
            pixels, valid = dequantise(values, float(record["scale"]), float(record["offset"]))
        else:
            pixels, valid = values, ~np.isnan(values)
        if pixels.shape != (record["height"], record["width"]):
            raise ImageReadError("its record is of a picture of another size; was it resized?")
        return DepthMap(pixels, record["quantity"], valid, provenance_of(record))
    except (KeyError, TypeError, ValueError) as error:
        raise ImageReadError(f"its record does not fit its data ({error})") from error


def _load(path: Path, contents: tuple[str, ...]) -> tuple[Any, dict[str, Any]]:
    """The stored numbers [H, W] (of a colour picture: RGB) and the record."""
    with open_file(path) as file:
        try:
            data = file.read()
        except OSError as error:
            raise ImageReadError(error.strerror or str(error)) from error
    if data.startswith(b"\x89PNG"):
        image, text = decode_png(data)
        record = parse_record(text, contents)
        if record["content"] == "depth" and not image.mode.startswith("I"):
            raise ImageReadError(f"its record says 16-bit grey, its pixels are {image.mode}; was it converted?")
        return np.asarray(image), record
    if data.startswith((b"II*\0", b"MM\0*")):
        values, text = depth_float.decode_tiff(data)
        return values, parse_record(text, contents)
    if data.startswith(b"\x76\x2f\x31\x01"):
        values, text = depth_float.decode_exr(data)
        return values, parse_record(text, contents)
    if data.startswith((b"\x93NUMPY", b"Pf")):
        record = read_sidecar(path, data, contents)
        decode = depth_float.decode_npy if data.startswith(b"\x93NUMPY") else depth_float.decode_pfm
        return decode(data), record
    raise ImageReadError("the file is empty" if not data else "not a depth file (PNG, NPY, PFM, TIFF or EXR)")
