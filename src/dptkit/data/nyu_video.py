"""Videos of NYU Depth v2: frames of its raw sequences, 640x480, as Video Depth Anything extracts and scores them.

Where from   https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html: the raw set, one archive a scene, and the MATLAB
             toolbox, which synchronises colour and depth and projects depth into the colour picture
Licence      none stated; used for research
Layout       ROOT/SCENE/rgb/N.jpg and ROOT/SCENE/depth/N.png: 16-bit, metres * 6000, 0 = none; whole pictures, before
             a protocol crops them
Relied on    Video Depth Anything benchmark/dataset_extract/dataset_extract_nyuv2.py and eval_utils.py: the folders it
             reads, its eight scenes and the factor (DepthAnything/Video-Depth-Anything, as at commit 5501466d of
             zhizunhu/Video-Depth-Anything, one of its authors')
Uncertain    how its authors called the toolbox: they say "with matlab". Of other tools say what they store, with
             steps_per_metre.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from dptkit.data.nyu import INTRINSICS
from dptkit.data.pairs import Pair, PairedFiles, Target, check_split, depth_target, require_folder, scaled, subfolders
from dptkit.data.reading import read_codes
from dptkit.data.video_frames import numbered_frames
from dptkit.errors import DataError
from dptkit.image_io.names import printable

BENCHMARK = (
    "basement_0001a", "bookstore_0001a", "cafe_0001a", "classroom_0001a", "kitchen_0003", "office_0004",
    "playroom_0002", "study_0002",
)  # fmt: skip
"""The eight scenes that Video Depth Anything scores."""

_HALVES = ("rgb", "depth")


def open_nyu_video(
    root: Path,
    split: str,
    *,
    scenes: Sequence[str] | None = None,
    first: int = 0,
    last: int | None = None,
    steps_per_metre: float = 6000,
) -> PairedFiles:
    """Split benchmark: the eight scenes, which must all be there; all: every scene in `root`. scenes: these instead.

    first, last: frames of each scene, as of a slice. steps_per_metre: what depth is stored times.
    A sample's group is its scene. Raises DataError, MissingFilesError.
    """
    check_split("nyuv2-video", split, ("benchmark", "all"))
    require_folder("nyuv2-video", root)
    if not steps_per_metre > 0:
        raise DataError(f"nyuv2-video: steps_per_metre must be above 0, not {steps_per_metre:g}")
    chosen = scenes or (BENCHMARK if split == "benchmark" else _scenes(root))
    require_folder("nyuv2-video", root, *(f"{scene}/{half}" for scene in chosen for half in _HALVES))
    decode = partial(decode_steps, steps_per_metre=steps_per_metre)
    pairs = tuple(
        Pair(f"{scene}/rgb/{stem}.jpg", (f"{scene}/depth/{stem}.png",), f"{scene}/{stem}", scene, decode, INTRINSICS)
        for scene in chosen
        for stem in numbered_frames(root / scene, {"rgb": ".jpg", "depth": ".png"})[first:last]
    )
    return PairedFiles("nyuv2-video", root, pairs).require(split)


def decode_steps(paths: Sequence[Path], steps_per_metre: float = 6000) -> Target:
    """16-bit, metres * steps_per_metre, 0 = none."""
    return depth_target(scaled(read_codes(paths[0]), 1 / steps_per_metre))


def _scenes(root: Path) -> list[str]:
    scenes = [name for name in subfolders(root) if any((root / name / half).is_dir() for half in _HALVES)]
    if not scenes:
        raise DataError(f"nyuv2-video: {printable(root)} has no scenes (folders with rgb/ and depth/)")
    return scenes
