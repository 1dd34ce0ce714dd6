"""SUN RGB-D: 10,335 indoor pictures of four depth cameras, of several sizes, depth in metres.

Where from   https://rgbd.cs.princeton.edu: SUNRGBD.zip, and SUNRGBDtoolbox.zip for the split
Licence      none stated; research
Layout       ROOT/SUNRGBD/{kv1,kv2,realsense,xtion}/**/SCENE/: image/*.jpg, depth/*.png (measured),
             depth_bfx/*.png (improved, holes filled in), intrinsics.txt; one picture a SCENE
             ROOT/SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat: alltrain 5,285, alltest 5,050 (scipy)
Depth        16-bit; millimetres are the stored bits turned right by three, cyclically; 0 = no measurement
Relied on    the toolbox: its README, readData/read3dPoints.m, and allsplit.mat, whose paths begin /n/fs/sun3d/data/
Mind         the toolbox takes depth beyond 8 metres as 8; here it stays as measured, and a protocol sets the bound.
             NYUv2's labelled pictures are in it (kv1/NYUdata): who trained on NYUv2 may have seen test pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

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
    scaled,
)
from dptkit.data.reading import IMAGE_SUFFIXES, read_codes, read_lines, read_mat
from dptkit.errors import DataError
from dptkit.image_io.names import printable

FOLDER = "SUNRGBD"
SPLIT_FILE = "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat"
_KEYS = {"train": "alltrain", "test": "alltest"}
_DEPTHS = {"raw": "depth", "filled": "depth_bfx"}


def open_sun_rgbd(
    root: Path, split: str, *, depth: Literal["raw", "filled"] = "raw", list_file: str | None = None
) -> PairedFiles:
    """Split train or test of the toolbox.

    depth: "raw" is what the camera measured, with holes; "filled" is the authors' improved depth.
    list_file: a text file in `root` in place of allsplit.mat, one SCENE a line, such as
    SUNRGBD/kv2/kinect2data/000065_2014-05-16_20-14-38_260595134347_rgbf000121-resize. A sample's group is the folder
    that its SCENE lies in; intrinsics are given where intrinsics.txt is there.
    """
    check_split("sun-rgbd", split, _KEYS)
    require_folder("sun-rgbd", root, FOLDER)
    folder = _DEPTHS[depth]
    pairs = []
    for scene in _scenes(root, split, list_file):
        image = _only(root, f"{FOLDER}/{scene}/image", IMAGE_SUFFIXES)
        truth = _only(root, f"{FOLDER}/{scene}/{folder}", (".png",))
        camera = _intrinsics(root / FOLDER / scene / "intrinsics.txt")
        pairs.append(Pair(image, (truth,), scene, scene.rpartition("/")[0], decode_sun_rgbd, camera))
    return PairedFiles("sun-rgbd", root, tuple(pairs)).require(split)


def decode_sun_rgbd(paths: Sequence[Path]) -> Target:
    """16-bit codes -> metres, 0 = none. Raises DataError for a picture that is not 16-bit."""
    codes = read_codes(paths[0])
    if codes.dtype != np.uint16:
        raise DataError(f"{printable(paths[0])}: {codes.dtype} where 16-bit depth belongs")
    return depth_target(scaled(millimetres(codes), 0.001))


def millimetres(codes: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    """Stored codes -> millimetres: the bits turned right by three, the lowest three becoming the highest."""
    return (codes >> np.uint16(3)) | (codes << np.uint16(13))


def _scenes(root: Path, split: str, list_file: str | None) -> tuple[str, ...]:
    """Folders below ROOT/SUNRGBD, in the order of the list."""
    if list_file is not None:
        path = require_file("sun-rgbd", root, list_file, "the list of scenes")
        lines = read_lines(path)
    else:
        path = require_file(
            "sun-rgbd", root, SPLIT_FILE, "the official split, in SUNRGBDtoolbox.zip (or say list_file)"
        )
        content = read_mat(path)
        if _KEYS[split] not in content:
            raise DataError(f"{printable(path)}: no {_KEYS[split]} in it")
        lines = ["".join(np.ravel(cell)) for cell in np.ravel(content[_KEYS[split]])]
    return tuple(dict.fromkeys(_scene(path, line) for line in lines))


def _scene(path: Path, line: str) -> str:
    """ "/n/fs/sun3d/data/SUNRGBD/kv2/x/" -> "kv2/x"."""
    parts = [part for part in line.strip().split("/") if part]
    if FOLDER not in parts[:-1] or ".." in parts:
        raise DataError(f"{printable(path)}: {line!r} is not a folder below {FOLDER}/")
    return "/".join(parts[parts.index(FOLDER) + 1 :])


def _only(root: Path, folder: str, suffixes: Sequence[str]) -> str:
    """The one file of a folder; one that does not exist, so that it counts as missing, where there is none."""
    names = [name for name in names_in(root / folder) if name.endswith(tuple(suffixes)) and not name.startswith(".")]
    if len(names) > 1:
        raise DataError(f"sun-rgbd: {printable(root / folder)} has {len(names)} pictures where one belongs")
    return f"{folder}/{names[0]}" if names else f"{folder}/*{suffixes[0]}"


def _intrinsics(path: Path) -> Intrinsics | None:
    """A 3x3 matrix in nine numbers. None without a file."""
    if not path.is_file():
        return None
    try:
        numbers = [float(word) for line in read_lines(path) for word in line.split()]
        fx, _, cx, _, fy, cy, *_ = numbers
    except ValueError:
        raise DataError(f"{printable(path)}: not the nine numbers of a 3x3 matrix") from None
    return fx, fy, cx, cy
