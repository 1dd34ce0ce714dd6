"""DIODE: indoors and outdoors with one laser scanner, 1024x768, dense depth in metres (0.6 to 350).

Where from   https://diode-dataset.org: val.tar.gz (2.6 GB), train.tar.gz (81 GB)
Licence      MIT
Layout       ROOT/{train,val}/{indoors,outdoor}/scene_NNNNN/scan_NNNNN/NAME.png, NAME_depth.npy [H, W, 1] in metres,
             NAME_depth_mask.npy [H, W], 1 = the scanner got an answer, 0 = none
Relied on    diode-dataset/diode-devkit README.md, diode.py and intrinsics.txt
Mind         the scanner's answers are wrong along the edges of objects, which some evaluations cut away; nothing is
             cut away here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dptkit.data.pairs import (
    Pair,
    PairedFiles,
    Target,
    check_split,
    depth_target,
    files_below,
    require_folder,
    same_size,
)
from dptkit.data.reading import read_npy
from dptkit.errors import DataError
from dptkit.image_io.names import printable

INTRINSICS = (886.81, 927.06, 512.0, 384.0)
"""(fx, fy, cx, cy) of the camera that the pictures were rendered with, the same for all."""

_PLACES = ("indoors", "outdoor")
_PARTS = {
    "train": _PLACES,
    "train-indoors": ("indoors",),
    "train-outdoor": ("outdoor",),
    "val": _PLACES,
    "val-indoors": ("indoors",),
    "val-outdoor": ("outdoor",),
}
SPLITS = tuple(_PARTS)
_DEPTH, _MASK = "_depth.npy", "_depth_mask.npy"


def open_diode(root: Path, split: str) -> PairedFiles:
    """Split train or val, whole (both folders must be there) or its part "-indoors" or "-outdoor".

    A sample's group is its scene. Raises DataError.
    """
    check_split("diode", split, SPLITS)
    folders = [f"{split.partition('-')[0]}/{place}" for place in _PARTS[split]]
    require_folder("diode", root, *folders)
    pairs = []
    for folder in folders:
        stems = sorted({_stem(path) for path in files_below(root / folder, (".png", ".npy"))})
        if not stems:
            raise DataError(f"diode: no pairs in {printable(root / folder)}, a part of split {split!r}")
        for stem in stems:
            path = f"{folder}/{stem}"
            name = path.partition("/")[2]
            group = "/".join(name.split("/")[:2])
            truth = (path + _DEPTH, path + _MASK)
            pairs.append(Pair(f"{path}.png", truth, name, group, decode_diode, INTRINSICS))
    return PairedFiles("diode", root, tuple(pairs)).require(split)


def decode_diode(paths: Sequence[Path]) -> Target:
    """(metres, mask) -> metres, valid where the mask is not 0 and depth is finite and above 0."""
    metres, mask = read_npy(paths[0]), read_npy(paths[1])
    same_size(paths[0], metres, paths[1], mask)
    return depth_target(np.where(mask > 0, metres, 0))


def _stem(path: str) -> str:
    for ending in (_MASK, _DEPTH):
        if path.endswith(ending):
            return path.removesuffix(ending)
    return path.rpartition(".")[0]
