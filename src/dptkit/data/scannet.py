"""ScanNet: indoor videos of a hand-held depth camera, 640x480 depth in metres, with the camera's place.

Where from   http://www.scan-net.org (terms of use to sign); frames from .sens files by its SensReader
Licence      ScanNet Terms of Use: non-commercial research
Layout       ROOT/sceneNNNN_NN/{color/N.jpg, depth/N.png, pose/N.txt, intrinsic/intrinsic_depth.txt}; depth is
             16-bit, millimetres, 0 = none; a pose is a 4x4 matrix, camera to world, infinite where tracking was lost;
             numbers may have zeros in front
Relied on    ScanNet/ScanNet SensReader/python; benchmark/dataset_extract of Video Depth Anything and the lists of
             prs-eth/Marigold data_split/scannet_depth, with lines "SCENE/color/N.jpg SCENE/depth/N.png"
Sizes        pictures of 1296x968 are brought to the depth's size, which belongs to the same field of view
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dptkit.data.pairs import (
    Intrinsics,
    Pair,
    PairedFiles,
    Target,
    check_split,
    depth_target,
    require_file,
    require_folder,
    scaled,
    subfolders,
)
from dptkit.data.reading import read_codes, read_lines
from dptkit.data.video_frames import numbered_frames
from dptkit.errors import DataError
from dptkit.image_io.names import printable

COLOUR_SIZE = (968, 1296)
"""(height, width) of pictures as they were taken."""

Matrix = npt.NDArray[np.float64]


def open_scannet(
    root: Path,
    split: str,
    *,
    scenes: Sequence[str] | None = None,
    list_file: str | None = None,
    first: int = 0,
    last: int | None = None,
    step: int = 1,
    border: Sequence[int] = (0, 0),
) -> PairedFiles:
    """Split all: frames of all scenes in `root`, or of `scenes`. Split list: those that `list_file` in `root` names.

    first, last, step: frames of each scene, as of a slice. border: rows at the top and bottom, and columns at the
    left and right, that are invalid. A sample's group is its scene; intrinsics are given where the scene's intrinsic/
    is there, and the pose where the frame's file is there and finite. Raises DataError, MissingFilesError.
    """
    check_split("scannet", split, ("all", "list"))
    require_folder("scannet", root, *(scenes or ()))
    if step < 1 or len(border) != 2:
        raise DataError(f"scannet: step must be at least 1 and border two numbers, not {step} and {tuple(border)}")
    decode = partial(decode_scannet, border=(border[0], border[1]))
    camera = lru_cache(maxsize=None)(lambda scene: _intrinsics(root / scene))
    if split == "list":
        if list_file is None:
            raise DataError(
                "scannet: split list needs list_file, such as Marigold's scannet_val_sampled_list_800_1.txt"
            )
        path = require_file("scannet", root, list_file, "lines of SCENE/color/N.jpg SCENE/depth/N.png")
        files = [_parse(path, line) for line in read_lines(path)]
    else:
        chosen = scenes or [name for name in subfolders(root) if (root / name / "color").is_dir()]
        files = [pair for scene in chosen for pair in _frames(root, scene)[slice(first, last, step)]]
    pairs = []
    for image, depth in files:
        scene, stem = image.split("/")[0], Path(image).stem
        pose = _pose(root / scene / "pose" / f"{stem}.txt")
        name = f"{scene}/{stem}"
        pairs.append(Pair(image, (depth,), name, scene, decode, camera(scene), camera_pose=pose, larger=COLOUR_SIZE))
    return PairedFiles("scannet", root, tuple(pairs)).require(split)


def decode_scannet(paths: Sequence[Path], border: tuple[int, int] = (0, 0)) -> Target:
    """16-bit millimetres, 0 = none; nothing within `border` of the edges counts."""
    target = depth_target(scaled(read_codes(paths[0]), 1e-3))
    rows, columns = border
    height, width = target.valid.shape
    inside = np.zeros(target.valid.shape, np.bool_)
    inside[rows : height - rows, columns : width - columns] = True
    return target._replace(valid=target.valid & inside)


def _frames(root: Path, scene: str) -> list[tuple[str, str]]:
    stems = numbered_frames(root / scene, {"color": ".jpg", "depth": ".png"})
    return [(f"{scene}/color/{stem}.jpg", f"{scene}/depth/{stem}.png") for stem in stems]


def _parse(path: Path, line: str) -> tuple[str, str]:
    words = line.split()
    if len(words) != 2 or any(len(word.split("/")) != 3 for word in words):
        raise DataError(f"{printable(path)}: not a line of a ScanNet list: {line!r}")
    return words[0], words[1]


def _intrinsics(scene: Path) -> Intrinsics | None:
    matrix = _matrix(scene / "intrinsic" / "intrinsic_depth.txt")
    if matrix is None:
        return None
    return float(matrix[0, 0]), float(matrix[1, 1]), float(matrix[0, 2]), float(matrix[1, 2])


def _pose(path: Path) -> Matrix | None:
    pose = _matrix(path)
    return pose if pose is not None and np.isfinite(pose).all() else None


def _matrix(path: Path) -> Matrix | None:
    """[4, 4]; None without the file. Raises DataError."""
    if not path.is_file():
        return None
    try:
        return np.array([[float(word) for word in line.split()] for line in read_lines(path)]).reshape(4, 4)
    except ValueError:
        raise DataError(f"{printable(path)}: not a 4x4 matrix") from None
