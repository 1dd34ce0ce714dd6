"""TUM RGB-D: indoor sequences from Kinects, 640x480, depth in metres; by default those with moving people.

Where from   https://cvg.cit.tum.de/data/datasets/rgbd-dataset/download: one archive a sequence, all extracted into
             one folder
Licence      CC BY 4.0
Layout       ROOT/rgbd_dataset_freiburgN_NAME/{rgb.txt, depth.txt}, lines "STAMP rgb/STAMP.png" and
             "STAMP depth/STAMP.png" with seconds, comments after #; depth is 16-bit, metres * 5000, 0 = none, and
             registered to the colour picture; groundtruth.txt, lines "STAMP tx ty tz qx qy qz qw": the colour
             camera's place in the world, from motion capture
Relied on    https://cvg.cit.tum.de/data/datasets/rgbd-dataset/file_formats (scale, cameras) and its associate.py:
             colour and depth are taken at different times and paired by time stamp, the nearest first, each once
Uncertain    which frames MiDaS and DPT report on. "dynamic" is the category "dynamic objects" of the data set's page,
             every frame; the published errors are understood to be of the 1,815 frames that Li et al. 2019
             (google/mannequinchallenge, tum_hdf5.tgz, cropped) chose from it, which are another data set.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
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
from dptkit.data.video_frames import of_each_group
from dptkit.errors import DataError
from dptkit.image_io.names import printable

DYNAMIC = (
    "rgbd_dataset_freiburg2_desk_with_person",
    *(
        f"rgbd_dataset_freiburg3_{people}_{camera}"
        for people in ("sitting", "walking")
        for camera in ("static", "xyz", "halfsphere", "rpy")
    ),
)
"""The nine sequences with people."""

INTRINSICS: dict[str, Intrinsics] = {
    "freiburg1": (517.3, 516.5, 318.6, 255.3),
    "freiburg2": (520.9, 521.0, 325.1, 249.7),
    "freiburg3": (535.4, 539.2, 320.1, 247.6),
}
"""(fx, fy, cx, cy) of the colour cameras; lens distortion, which freiburg3 has none of, is not given here."""

BONN: Intrinsics = (542.822841, 542.576870, 315.593520, 237.756098)


def open_tum(
    root: Path, split: str, *, sequences: Sequence[str] | None = None, max_seconds: float = 0.02
) -> PairedFiles:
    """Colour pictures with the depth of about the same time.

    Split dynamic: the nine sequences with people, which must all be there; all: every sequence in `root`, or `root`
    itself if it is one. sequences: these folders in place of them. max_seconds: colour and depth are less than this
    apart; pictures without depth are left out. A sample's group is its sequence; intrinsics are given where the
    folder's name tells the camera, and its pose where groundtruth.txt has one less than max_seconds apart.
    Raises DataError, MissingFilesError.
    """
    check_split("tum", split, ("dynamic", "all"))
    return PairedFiles("tum", root, _chosen(root, split, sequences, max_seconds)).require(split)


def _chosen(root: Path, split: str, sequences: Sequence[str] | None, max_seconds: float) -> tuple[Pair, ...]:
    require_folder("tum", root)
    if sequences is not None:
        chosen = tuple(sequences)
    elif split == "dynamic":
        chosen = DYNAMIC
    elif (root / "rgb.txt").is_file():
        chosen = ("",)
    else:
        chosen = tuple(name for name in subfolders(root) if (root / name / "rgb.txt").is_file())
        if not chosen:
            raise DataError(f"tum: {printable(root)} has no sequences (folders with rgb.txt and depth.txt)")
    require_folder("tum", root, *(name for name in chosen if name))
    return tuple(pair for name in chosen for pair in _pairs(root, name, max_seconds))


def open_bonn(
    root: Path,
    split: str,
    *,
    sequences: Sequence[str] | None = None,
    max_seconds: float = 0.02,
    first: int = 0,
    last: int | None = None,
) -> PairedFiles:
    """Bonn RGB-D Dynamic (https://www.ipb.uni-bonn.de/data/rgbd-dynamic-dataset), which is laid out as TUM's.

    Split all: every sequence in `root`, or `sequences`. first, last: frames of each, as of a slice. Intrinsics are
    those of its page. Raises DataError, MissingFilesError.
    """
    check_split("bonn", split, ("all",))
    every = _chosen(root, "all", sequences, max_seconds)
    pairs = tuple(pair._replace(intrinsics=BONN) for pair in of_each_group(every, first, last))
    return PairedFiles("bonn", root, pairs).require(split)


def decode_tum(paths: Sequence[Path]) -> Target:
    """16-bit, metres * 5000, 0 = none."""
    return depth_target(scaled(read_codes(paths[0]), 1 / 5000))


def associate(first: Sequence[float], second: Sequence[float], max_seconds: float) -> list[tuple[float, float]]:
    """Pairs of time stamps less than `max_seconds` apart, the nearest first, each stamp once; in order of time."""
    later = sorted(second)
    candidates = []
    for stamp in first:
        place = bisect_left(later, stamp - max_seconds)
        while place < len(later) and later[place] - stamp < max_seconds:
            if abs(stamp - later[place]) < max_seconds:
                candidates.append((abs(stamp - later[place]), stamp, later[place]))
            place += 1
    left, right = set(first), set(second)
    matches = []
    for _, one, other in sorted(candidates):
        if one in left and other in right:
            left.remove(one)
            right.remove(other)
            matches.append((one, other))
    return sorted(matches)


def _pairs(root: Path, sequence: str, max_seconds: float) -> Iterator[Pair]:
    below = f"{sequence}/" if sequence else ""
    folder = sequence or root.resolve().name
    colour, depth = (
        _stamps(require_file("tum", root, f"{below}{name}", "a sequence lists its pictures in rgb.txt and depth.txt"))
        for name in ("rgb.txt", "depth.txt")
    )
    matches = associate(list(colour), list(depth), max_seconds)
    if not matches:
        raise DataError(f"tum: {printable(root / sequence)}: no picture has depth less than {max_seconds} s apart")
    camera = next((values for name, values in INTRINSICS.items() if name in folder), None)
    poses = _poses(root / sequence / "groundtruth.txt")
    placed = dict(associate([one for one, _ in matches], list(poses), max_seconds))
    for one, other in matches:
        image = colour[one]
        name = f"{folder}/{Path(image).stem}"
        pose = poses[placed[one]] if one in placed else None
        files = (f"{below}{depth[other]}",)
        yield Pair(f"{below}{image}", files, name, folder, decode_tum, camera, camera_pose=pose)


def _stamps(path: Path) -> dict[float, str]:
    """Time in seconds -> file, relative to the sequence."""
    files = {}
    for line in read_lines(path):
        if line.startswith("#"):
            continue
        words = line.split()
        try:
            files[float(words[0])] = words[1]
        except (ValueError, IndexError):
            raise DataError(f"{printable(path)}: a line must be a time stamp and a file, not {line!r}") from None
    return files


def _poses(path: Path) -> dict[float, npt.NDArray[np.float64]]:
    """Time in seconds -> camera to world [4, 4]; empty without the file. Raises DataError."""
    poses: dict[float, npt.NDArray[np.float64]] = {}
    for line in read_lines(path) if path.is_file() else ():
        if line.startswith("#"):
            continue
        try:
            stamp, *values = map(float, line.split())
            poses[stamp] = pose_matrix(values[:3], values[3:])
        except ValueError:
            raise DataError(
                f"{printable(path)}: a line must be a time stamp, a place and a quaternion, not {line!r}"
            ) from None
    return poses


def pose_matrix(place: Sequence[float], quaternion: Sequence[float]) -> npt.NDArray[np.float64]:
    """[4, 4] of (tx, ty, tz) and (qx, qy, qz, qw) of any length but 0. Raises ValueError."""
    numbers = np.asarray(quaternion, np.float64)
    length = float(np.linalg.norm(numbers))
    if len(place) != 3 or len(numbers) != 4 or not 0 < length < np.inf:
        raise ValueError("not a pose")
    x, y, z, w = numbers / length
    pose = np.eye(4)
    pose[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    pose[:3, 3] = place
    return pose
