"""MPI Sintel, training set: 1,064 frames of 23 scenes of an animated film, 1024x436, exact depth.

Where from   http://sintel.is.tue.mpg.de/depth: MPI-Sintel-training_images.zip (or MPI-Sintel-complete.zip) and
             MPI-Sintel-depth-training-20150305.zip, extracted into one folder
Licence      none stated for the benchmark; the film is CC BY 3.0 (Blender Foundation)
Layout       ROOT/training/{final,clean}/SCENE/frame_NNNN.png, ROOT/training/depth/SCENE/frame_NNNN.dpt,
             ROOT/training/camdata_left/SCENE/frame_NNNN.cam; in the complete archive also
             ROOT/training/invalid/SCENE/frame_NNNN.png, not 0 where pixels are invalid.
             .dpt: float 202021.25, int width, int height, floats row by row, all of 4 bytes, little-endian.
             .cam: float 202021.25, then 9 doubles, the camera matrix row by row, and 12, world to camera [3, 4]
Relied on    the sdk's sintel_io.py in the depth archive; frames per scene as its users count them
Far away     backgrounds have depths of thousands of metres, up to the renderer's limit. They are kept: a protocol
             says up to where it scores. In 19 frames everything is farther than the usual 72 m
             (saic-vul/geometry-preserving-de), so that nothing is left to score there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from dptkit.data.pairs import Intrinsics, Pair, PairedFiles, Target, check_split, depth_target, require_folder
from dptkit.data.reading import read_codes
from dptkit.errors import DataError
from dptkit.image_io.names import printable

FRAMES = {
    "alley_1": 50, "alley_2": 50, "ambush_2": 21, "ambush_4": 33, "ambush_5": 50, "ambush_6": 20, "ambush_7": 50,
    "bamboo_1": 50, "bamboo_2": 50, "bandage_1": 50, "bandage_2": 50, "cave_2": 50, "cave_4": 50, "market_2": 50,
    "market_5": 50, "market_6": 40, "mountain_1": 50, "shaman_2": 50, "shaman_3": 50, "sleeping_1": 50,
    "sleeping_2": 50, "temple_2": 50, "temple_3": 50,
}  # fmt: skip
"""Frames by scene, numbered from 1; 1,064 in all."""

_TAG = np.float32(202021.25)


def open_sintel(
    root: Path,
    split: str,
    *,
    rendering: Literal["final", "clean"] = "final",
    invalid_masks: bool = False,
    scenes: Sequence[str] | None = None,
) -> PairedFiles:
    """The training set (split train; the test set's depth is not public): all 23 scenes, or `scenes`.

    rendering: final has motion blur, focus and fog, clean has not. invalid_masks: leave out the pixels that
    training/invalid marks. A sample's group is its scene; intrinsics and pose of the camera are
    given where training/camdata_left is there.
    Raises DataError, MissingFilesError.
    """
    check_split("sintel", split, ("train",))
    for scene in scenes or ():
        if scene not in FRAMES:
            raise DataError(f"sintel: no scene {scene!r}; there are {', '.join(FRAMES)}")
    folders = [f"training/{rendering}", "training/depth", *(["training/invalid"] if invalid_masks else [])]
    require_folder("sintel", root, *folders)
    pairs = []
    for scene in scenes or FRAMES:
        for number in range(1, FRAMES[scene] + 1):
            frame = f"{scene}/frame_{number:04d}"
            masks = (f"training/invalid/{frame}.png",) if invalid_masks else ()
            pairs.append(
                Pair(
                    f"training/{rendering}/{frame}.png", (f"training/depth/{frame}.dpt", *masks), frame, scene,
                    decode_sintel,
                )
            )  # fmt: skip
    dataset = PairedFiles("sintel", root, tuple(pairs)).require(split)
    cameras = root / "training/camdata_left"
    if not cameras.is_dir():
        return dataset
    placed = []
    for pair in pairs:
        intrinsics, pose = read_camera(cameras / f"{pair.name}.cam")
        placed.append(pair._replace(intrinsics=intrinsics, camera_pose=pose))
    return replace(dataset, pairs=tuple(placed))


def decode_sintel(paths: Sequence[Path]) -> Target:
    """(.dpt, and the picture of invalid pixels if wanted) -> metres."""
    target = depth_target(_read_depth(paths[0]))
    if len(paths) == 1:
        return target
    invalid = read_codes(paths[1]) != 0
    if invalid.shape != target.valid.shape:
        raise DataError(f"{printable(paths[1])}: {invalid.shape[::-1]} pixels, the depth {target.valid.shape[::-1]}")
    return target._replace(values=np.where(invalid, np.float32(0), target.values), valid=target.valid & ~invalid)


def read_camera(path: Path) -> tuple[Intrinsics, npt.NDArray[np.float64]]:
    """(fx, fy, cx, cy) and the pose, camera to world [4, 4], of a .cam file. Raises DataError."""
    data = _read_tagged(path)
    if len(data) < 4 + 8 * 21:
        raise DataError(f"{printable(path)}: {len(data)} bytes are not a camera")
    matrix = np.frombuffer(data, "<f8", 9, 4)
    to_camera = np.vstack([np.frombuffer(data, "<f8", 12, 4 + 8 * 9).reshape(3, 4), (0, 0, 0, 1)])
    try:
        pose = np.linalg.inv(to_camera)
    except np.linalg.LinAlgError:
        raise DataError(f"{printable(path)}: its place of the camera is none") from None
    return (float(matrix[0]), float(matrix[4]), float(matrix[2]), float(matrix[5])), pose


def _read_depth(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    data = _read_tagged(path)
    width, height = (int(side) for side in np.frombuffer(data, "<i4", 2, 4)) if len(data) >= 12 else (0, 0)
    if width < 1 or height < 1 or len(data) != 12 + 4 * width * height:
        raise DataError(f"{printable(path)}: {len(data)} bytes are not depth of {width}x{height} pixels")
    return np.frombuffer(data, "<f4", width * height, 12).reshape(height, width)


def _read_tagged(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{printable(path)}: no such file") from None
    except OSError as error:
        raise DataError(f"{printable(path)}: {error.strerror or error}") from error
    if len(data) < 4 or np.frombuffer(data, "<f4", 1)[0] != _TAG:
        raise DataError(f"{printable(path)}: does not begin as a file of Sintel does")
    return data
