"""TartanAir: flights through rendered worlds, 640x480, exact depth.

Where from   https://theairlab.org/tartanair-dataset, https://github.com/castacks/tartanair_tools
Licence      CC BY 4.0
Layout       ROOT/ENVIRONMENT/{Easy,Hard}/PNNN/image_left/NNNNNN_left.png and .../depth_left/NNNNNN_left_depth.npy;
             also ROOT/ENVIRONMENT/ENVIRONMENT/..., as the archives unpack where they were downloaded to
Relied on    tartanair_tools data_type.md (as kept in princeton-vl/DROID-SLAM) and README
Target       depth is stored in metres, and the sky as a very large depth (10,000 and more): so the target is inverse
             depth in 1 / metres, with the sky valid at 0. There is no split: train is everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from dptkit.data.pairs import (
    Pair,
    PairedFiles,
    Target,
    check_split,
    inverted_target,
    names_in,
    require_folder,
    subfolders,
)
from dptkit.data.reading import read_npy
from dptkit.errors import DataError
from dptkit.image_io.names import printable

INTRINSICS = (320.0, 320.0, 320.0, 240.0)
SKY_METRES = 5000.0


def open_tartanair(
    root: Path,
    split: str = "train",
    *,
    environments: Sequence[str] | None = None,
    difficulty: Literal["Easy", "Hard", "all"] = "all",
    sky_metres: float = SKY_METRES,
) -> PairedFiles:
    """Left views. environments: only these; keep some back to validate on. Depth from `sky_metres` on is sky.

    A sample's group is its environment.
    """
    check_split("tartanair", split, ("train",))
    require_folder("tartanair", root, *(environments or ()))
    levels = ("Easy", "Hard") if difficulty == "all" else (difficulty,)
    decode = partial(decode_tartanair, sky_metres=sky_metres)
    pairs = tuple(
        Pair(f"{folder}/image_left/{stem}.png", (f"{folder}/depth_left/{stem}_depth.npy",), f"{flight}/{stem}",
             flight.split("/")[0], decode, INTRINSICS)
        for folder, flight in _flights(root, environments or subfolders(root), levels)
        for stem in _stems(root / folder)
    )  # fmt: skip
    if not pairs:
        raise DataError(
            f"tartanair: {printable(root)} has no ENVIRONMENT/{'|'.join(levels)}/PNNN/image_left/*_left.png with "
            "depth_left/ beside it"
        )
    return PairedFiles("tartanair", root, pairs).require(split)


def decode_tartanair(paths: Sequence[Path], *, sky_metres: float) -> Target:
    """Metres -> 1 / metres, 0 for the sky."""
    metres = read_npy(paths[0])
    return inverted_target(metres, metres >= sky_metres, "1/m")


def _flights(root: Path, environments: Sequence[str], levels: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(folder of a flight, the same without a doubled environment)."""
    for environment in environments:
        doubled = f"{environment}/{environment}"
        place = doubled if (root / doubled).is_dir() else environment
        for level in levels:
            for flight in subfolders(root / place / level):
                yield f"{place}/{level}/{flight}", f"{environment}/{level}/{flight}"


def _stems(folder: Path) -> list[str]:
    images = {name.removesuffix(".png") for name in names_in(folder / "image_left") if name.endswith("_left.png")}
    ending = "_depth.npy"
    depths = {name.removesuffix(ending) for name in names_in(folder / "depth_left") if name.endswith(ending)}
    return sorted(images | depths)
