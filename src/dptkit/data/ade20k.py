"""ADE20K, the SceneParsing benchmark: 20,210 training and 2,000 validation pictures, 150 classes.

Where from   http://sceneparsing.csail.mit.edu (ADEChallengeData2016.zip, 923 MB)
Licence      pictures: non-commercial research and education; annotations BSD-3-Clause
Layout       ROOT/images/{training,validation}/ADE_train_00000001.jpg, ROOT/annotations/{...}/ADE_train_00000001.png
Labels       stored 0 is "other" and becomes 255 (ignored); stored 1 to 150 become 0 to 149, in the order of
             objectInfo150.txt, which is that of `dptkit.label_sets`. As PyTorch-Encoding and the DPT authors do.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from dptkit.data.held_out import HELD_OUT_SPLIT, divide_evenly
from dptkit.data.pairs import Pair, PairedFiles, Target, check_split, files_below, label_target, require_folder
from dptkit.data.reading import read_codes
from dptkit.data.sample import IGNORED
from dptkit.errors import DataError
from dptkit.image_io.names import printable
from dptkit.label_sets import ADE20K_150

_FOLDERS = {"train": "training", "val": "validation"}


def open_ade20k(root: Path, split: str, *, hold_out: int = 0) -> PairedFiles:
    """Split train or val. ROOT is the folder ADEChallengeData2016.

    hold_out: one in so many training pictures is split held-out instead, as val is what everybody reports.
    """
    check_split("ade20k", split, (*_FOLDERS, *((HELD_OUT_SPLIT,) if hold_out else ())))
    folder = _FOLDERS["train" if split == HELD_OUT_SPLIT else split]
    images, labels = f"images/{folder}", f"annotations/{folder}"
    require_folder("ade20k", root, images, labels)
    decode = partial(decode_shifted, classes=len(ADE20K_150.names))
    stems = {path.rpartition(".")[0] for path in files_below(root / images, (".jpg",))}
    stems |= {path.rpartition(".")[0] for path in files_below(root / labels, (".png",))}
    pairs = tuple(
        Pair(f"{images}/{stem}.jpg", (f"{labels}/{stem}.png",), stem, "", decode, upright=False)
        for stem in sorted(stems)
    )
    dataset = PairedFiles("ade20k", root, pairs, ADE20K_150.names)
    if hold_out and split != "val":
        dataset = divide_evenly(dataset, hold_out, held=split == HELD_OUT_SPLIT)
    return dataset.require(split)


def decode_shifted(paths: Sequence[Path], *, classes: int) -> Target:
    """Stored 0 -> 255 (ignored), stored n -> n - 1."""
    stored = read_codes(paths[0])
    if stored.dtype != np.uint8 or (stored > classes).any():
        raise DataError(f"{printable(paths[0])}: stored {int(stored.max())} is above the {classes} classes")
    return label_target(np.where(stored == 0, IGNORED, stored - np.uint8(1)).astype(np.uint8), paths[0], classes)
