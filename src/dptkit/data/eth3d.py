"""ETH3D, high-resolution multi-view, training set: 13 scenes, 454 pictures of 6048x4032, laser-scanned depth.

Where from   https://www.eth3d.net/datasets: multi_view_training_dslr_jpg.7z (or SCENE_dslr_jpg.7z) and
             SCENE_dslr_depth.7z, all extracted into one folder. The test set has no public ground truth.
Licence      CC BY-NC-SA 4.0
Layout       ROOT/SCENE/images/dslr_images/NAME.JPG
             ROOT/SCENE/ground_truth_depth/dslr_images/NAME.JPG: not a picture, but 4-byte floats, little-endian, row by
             row, metres along the optical axis, infinity where nothing was measured (most of the pixels)
             ROOT/SCENE/dslr_calibration_jpg/{cameras,images}.txt: COLMAP's, which says what pictures there are
Relied on    https://www.eth3d.net/documentation; ETH3D/multi-view-evaluation#3 (the depth files' names)
Camera       (fx, fy, cx, cy) as stored: of a model with distortion (THIN_PRISM_FISHEYE), which is not given here,
             and counted so that the middle of the first pixel is at 0.5.

The depth is that of the pictures with their lens distortion. It does not fit the undistorted pictures
(dslr_images_undistorted), which therefore cannot be opened.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dptkit.data.pairs import (
    Intrinsics,
    Pair,
    PairedFiles,
    Target,
    check_split,
    depth_target,
    names_in,
    require_file,
    require_folder,
)
from dptkit.errors import DataError
from dptkit.image_io.names import printable

SCENES = (
    "courtyard", "delivery_area", "electro", "facade", "kicker", "meadow", "office", "pipes", "playground", "relief",
    "relief_2", "terrace", "terrains",
)  # fmt: skip
_CALIBRATION, _IMAGES, _DEPTH = "dslr_calibration_jpg", "images/dslr_images", "ground_truth_depth/dslr_images"


class _Camera(NamedTuple):
    size: tuple[int, int]  # (height, width)
    intrinsics: Intrinsics


def open_eth3d(root: Path, split: str, *, scenes: Sequence[str] | None = None) -> PairedFiles:
    """The training set's pictures with depth in metres (split train, the only one): all 13 scenes, or `scenes`.

    A sample's group is its scene. Pictures are read as stored, as their depth is. Raises DataError,
    MissingFilesError.
    """
    check_split("eth3d", split, ("train",))
    for scene in scenes or ():
        if scene not in SCENES:
            raise DataError(f"eth3d: no scene {scene!r}; there are {', '.join(SCENES)}")
    chosen = tuple(scenes or SCENES)
    require_folder("eth3d", root, *chosen)
    for scene in chosen:
        if (root / scene / "images/dslr_images_undistorted").is_dir() and not (root / scene / _IMAGES).is_dir():
            raise DataError(
                f"eth3d: {printable(root / scene)} has the undistorted pictures, which the depth does not fit; "
                f"get {scene}_dslr_jpg.7z"
            )
    require_folder("eth3d", root, *(f"{scene}/{folder}" for scene in chosen for folder in (_IMAGES, _DEPTH)))
    pairs = tuple(pair for scene in chosen for pair in _pairs(root, scene))
    return PairedFiles("eth3d", root, pairs).require(split)


def decode_eth3d(paths: Sequence[Path], size: tuple[int, int]) -> Target:
    """Raw floats of a picture of `size` (height, width) -> metres; infinity is invalid."""
    try:
        metres = np.fromfile(paths[0], "<f4")
        stored = paths[0].stat().st_size
    except OSError as error:
        raise DataError(f"{printable(paths[0])}: {'no such file' if not paths[0].exists() else error}") from error
    height, width = size
    if stored != 4 * height * width:
        raise DataError(
            f"{printable(paths[0])}: {stored} bytes, but depth of {width}x{height} pixels has {4 * height * width}"
        )
    return depth_target(metres.reshape(height, width))


def _pairs(root: Path, scene: str) -> Iterator[Pair]:
    hint = f"it is in {scene}_dslr_jpg.7z, with the pictures"
    cameras = _cameras(require_file("eth3d", root, f"{scene}/{_CALIBRATION}/cameras.txt", hint))
    path = require_file("eth3d", root, f"{scene}/{_CALIBRATION}/images.txt", hint)
    listed = set()
    # Two lines a picture; the second, of points in it, may be empty.
    for line in _rows(path, keep_empty=True)[::2]:
        words = line.split()
        if not words:  # at the end
            continue
        if len(words) != 10 or words[8] not in cameras or not words[9].startswith("dslr_images/"):
            raise DataError(f"{printable(path)}: not a line of a picture, or of an unknown camera: {line[:80]!r}")
        name = words[9].removeprefix("dslr_images/")
        listed.add(name)
        camera = cameras[words[8]]
        yield Pair(
            f"{scene}/{_IMAGES}/{name}", (f"{scene}/{_DEPTH}/{name}",), f"{scene}/{name.rpartition('.')[0]}", scene,
            partial(decode_eth3d, size=camera.size), camera.intrinsics, upright=False,
        )  # fmt: skip
    extra = [name for name in names_in(root / scene / _DEPTH) if name.endswith(".JPG") and name not in listed]
    if extra:
        raise DataError(f"{printable(path)}: cut short: {extra[0]} has depth but is not listed")


def _cameras(path: Path) -> dict[str, _Camera]:
    """By number: lines are number, model, width, height, fx, fy, cx, cy, and what the model has more."""
    cameras = {}
    for line in _rows(path):
        words = line.split()
        try:
            width, height = int(words[2]), int(words[3])
            fx, fy, cx, cy = (float(word) for word in words[4:8])
        except (ValueError, IndexError):
            raise DataError(f"{printable(path)}: not a line of a camera: {line[:80]!r}") from None
        cameras[words[0]] = _Camera((height, width), (fx, fy, cx, cy))
    return cameras


def _rows(path: Path, *, keep_empty: bool = False) -> list[str]:
    """Lines without comments, and without those of white space unless they are to be kept."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{printable(path)}: cannot be read ({error})") from error
    return [line for line in lines if not line.startswith("#") and (keep_empty or line.strip())]
