"""BlendedMVS (and BlendedMVG): renderings of reconstructed scenes blended with photographs, depth up to scale.

Where from   https://github.com/YoYo000/BlendedMVS (low-res set, 768x576, 27.5 GB; 113 scenes, 17,000 pictures)
Licence      CC BY 4.0
Layout       ROOT/PID/blended_images/NNNNNNNN.jpg (without _masked), ROOT/PID/rendered_depth_maps/NNNNNNNN.pfm,
             ROOT/PID/cams/NNNNNNNN_cam.txt in MVSNet's format; lists of PIDs in ROOT, from the repository:
             BlendedMVS_training.txt or training_list.txt, validation_list.txt
Relied on    the repository's README
Target       relative inverse depth, 1 / stored; 0 is background and invalid: nothing says which of it is sky.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dptkit.data.pairs import (
    Intrinsics,
    Pair,
    PairedFiles,
    Target,
    check_split,
    inverted_target,
    names_in,
    require_folder,
    subfolders,
)
from dptkit.data.reading import read_lines, read_pfm
from dptkit.errors import DataError
from dptkit.image_io.names import printable

_LISTS = {"train": ("BlendedMVS_training.txt", "training_list.txt"), "val": ("validation_list.txt",), "all": ()}
_FOLDERS = ("blended_images", "rendered_depth_maps")


def open_blendedmvs(root: Path, split: str, *, with_intrinsics: bool = True) -> PairedFiles:
    """Split train or val, by the authors' lists of scenes, or all scenes that are there.

    with_intrinsics: read a small text file for each picture when opening. A sample's group is its scene.
    """
    check_split("blendedmvs", split, _LISTS)
    require_folder("blendedmvs", root)
    pairs = []
    for scene in _scenes(root, split):
        require_folder("blendedmvs", root, *(f"{scene}/{folder}" for folder in _FOLDERS))
        images = {
            name.removesuffix(".jpg")
            for name in names_in(root / scene / _FOLDERS[0])
            if name.endswith(".jpg") and not name.endswith("_masked.jpg")
        }
        depths = {name.removesuffix(".pfm") for name in names_in(root / scene / _FOLDERS[1]) if name.endswith(".pfm")}
        for stem in sorted(images | depths):
            camera = _intrinsics(root / scene / "cams" / f"{stem}_cam.txt") if with_intrinsics else None
            paths = [f"{scene}/{_FOLDERS[0]}/{stem}.jpg", f"{scene}/{_FOLDERS[1]}/{stem}.pfm"]
            pairs.append(Pair(paths[0], (paths[1],), f"{scene}/{stem}", scene, decode_blendedmvs, camera))
    return PairedFiles("blendedmvs", root, tuple(pairs)).require(split)


def decode_blendedmvs(paths: Sequence[Path]) -> Target:
    """Depth up to scale -> 1 / depth."""
    return inverted_target(read_pfm(paths[0]))


def _scenes(root: Path, split: str) -> list[str]:
    if split == "all":
        return [name for name in subfolders(root) if set(_FOLDERS) & set(subfolders(root / name))]
    names = _LISTS[split]
    for name in names:
        if (root / name).is_file():
            return read_lines(root / name)
    raise DataError(
        f"blendedmvs: {printable(root)} has no {' or '.join(names)}, the list of the {split} scenes from the "
        "repository; split 'all' needs none"
    )


def _intrinsics(path: Path) -> Intrinsics | None:
    """From MVSNet's camera file: "intrinsic" and a 3x3 matrix. None without a file."""
    if not path.is_file():
        return None
    lines = read_lines(path)
    try:
        start = lines.index("intrinsic") + 1
        (fx, _, cx), (_, fy, cy) = ([float(word) for word in line.split()] for line in lines[start : start + 2])
    except ValueError:
        raise DataError(f"{printable(path)}: no matrix after the word intrinsic") from None
    return fx, fy, cx, cy
