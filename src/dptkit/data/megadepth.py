"""MegaDepth v1: photographs of landmarks with depth from multi-view stereo, known up to scale. 196 scenes.

Where from   https://www.cs.cornell.edu/projects/megadepth (MegaDepth_v1.tar.gz, 199 GB)
Licence      the code is MIT; for the data see its page; each photograph (Flickr) keeps its own
Layout       ROOT/SCENE/denseN/imgs/NAME.jpg (.JPG, .png), ROOT/SCENE/denseN/depths/NAME.h5 with the array "depth".
             ROOT is the innermost MegaDepth_v1 of the archive (phoenix/S6/zl548/MegaDepth_v1), found from outside too.
Relied on    the loaders of Ahmedjjj/midas_hkrm, LoFTR and COTR
Target       relative inverse depth, 1 / stored. 0 is no depth, sky too: no masks for it are distributed.
             About 30,000 files hold ordinal labels instead of depth, some of them negative; those samples are wholly
             invalid, since no file says which they are. `list_file` leaves them out: COTR publishes such a list.
Uncertain    the original authors drop far outliers before training (MiDaS#16); that is not done here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dptkit.data.pairs import (
    Pair,
    PairedFiles,
    Target,
    check_split,
    inverted_target,
    names_in,
    require_file,
    require_folder,
    subfolders,
)
from dptkit.data.reading import IMAGE_SUFFIXES, read_h5, read_lines
from dptkit.errors import DataError
from dptkit.image_io.names import printable

_INNER = "phoenix/S6/zl548/MegaDepth_v1"


def open_megadepth(root: Path, split: str = "train", *, list_file: str | None = None) -> PairedFiles:
    """One split, train. list_file: a text file in `root` with pictures to take, as 0000/dense0/imgs/NAME.jpg.

    Without it every picture that has a depth file is taken. A sample's group is its scene.
    """
    check_split("megadepth", split, ("train",))
    require_folder("megadepth", root)
    scenes = root / _INNER if (root / _INNER).is_dir() else root
    if list_file is None:
        pairs = tuple(_pairs(scenes))
        if not pairs:
            raise DataError(f"megadepth: {printable(root)} has no SCENE/denseN/imgs/ with depths/ beside it")
    else:
        lines = read_lines(require_file("megadepth", root, list_file, "the list of pictures to take"))
        pairs = tuple(_pair(root / list_file, line.split(_INNER)[-1].lstrip("/")) for line in lines)
    return PairedFiles("megadepth", scenes, pairs).require(split)


def decode_megadepth(paths: Sequence[Path]) -> Target:
    """Depth up to scale -> 1 / depth; a map with negative values is ordinal, and wholly invalid."""
    depth = read_h5(paths[0], "depth")
    return inverted_target(np.zeros_like(depth) if (depth < 0).any() else depth)


def _pairs(root: Path) -> Iterator[Pair]:
    for scene in subfolders(root):
        for dense in subfolders(root / scene):
            folder = f"{scene}/{dense}"
            depths = {name.removesuffix(".h5") for name in names_in(root / folder / "depths") if name.endswith(".h5")}
            pictures = {
                name.rpartition(".")[0]: name
                for name in names_in(root / folder / "imgs")
                if name.endswith(IMAGE_SUFFIXES)
            }
            for stem in sorted(depths):
                name = pictures.get(stem, f"{stem}.jpg")
                yield _pair(root, f"{folder}/imgs/{name}")


def _pair(path: Path, image: str) -> Pair:
    parts = image.split("/")
    if len(parts) != 4 or parts[2] != "imgs":
        raise DataError(f"{printable(path)}: {image!r} is not SCENE/denseN/imgs/NAME.jpg")
    stem = parts[3].rpartition(".")[0]
    folder = f"{parts[0]}/{parts[1]}"
    return Pair(image, (f"{folder}/depths/{stem}.h5",), f"{folder}/{stem}", parts[0], decode_megadepth, upright=False)
