"""Stereo pictures and videos from the web, with disparity from optical flow: ReDWeb, HR-WSI, WSVD.

All three give relative inverse depth: disparity known up to scale and shift.

ReDWeb (V1, 3,600 pictures)
    Where from   https://sites.google.com/site/redwebcvpr18
    Licence      none stated; research
    Layout       ROOT/Imgs/NAME.jpg, ROOT/RDs/NAME.png, 8-bit: 0 nearest, 254 farthest, 255 sky. One split, train;
                 the option hold_out makes a split val of it.
    Relied on    isl-org/MiDaS#16: its authors take 255 - stored as disparity ("not 100% sure even after directly
                 communicating with the authors"), and sky as infinitely far. No masks are distributed with V1.
HR-WSI (20,378 train, 400 val)
    Where from   https://github.com/KexianHust/Structure-Guided-Ranking-Loss
    Licence      none stated; research
    Layout       ROOT/{train,val}/{imgs/NAME.jpg, gts/NAME.png, valid_masks/NAME.png}; gts 8-bit, larger is nearer
    Uncertain    how sky is stored: it is taken as valid_masks says, with the value in gts.
WSVD (553 YouTube videos, about 1.5 M frames)
    Where from   https://sites.google.com/view/wsvd/home: a list of videos and clips. Neither frames nor disparity are
                 distributed; aycatakmaz/wsvd_dataset_loader extracts {train,test}/VIDEO_CLIP/NNNNN.png (left views).
    Licence      that of each video
    Layout       ours for the disparity, which you compute from both views: ROOT/SPLIT/VIDEO_CLIP/NNNNN.png and
                 ROOT/disparity/SPLIT/VIDEO_CLIP/NNNNN.{png,npy,pfm}; larger is nearer, 0 or not finite is invalid
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from dptkit.data.folder import decode_values
from dptkit.data.held_out import divide_evenly
from dptkit.data.pairs import (
    Pair,
    PairedFiles,
    Target,
    check_split,
    files_below,
    inverse_target,
    require_folder,
)
from dptkit.data.reading import read_codes, read_mask
from dptkit.errors import DataError
from dptkit.image_io.names import printable

_FARTHEST = 255


def open_redweb(root: Path, split: str = "train", *, hold_out: int = 0) -> PairedFiles:
    """ReDWeb V1; it has one split, train. hold_out: every so manieth picture by name is split val instead."""
    check_split("redweb", split, ("train", "val") if hold_out else ("train",))
    require_folder("redweb", root, "Imgs", "RDs")
    stems = {path.rpartition(".")[0] for path in files_below(root / "Imgs", (".jpg",))}
    stems |= {path.rpartition(".")[0] for path in files_below(root / "RDs", (".png",))}
    pairs = tuple(Pair(f"Imgs/{stem}.jpg", (f"RDs/{stem}.png",), stem, "", decode_redweb) for stem in sorted(stems))
    dataset = PairedFiles("redweb", root, pairs)
    if hold_out:
        dataset = divide_evenly(dataset, hold_out, held=split == "val")
    return dataset.require(split)


def decode_redweb(paths: Sequence[Path]) -> Target:
    """Relative depth 0 (near) to 255 (sky) -> 255 - stored, all valid."""
    stored = _bytes(paths[0])
    return inverse_target(_FARTHEST - stored.astype(np.float32), np.ones(stored.shape, np.bool_))


def open_hrwsi(root: Path, split: str) -> PairedFiles:
    """HR-WSI; split train or val."""
    check_split("hrwsi", split, ("train", "val"))
    folders = ("imgs", "gts", "valid_masks")
    require_folder("hrwsi", root, *(f"{split}/{folder}" for folder in folders))
    stems: set[str] = set()
    for folder, ending in zip(folders, (".jpg", ".png", ".png"), strict=True):
        stems |= {path.rpartition(".")[0] for path in files_below(root / split / folder, (ending,))}
    pairs = tuple(
        Pair(
            f"{split}/imgs/{stem}.jpg", (f"{split}/gts/{stem}.png", f"{split}/valid_masks/{stem}.png"), stem, "",
            decode_hrwsi,
        )
        for stem in sorted(stems)
    )  # fmt: skip
    return PairedFiles("hrwsi", root, pairs).require(split)


def decode_hrwsi(paths: Sequence[Path]) -> Target:
    """(8-bit inverse depth, mask) -> inverse depth, valid where the mask is not 0."""
    stored, valid = _bytes(paths[0]), read_mask(paths[1])
    if stored.shape != valid.shape:
        raise DataError(f"{printable(paths[1])}: {valid.shape[::-1]} pixels, the inverse depth {stored.shape[::-1]}")
    return inverse_target(stored, valid)


def open_wsvd(root: Path, split: str) -> PairedFiles:
    """WSVD as you extracted it; split train or test. A sample's group is its video's clip."""
    check_split("wsvd", split, ("train", "test"))
    require_folder("wsvd", root, split, f"disparity/{split}")
    truths = {
        path.rpartition(".")[0]: path for path in files_below(root / "disparity" / split, (".png", ".npy", ".pfm"))
    }
    pictures = {path.rpartition(".")[0]: path for path in files_below(root / split, (".png", ".jpg"))}
    decode = partial(decode_values, kind="disparity", scale=1.0)
    pairs = tuple(
        Pair(
            f"{split}/{pictures.get(stem, stem + '.png')}", (f"disparity/{split}/{truths.get(stem, stem + '.png')}",),
            stem, stem.rpartition("/")[0], decode,
        )
        for stem in sorted({*pictures, *truths})
    )  # fmt: skip
    return PairedFiles("wsvd", root, pairs).require(split)


def _bytes(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    stored = read_codes(path)
    if stored.dtype != np.uint8:
        raise DataError(f"{printable(path)}: {stored.dtype} where 8-bit values belong")
    return stored
