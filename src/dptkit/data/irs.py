"""IRS: rendered homes, offices, restaurants and stores for indoor robots, 960x540, exact disparity.

Where from   https://github.com/blackjack2015/IRS (also HKBU-HPML/IRS), archives by kind of room
Licence      none stated by the repository; research
Layout       ROOT/IRSDataset/{Home,Office,Restaurant,Store}/SCENE/{l_N.png, d_N.exr}, and the repository's lists in
             ROOT/lists: IRSDataset_TRAIN.list, IRSDataset_TEST.list; a line is left, right, disparity (and normals),
             as IRSDataset/Home/RoyalRoom_BL2/l_1445.png. EXR needs OpenEXR.
Relied on    the repository's README, lists and dataloader/SIRSLoader.py (focal length 480 pixels)
Target       relative inverse depth: disparity in pixels, 0 or less is invalid. Indoors: no sky.
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
    inverse_target,
    require_file,
    require_folder,
)
from dptkit.data.reading import read_exr, read_lines
from dptkit.errors import DataError
from dptkit.image_io.names import printable

INTRINSICS = (480.0, 480.0, 479.5, 269.5)
"""The focal length is the loader's; the principal point is taken to be the centre."""


def open_irs(root: Path, split: str, *, list_file: str | None = None) -> PairedFiles:
    """Split train or test. list_file: another list in `root`, such as lists/Home_TEST.list.

    A sample's group is its scene's folder; the official split cuts through scenes.
    """
    check_split("irs", split, ("train", "test"))
    require_folder("irs", root, "IRSDataset")
    name = list_file or f"lists/IRSDataset_{split.upper()}.list"
    path = require_file("irs", root, name, "the lists are in the folder lists/ of the data set's repository")
    pairs = tuple(_pair(path, split, line) for line in read_lines(path))
    return PairedFiles("irs", root, pairs).require(split)


def decode_irs(paths: Sequence[Path]) -> Target:
    """Disparity in pixels; valid where it is finite and above zero."""
    disparity = read_exr(paths[0])
    return inverse_target(disparity, np.isfinite(disparity) & (disparity > 0))


def _pair(path: Path, split: str, line: str) -> Pair:
    words = line.split()
    if len(words) < 3 or not words[2].endswith(".exr"):
        raise DataError(f"{printable(path)}: a line must name left picture, right picture, disparity; not {line!r}")
    folder, _, name = words[0].rpartition("/")
    stem = f"{folder}/{name.rpartition('.')[0]}"
    return Pair(words[0], (words[2],), stem, f"{split}/{folder}", decode_irs, INTRINSICS)
