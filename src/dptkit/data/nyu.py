"""NYU Depth v2: indoor Kinect pictures, 640x480, depth in metres to 10.

Where from   https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html (labelled set, 2.8 GB, and splits.mat); BTS's
             copies: https://github.com/cleinc/bts (sync.zip, 24,231 training pairs; official_splits.zip)
Licence      none stated; used for research
Relied on    cleinc/bts utils/extract_official_train_test_set_from_mat.py and pytorch/bts_dataloader.py; the camera is
             that of the toolbox's camera_params.m (colour camera, in whose frame the labelled depth is)

nyu_depth_v2_labeled.mat is HDF5 (h5py): images [1449, 3, 640, 480], rawDepths and depths [1449, 640, 480] in metres.
splits.mat is an older MATLAB format (scipy): trainNdxs 795, testNdxs 654, from 1.
The 654 test pictures of both are the same, but not to the pixel: the labelled set's have a white frame where the colour
camera saw nothing; BTS made the outer 6 to 8 pixels black and stored JPEG and whole millimetres. Published figures of
fine-tuned models (DPT's among them) are on BTS's copies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase
from typing import Any, Literal

import numpy as np

from dptkit.data.held_out import divide
from dptkit.data.pairs import (
    Pair,
    PairedFiles,
    Target,
    check_split,
    depth_target,
    files_below,
    require_file,
    require_folder,
    scaled,
)
from dptkit.data.reading import import_h5py, read_codes, read_lines, read_mat
from dptkit.data.sample import Sample, SampleFiles
from dptkit.errors import DataError
from dptkit.image_io.names import printable

LABELLED, SPLITS = "nyu_depth_v2_labeled.mat", "splits.mat"
INTRINSICS = (518.8579, 519.4696, 325.5824, 253.7362)
"""(fx, fy, cx, cy) of the colour camera."""


@dataclass(frozen=True, eq=False)
class NyuLabelled:
    """The labelled set. `numbers`: pictures of the split, from 0 in the file. `depth`: which of its two depths."""

    path: Path
    numbers: tuple[int, ...]
    groups: tuple[str, ...]
    depth: Literal["raw", "filled"]
    name: str = "nyuv2"

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Sample:
        number = self.numbers[index]
        try:
            with import_h5py().File(self.path, "r") as file:
                image = np.ascontiguousarray(file["images"][number].transpose(2, 1, 0), np.uint8)
                metres = file["rawDepths" if self.depth == "raw" else "depths"][number].T
        except (OSError, KeyError, IndexError, RuntimeError) as error:
            raise DataError(f"{printable(self.path)}: picture {number} cannot be read ({error})") from error
        target = depth_target(metres)
        return Sample(
            image, target.values, target.quantity, target.unit, target.valid,
            source=self.name, name=f"{number:05d}", group=self.groups[index], intrinsics=INTRINSICS,
        )  # fmt: skip

    def sample_files(self) -> Iterator[SampleFiles]:
        """Source, name and file of each sample: the same file for all."""
        for number in self.numbers:
            yield SampleFiles(self.name, f"{number:05d}", (self.path,))


def open_nyu(root: Path, split: str, *, depth: Literal["raw", "filled"] = "raw") -> NyuLabelled:
    """The labelled set: split train (795), test (654: the benchmark) or all.

    depth: "raw" is what the Kinect measured, with holes; "filled" has them filled in by colorization. The official
    evaluation uses raw depth. A sample's group is its scene.
    """
    require_folder("nyuv2", root)
    path = require_file("nyuv2", root, LABELLED, "the labelled data set, from the address in the documentation")
    check_split("nyuv2", split, ("train", "test", "all"))
    try:
        with import_h5py().File(path, "r") as file:
            count = len(file["images"])
            scenes = [_text(file, reference) for reference in file["scenes"][0]]
    except (OSError, KeyError, RuntimeError) as error:
        raise DataError(f"{printable(path)}: not the labelled data set ({error})") from error
    numbers = tuple(range(count)) if split == "all" else _split_numbers(root, split)
    if numbers and max(numbers) >= count:
        raise DataError(f"{printable(path)}: has {count} pictures, but {SPLITS} names number {max(numbers) + 1}")
    return NyuLabelled(path, numbers, tuple(scenes[number] for number in numbers), depth)


def open_nyu_bts(root: Path, split: str, *, list_file: str | None = None, hold_out: int = 0) -> PairedFiles:
    """BTS's folders: sync/SCENE/{rgb,sync_depth}_NNNNN.{jpg,png} (train), official_splits/test/SCENE/... (test).

    list_file: a text file in `root` such as nyudepthv2_train_files_with_gt.txt, whose lines are picture, depth and
    focal length; without one every picture of the split's folder is taken. Depth is 16-bit millimetres, 0 = none.
    hold_out: one in so many training pictures, in whole scenes (kitchen_0028a and b are one), is split val instead.
    """
    folders = {"train": "sync", "test": "official_splits/test"} | ({"val": "sync"} if hold_out else {})
    check_split("nyuv2-bts", split, folders)
    folder = folders[split]
    require_folder("nyuv2-bts", root, folder)
    if list_file is None:
        lines = list(_lines(root / folder))
    else:
        listed = read_lines(require_file("nyuv2-bts", root, list_file, "the list of pictures"))
        lines = [_listed(root / list_file, line) for line in listed]
    pairs = tuple(
        Pair(
            f"{folder}/{image}", (f"{folder}/{depth}",), image.rpartition(".")[0], image.rpartition("/")[0],
            decode_millimetres, INTRINSICS,
        )
        for image, depth in lines
    )  # fmt: skip
    dataset = PairedFiles("nyuv2-bts", root, pairs)
    if hold_out and split != "test":
        dataset = divide(dataset, split, hold_out, _scene)
    return dataset.require(split)


def decode_millimetres(paths: Sequence[Path]) -> Target:
    """16-bit millimetres, 0 = none -> metres."""
    return depth_target(scaled(read_codes(paths[0]), 0.001))


def _scene(pair: Pair) -> str:
    """Without the letter that divides a scene's recording."""
    return pair.group.rstrip(ascii_lowercase) if pair.group[-2:-1].isdecimal() else pair.group


def _lines(folder: Path) -> Iterator[tuple[str, str]]:
    """(picture, depth) of every frame in a folder of scenes that has one or the other."""
    frames: dict[tuple[str, str], None] = {}
    for path in files_below(folder, (".jpg", ".png")):
        scene, slash, name = path.rpartition("/")
        for beginning in ("rgb_", "sync_depth_"):
            if name.startswith(beginning):
                frames[scene + slash, name.removeprefix(beginning).rpartition(".")[0]] = None
    for scene, number in sorted(frames):
        yield f"{scene}rgb_{number}.jpg", f"{scene}sync_depth_{number}.png"


def _listed(path: Path, line: str) -> tuple[str, str]:
    words = line.split()
    if len(words) < 2:
        raise DataError(f"{printable(path)}: a line must name a picture and its depth, not {line!r}")
    return words[0].lstrip("/"), words[1].lstrip("/")


def _text(file: Any, reference: Any) -> str:
    return "".join(chr(int(code)) for code in np.ravel(file[reference]))


def _split_numbers(root: Path, split: str) -> tuple[int, ...]:
    path = require_file("nyuv2", root, SPLITS, "it says which pictures are train and which test")
    key = f"{split}Ndxs"
    numbers = read_mat(path).get(key)
    if numbers is None:
        raise DataError(f"{printable(path)}: no {key} in it")
    return tuple(int(number) - 1 for number in np.ravel(numbers))
