"""Targets in shards: 16-bit where that loses nothing, floats elsewhere."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dptkit.data.sample import IGNORED, Sample

_LAST_CODE = 65535  # 0 is invalid
# What data sets store in whole numbers of: millimetres and their parts, KITTI's 1/256 m; levels of disparity.
_METRES = (0.001, 1 / 256, 0.002, 0.0005, 0.0002, 0.0001)
_INVERSE = (1.0, 0.01, 1 / 256, 0.001)


def encode_target(sample: Sample) -> tuple[str, bytes, dict[str, float]]:
    """A sample's target -> (ending, bytes, what the record must say). Lossless for valid pixels.

    Metres are stored without an offset; inverse depth, which may be 0 for the sky, from code 1.
    """
    if sample.quantity == "labels":
        labels = np.where(sample.valid, sample.target, IGNORED).astype(np.uint8)
        return "target.png", _png(labels), {}
    shift = 0 if sample.quantity == "depth_m" else 1
    values = np.where(sample.valid, sample.target, 0).astype(np.float64)
    for step in _METRES if sample.quantity == "depth_m" else _INVERSE:
        codes = np.rint(values / step) + shift
        if codes.max(initial=0) > _LAST_CODE:
            continue
        stored = np.where(sample.valid, codes, 0).astype(np.uint16)
        scaling = {"scale": step, "offset": -shift * step}
        restored, valid = _from_codes(stored, **scaling)
        if np.array_equal(valid, sample.valid) and np.array_equal(restored[valid], sample.target[valid]):
            return "target.png", _png(stored), scaling
    buffer = io.BytesIO()
    np.save(buffer, np.where(sample.valid, sample.target, np.float32(np.nan)), allow_pickle=False)
    return "target.npy", buffer.getvalue(), {}


def decode_target(
    members: Mapping[str, bytes], record: Mapping[str, Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """(values, valid). Raises KeyError or ValueError for members that do not fit their record."""
    if "target.npy" in members:
        values = np.load(io.BytesIO(members["target.npy"]), allow_pickle=False)
        valid = ~np.isnan(values)
        return np.where(valid, values, np.float32(0)), valid
    data = members["target.png"]
    stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if stored is None or stored.ndim != 2:
        raise ValueError("its target is no grey picture")
    if record["quantity"] == "labels":
        labels = np.asarray(stored, np.uint8)
        return labels, labels != IGNORED
    return _from_codes(np.asarray(stored, np.uint16), float(record["scale"]), float(record["offset"]))


def _from_codes(
    codes: npt.NDArray[np.uint16], scale: float, offset: float
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    valid = codes != 0
    values = np.where(valid, codes.astype(np.float64) * scale + offset, 0)
    return values.astype(np.float32), valid


def _png(plane: npt.NDArray[Any]) -> bytes:
    # Fastest setting that still halves the size; the same bytes every time.
    encoded = cv2.imencode(".png", plane, [cv2.IMWRITE_PNG_COMPRESSION, 4])[1]
    return encoded.tobytes()
