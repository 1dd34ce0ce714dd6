"""Rendered clips as files, whole clip by whole clip; see `dptkit.data.rendered_clips` for what is in them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dptkit.data.procedural.rendering import check_request, render_clip
from dptkit.data.procedural.writing import (
    DISPARITY_SCALE,
    Progress,
    encode_disparity,
    read_record,
    write_jpeg,
    write_picture,
)
from dptkit.data.rendered_clips import FOLDER, RECORD
from dptkit.errors import DataError
from dptkit.image_io import atomic_write

if TYPE_CHECKING:
    from dptkit.data.procedural.photos import PhotoTextures


def write_clips(
    out: Path,
    count: int,
    frames: int,
    seed: int = 0,
    size: tuple[int, int] = (240, 320),
    photos: PhotoTextures | None = None,
    *,
    kind: str | None = None,
) -> Iterator[Progress]:
    """Write the clips of `count` seeds from `seed`, `frames` pictures each, and yield after each clip.

    Whole clips of the same settings are skipped, so a run that was cut off goes on where it stopped. Raises DataError
    for arguments out of range or a clip of other settings in the way, OutputWriteError where the disk refuses.
    """
    check_request(seed, size, kind)
    if count < 1 or frames < 1:
        raise DataError(f"count and frames must be at least 1, not {count} and {frames}")
    settings = {"size": list(size), "frame_count": frames, "asked_kind": kind, "photos": photos is not None}
    skipped = 0
    yield Progress(0, count, 0)
    for done, number in enumerate(range(seed, seed + count), 1):
        folder = Path(out) / FOLDER / f"clip-{number:08d}"
        found = read_record(folder / RECORD)
        if found is None:
            cameras, kinds = [], []
            for k, frame in enumerate(render_clip(number, frames, size=size, kind=kind, photos=photos)):
                write_jpeg(folder / f"{k:04d}.jpg", np.ascontiguousarray(frame.image[:, :, ::-1]))
                write_picture(folder / f"{k:04d}.png", ".png", encode_disparity(frame), [])
                cameras.append({"intrinsics": list(frame.intrinsics), "camera_pose": frame.camera_pose.tolist()})
                kinds.append(frame.kind)
            record = {**settings, "seed": number, "kind": kinds[0], "disparity_scale": DISPARITY_SCALE}
            with atomic_write(folder / RECORD) as temporary:
                temporary.write_text(json.dumps({**record, "frames": cameras}), encoding="utf-8")
        else:
            different = [key for key, value in settings.items() if found.get(key) != value]
            if different:
                raise DataError(f"{folder / RECORD} was rendered with another {different[0]}; choose another folder")
            skipped += 1
        yield Progress(done, count, skipped)
