"""Clips that `dpt data render --frames` wrote: a moving camera in a scene that stands still, with poses.

ROOT/clips/CLIP/NNNN.jpg, NNNN.png (16-bit disparity, 0 = sky), and CLIP/clip.json with the camera of every frame,
written last, which marks a whole clip.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from dptkit.data.pairs import Pair, PairedFiles, Target, inverse_target, scaled
from dptkit.data.reading import read_codes
from dptkit.errors import DataError
from dptkit.image_io.names import printable

FOLDER = "clips"
RECORD = "clip.json"


def open_rendered_clips(root: Path, split: str) -> PairedFiles:
    """All frames of all whole clips under `root`, clip by clip; every `split` is the same.

    Inverse depth in 1/m, valid everywhere, 0 for the sky. A sample's group is its clip. Raises DataError if there are
    none, MissingFilesError.
    """
    records = sorted((root / FOLDER).glob(f"clip-*/{RECORD}"))
    if not records:
        raise DataError(
            f"rendered-clips: {printable(root)} has no {FOLDER}/clip-*/{RECORD}; make some with dpt data render "
            f"{printable(root)} --frames 16"
        )
    pairs = tuple(pair for path in records for pair in _pairs(path))
    return PairedFiles("rendered-clips", root, pairs).require(split)


def decode_clip(paths: Sequence[Path], scale: float) -> Target:
    """16-bit disparity, 1/m * 1 / scale, 0 = sky."""
    codes = read_codes(paths[0])
    return inverse_target(scaled(codes, scale), np.ones(codes.shape, np.bool_), "1/m")


def _pairs(path: Path) -> list[Pair]:
    clip = path.parent.name
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        decode = partial(decode_clip, scale=float(record["disparity_scale"]))
        pairs = []
        for number, frame in enumerate(record["frames"]):
            fx, fy, cx, cy = map(float, frame["intrinsics"])
            pose = np.array(frame["camera_pose"], np.float64).reshape(4, 4)
            stem = f"{FOLDER}/{clip}/{number:04d}"
            files = (f"{stem}.jpg", (f"{stem}.png",))
            name = f"{clip}/{number:04d}"
            pairs.append(Pair(*files, name, clip, decode, (fx, fy, cx, cy), camera_pose=pose))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{printable(path)}: not the record of a rendered clip ({error})") from error
    return pairs
