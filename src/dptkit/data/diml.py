"""DIML/CVL RGB-D, the indoor part: Kinect v2, depth in metres from 16-bit millimetres.

Where from   https://dimlrgbd.github.io: a sample set (1,609 train, 503 test) and the full set, 220,000 pictures
Licence      non-commercial research and education, on request
Layouts      sample: ROOT/{train,test}/{HR,LR}/SCENE/color/NAME_c.png and .../depth_filled/NAME_depth_filled.png
             full:   any depth of folders, each with col/NAME_c.png and up_png/NAME_ud.png
Relied on    isl-org/ZoeDepth zoedepth/data/diml_indoor_test.py for the sample set
Uncertain    the full set's names (from memory of its manual): a depth file is taken if its name up to the last "_" is
             the picture's. Check with `dpt data check` before you train.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from dptkit.data.nyu import decode_millimetres
from dptkit.data.pairs import Pair, PairedFiles, check_split, names_in, require_folder, subfolders
from dptkit.errors import DataError
from dptkit.image_io.names import printable


def open_diml(
    root: Path,
    split: str,
    *,
    layout: Literal["sample", "full"] = "sample",
    quality: Literal["HR", "LR"] = "HR",
) -> PairedFiles:
    """Indoor pictures; split train or test, of the full set train only.

    quality: HR is 1344x756, LR 512x288 (sample set only). A sample's group is its scene's folder.
    """
    check_split("diml-indoor", split, ("train", "test") if layout == "sample" else ("train",))
    if layout == "sample":
        folder = f"{split}/{quality}"
        require_folder("diml-indoor", root, folder)
        pairs = tuple(_pairs(root, folder, ("color", "depth_filled"), ("_c.png", "_depth_filled.png")))
    else:
        require_folder("diml-indoor", root)
        pairs = tuple(_pairs(root, "", ("col", "up_png"), ("_c.png", "_ud.png")))
    if not pairs:
        wanted = "SCENE/color/*_c.png" if layout == "sample" else "col/*.png"
        raise DataError(f"diml-indoor: no {wanted} in {printable(root)}, split {split!r}; is it the other layout?")
    return PairedFiles("diml-indoor", root, pairs).require(split)


def _pairs(root: Path, folder: str, halves: tuple[str, str], endings: tuple[str, str]) -> Iterator[Pair]:
    inside = subfolders(root / folder)
    prefix = f"{folder}/" if folder else ""
    if halves[0] in inside or halves[1] in inside:
        images, depths = (_stems(root, f"{prefix}{half}") for half in halves)
        for stem in sorted({*images, *depths}):
            image = images.get(stem, f"{stem}{endings[0]}")
            depth = depths.get(stem, f"{stem}{endings[1]}")
            name = f"{prefix}{stem}"
            yield Pair(
                f"{prefix}{halves[0]}/{image}", (f"{prefix}{halves[1]}/{depth}",), name, folder, decode_millimetres
            )
        return
    for name in inside:
        yield from _pairs(root, f"{prefix}{name}", halves, endings)


def _stems(root: Path, folder: str) -> dict[str, str]:
    """name without "_c.png", "_depth_filled.png" or another last part -> name."""
    found = {}
    for name in names_in(root / folder):
        if name.endswith(".png"):
            stem = name.removesuffix(".png")
            shorter = stem.removesuffix("_depth_filled")
            found[shorter if shorter != stem else stem.rpartition("_")[0] or stem] = name
    return found
