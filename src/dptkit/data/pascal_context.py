"""Pascal Context, 59 classes: VOC 2010 pictures labelled in full, 4,998 training and 5,105 validation.

Where from   pictures: http://host.robots.ox.ac.uk/pascal/VOC/voc2010 (VOCtrainval_03-May-2010.tar); labels:
             https://www.cs.stanford.edu/~roozbeh/pascal-context (459 classes, as .mat) or trainval_merged.json
Licence      pictures: Flickr terms; labels: none stated, research
Layout       that of mmsegmentation, made by its tools/dataset_converters/pascal_context.py from trainval_merged.json:
             VOC2010/JPEGImages/2008_000002.jpg, VOC2010/SegmentationClassContext/2008_000002.png,
             VOC2010/ImageSets/SegmentationContext/{train,val}.txt. ROOT is VOC2010. The .mat files are not read.
Labels       stored 0 is background and becomes 255 (ignored), as in the protocol with 59 classes that
             PyTorch-Encoding uses; stored 1 to 59 become 0 to 58, alphabetical. Checked against mmsegmentation's
             PascalContextDataset59. Its older 60-class files with aeroplane, bicycle, bird, ... first differ; files
             with other ids fail, files in the other order cannot be told apart.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from dptkit.data.ade20k import decode_shifted
from dptkit.data.held_out import HELD_OUT_SPLIT, divide_evenly
from dptkit.data.pairs import Pair, PairedFiles, check_split, require_file, require_folder
from dptkit.data.reading import read_lines

CLASS_NAMES = (
    *("aeroplane", "bag", "bed", "bedclothes", "bench", "bicycle", "bird", "boat", "book", "bottle"),
    *("building", "bus", "cabinet", "car", "cat", "ceiling", "chair", "cloth", "computer", "cow"),
    *("cup", "curtain", "dog", "door", "fence", "floor", "flower", "food", "grass", "ground"),
    *("horse", "keyboard", "light", "motorbike", "mountain", "mouse", "person", "plate", "platform", "pottedplant"),
    *("road", "rock", "sheep", "shelves", "sidewalk", "sign", "sky", "snow", "sofa", "table"),
    *("track", "train", "tree", "truck", "tvmonitor", "wall", "water", "window", "wood"),
)


def open_pascal_context(root: Path, split: str, *, hold_out: int = 0) -> PairedFiles:
    """Split train or val. ROOT is the folder VOC2010.

    hold_out: one in so many training pictures is split held-out instead, as val is what everybody reports.
    """
    check_split("pascal-context", split, ("train", "val", *((HELD_OUT_SPLIT,) if hold_out else ())))
    require_folder("pascal-context", root, "JPEGImages", "SegmentationClassContext")
    name = f"ImageSets/SegmentationContext/{'train' if split == HELD_OUT_SPLIT else split}.txt"
    listed = require_file("pascal-context", root, name, "mmsegmentation's converter writes it")
    decode = partial(decode_shifted, classes=len(CLASS_NAMES))
    pairs = tuple(
        Pair(f"JPEGImages/{stem}.jpg", (f"SegmentationClassContext/{stem}.png",), stem, "", decode, upright=False)
        for stem in read_lines(listed)
    )
    dataset = PairedFiles("pascal-context", root, pairs, CLASS_NAMES)
    if hold_out and split != "val":
        dataset = divide_evenly(dataset, hold_out, held=split == HELD_OUT_SPLIT)
    return dataset.require(split)
