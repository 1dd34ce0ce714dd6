"""Predictions as files that give them back to the bit: NPZ for depth, PNG for classes."""

from __future__ import annotations

import io
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from dptkit.errors import DataError, ImageReadError
from dptkit.evaluation.subject import Prediction
from dptkit.image_io import write_labels
from dptkit.image_io.atomic import write_bytes
from dptkit.image_io.names import printable
from dptkit.image_io.record import depth_record, parse_record, provenance_of, to_text
from dptkit.outputs import DepthMap

_RECORD = "record"


def write_prediction(folder: Path, name: str, prediction: Prediction) -> Path:
    """Keep a prediction as FOLDER/NAME.npz (depth) or FOLDER/NAME.png (classes), whole or not at all.

    NPZ holds `values` float32 [h, w], `valid` bool [h, w] and `record`, the JSON text of what the numbers mean. Other
    depth files mark invalid pixels by NaN and lose their values, which spread when a map is resized before it is
    scored. Sizes stay as they are. A segmentation's `scores` are not kept. Returns the path.
    Raises DataError for a name that leaves the folder, OutputWriteError where the system refuses.
    """
    stem = sample_path(name)
    if not isinstance(prediction, DepthMap):
        return write_labels(folder / f"{stem}.png", prediction)
    record = depth_record(
        prediction,
        content="depth",
        format_name="npz",
        stored_as="value = values; valid where valid is true",
        scale=1.0,
        offset=0.0,
        range_mode="none",
    )
    buffer = io.BytesIO()
    np.savez(buffer, values=prediction.values, valid=prediction.valid, record=np.array(to_text(record)))
    path = folder / f"{stem}.npz"
    write_bytes(path, buffer.getvalue())
    return path


def sample_path(name: str) -> PurePosixPath:
    """A sample's name as a path below the folder of predictions. Raises DataError for one that leads elsewhere."""
    path = PurePosixPath(name)
    if not path.name or path.is_absolute() or ".." in path.parts or "\\" in name:
        raise DataError(f"{printable(name)!r}: not a name that a prediction can have")
    return path


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """All arrays of an NPZ file. Raises DataError."""
    try:
        # In memory: numpy leaves a file open that is no archive.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}
    except Exception as error:  # zipfile, zlib and numpy raise their own kinds
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{printable(path)}: cannot be read ({printable(reason)})") from error


def kept_depth(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> DepthMap | None:
    """The prediction in the arrays of an NPZ file; None if `write_prediction` did not write it. Raises DataError."""
    if _RECORD not in arrays:
        return None
    try:
        record = parse_record(str(arrays[_RECORD]), ("depth",))
        values, valid = arrays["values"], arrays["valid"]
        if values.shape != (record["height"], record["width"]):
            raise ImageReadError("its record is of a map of another size")
        return DepthMap(values, record["quantity"], valid, provenance_of(record))
    except (ImageReadError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{printable(path)}: its record does not fit its data ({error})") from error
