"""KITTI depth: driving, about 1242x375, sparse LiDAR depth in metres (accumulated over 11 frames: "improved").

Where from   https://www.cvlibs.net/datasets/kitti: raw data (synced and rectified) and data_depth_annotated.zip;
             split files of Eigen et al.: https://github.com/cleinc/bts (train_test_inputs/), nianticlabs/monodepth2
Licence      CC BY-NC-SA 3.0
Relied on    cleinc/bts pytorch/bts_dataloader.py and its lists; monodepth and monodepth2 for the other two list forms;
             videos as Video Depth Anything's benchmark/dataset_extract/dataset_extract_kitti.py takes them

ROOT/raw/DATE/DATE_drive_DDDD_sync/image_02/data/NNNNNNNNNN.png (or .jpg), ROOT/raw/DATE/calib_cam_to_cam.txt
ROOT/data_depth_annotated/[train|val]/DATE_drive_DDDD_sync/proj_depth/groundtruth/image_02/NNNNNNNNNN.png
Depth is 16-bit, metres = stored / 256, 0 = no measurement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from dptkit.data.augment_geometry import crop
from dptkit.data.held_out import divide
from dptkit.data.pairs import (
    Intrinsics,
    Pair,
    PairedFiles,
    Target,
    check_split,
    depth_target,
    require_file,
    require_folder,
    scaled,
    subfolders,
)
from dptkit.data.reading import read_codes, read_lines
from dptkit.data.sample import Sample
from dptkit.data.video_frames import numbered_frames, of_each_group
from dptkit.errors import DataError
from dptkit.image_io.names import printable

VIDEOS = "val-videos"
LISTS = {"train": "eigen_train_files_with_gt.txt", "test": "eigen_test_files_with_gt.txt"}
KB_SIZE = (352, 1216)
_SIDES = {"l": "image_02", "r": "image_03"}


def open_kitti(
    root: Path,
    split: str,
    *,
    list_file: str | None = None,
    images: str = "raw",
    depth: str = "data_depth_annotated",
    skip_without_depth: bool = False,
    first: int = 0,
    last: int | None = None,
    hold_out: int = 0,
) -> PairedFiles:
    """Pictures of Eigen's split with improved ground truth, split train or test; or whole videos, split val-videos.

    list_file: a text file in `root`, by default BTS's name for the split. Its lines may be BTS's (picture, depth or
    "None", focal length), monodepth's (left picture, right picture) or monodepth2's ("DATE/DRIVE 0000000069 l").
    "None" lines are left out: of the 697 test pictures 652 have improved depth. skip_without_depth: also leave out
    pictures whose depth file is not there, as lists without a column for it need; otherwise that is an error.
    val-videos takes no list: of each drive in `depth`/val it is every frame of the left camera that has depth.
    first, last: frames of each drive, as of a slice. A sample's group is its drive; intrinsics are given where the
    date's calib_cam_to_cam.txt is there.
    hold_out: one in so many training pictures, in whole drives, is split val instead.
    """
    check_split("kitti", split, (*LISTS, VIDEOS, *(("val",) if hold_out else ())))
    require_folder("kitti", root, images, depth)
    if split == VIDEOS:
        if list_file is not None:
            raise DataError(f"kitti: split {VIDEOS} is made of the folders, and takes no list_file")
        require_folder("kitti", root, f"{depth}/val")
        files = _video_files(root, f"{depth}/val")
    else:
        files = _listed(root, list_file or LISTS["train" if split == "val" else split], depth)
    camera = lru_cache(maxsize=None)(lambda date, side: _intrinsics(root / images / date, side))
    pairs = []
    for image, truth in files:
        if skip_without_depth and not (root / truth).is_file():
            continue
        drive, side = truth.split("/")[-5], truth.split("/")[-2]
        image = f"{images}/{_existing(root / images, image)}".removeprefix("./")
        name = f"{drive}/{side}/{Path(image).stem}"
        pairs.append(Pair(image, (truth,), name, drive, decode_kitti, camera(drive[:10], side)))
    dataset = PairedFiles("kitti", root, of_each_group(pairs, first, last))
    if hold_out and split in ("train", "val"):
        dataset = divide(dataset, split, hold_out, lambda pair: pair.group)
    return dataset.require(split)


def open_kitti_bts(
    root: Path,
    split: str,
    *,
    list_file: str | None = None,
    first: int = 0,
    last: int | None = None,
    hold_out: int = 0,
) -> PairedFiles:
    """BTS's folders: the dates directly in ROOT, and ROOT/data_depth_annotated. Otherwise as `open_kitti`."""
    opened = open_kitti(root, split, list_file=list_file, images=".", first=first, last=last, hold_out=hold_out)
    return opened.with_name("kitti-bts")


def decode_kitti(paths: Sequence[Path]) -> Target:
    """16-bit, metres * 256, 0 = none."""
    return depth_target(scaled(read_codes(paths[0]), 1 / 256))


def kitti_benchmark_window(size: tuple[int, int]) -> tuple[int, int, int, int]:
    """(top, left, height, width) of the bottom centre 352x1216 of a picture, as the KITTI benchmark and BTS crop.

    size: (height, width). Raises ValueError if it is smaller.
    """
    height, width = size
    if height < KB_SIZE[0] or width < KB_SIZE[1]:
        raise ValueError(f"{width}x{height} pixels are less than {KB_SIZE[1]}x{KB_SIZE[0]}")
    return height - KB_SIZE[0], (width - KB_SIZE[1]) // 2, *KB_SIZE


def kb_crop(sample: Sample) -> Sample:
    """The `kitti_benchmark_window` of a sample. Raises ValueError naming a sample that is smaller."""
    try:
        top, left, height, width = kitti_benchmark_window(sample.image.shape[:2])
    except ValueError as error:
        raise ValueError(f"{sample.name}: {error}") from None
    return crop(sample, top, left, (height, width))


@dataclass(frozen=True)
class KbCrop:
    """`kb_crop` as a step of augmentation."""

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        return kb_crop(sample)


def _listed(root: Path, name: str, depth: str) -> Iterator[tuple[str, str]]:
    """(picture below the raw folder, depth below `root`) of the lines that name depth."""
    hint = "get the list from https://github.com/cleinc/bts, train_test_inputs/, or name another with list_file"
    path = require_file("kitti", root, name, hint)
    places = tuple(place for place in (depth, f"{depth}/train", f"{depth}/val") if (root / place).is_dir())
    where = lru_cache(maxsize=None)(lambda drive: _place(root, places, drive))
    for line in read_lines(path):
        image, truth = _parse(path, line)
        if truth is not None:
            yield image, f"{where(truth.split('/')[0])}/{truth}"


def _video_files(root: Path, folder: str) -> Iterator[tuple[str, str]]:
    """As `_listed`, of every frame that has depth in `folder`."""
    for drive in subfolders(root / folder):
        below = f"{drive}/proj_depth/groundtruth/image_02"
        for stem in numbered_frames(root / folder / drive / "proj_depth/groundtruth", {"image_02": ".png"}):
            yield f"{drive[:10]}/{drive}/image_02/data/{stem}.png", f"{folder}/{below}/{stem}.png"


def _parse(path: Path, line: str) -> tuple[str, str | None]:
    """A list's line -> picture below the raw folder, depth below train/ or val/ (None where the list has none)."""
    words = line.split()
    if len(words) == 3 and words[2] in _SIDES and words[1].isdigit():
        image = f"{words[0]}/{_SIDES[words[2]]}/data/{int(words[1]):010d}.png"
        return image, _annotated(path, image)
    if len(words) >= 3:
        return words[0].lstrip("/"), None if words[1] == "None" else words[1].lstrip("/")
    if len(words) == 2:
        return words[0].lstrip("/"), _annotated(path, words[0].lstrip("/"))
    raise DataError(f"{printable(path)}: not a line of a KITTI list: {line!r}")


def _annotated(path: Path, image: str) -> str:
    parts = image.split("/")
    if len(parts) != 5:
        raise DataError(f"{printable(path)}: {image!r} is not DATE/DRIVE/image_0X/data/NUMBER.png")
    return f"{parts[1]}/proj_depth/groundtruth/{parts[2]}/{Path(image).stem}.png"


def _place(root: Path, places: Sequence[str], drive: str) -> str:
    return next((place for place in places if (root / place / drive).is_dir()), places[0])


def _existing(folder: Path, image: str) -> str:
    """The picture as .png or .jpg, whichever is there: monodepth's users convert the raw data to JPEG."""
    if (folder / image).is_file():
        return image
    stem, _, ending = image.rpartition(".")
    other = f"{stem}.{'jpg' if ending == 'png' else 'png'}"
    return other if (folder / other).is_file() else image


def _intrinsics(folder: Path, side: str) -> Intrinsics | None:
    path = folder / "calib_cam_to_cam.txt"
    if not path.is_file():
        return None
    key = f"P_rect_{side[-2:]}:"
    for line in read_lines(path):
        if line.startswith(key):
            try:
                matrix = [float(word) for word in line.split()[1:]]
                return matrix[0], matrix[5], matrix[2], matrix[6]
            except (ValueError, IndexError):
                break
    raise DataError(f"{printable(path)}: no matrix {key[:-1]}")
