"""What is set aside of training splits, to validate on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from data_trees import BYTES, CODES, grey, picture, text
from dptkit.data.registry import open_dataset
from dptkit.errors import DataError


def nyu_scenes(root: Path, frames: dict[str, int]) -> None:
    for scene, count in frames.items():
        for number in range(count):
            picture(root / f"sync/{scene}/rgb_{number:05d}.jpg")
            grey(root / f"sync/{scene}/sync_depth_{number:05d}.png", CODES)


def kitti_drives(root: Path, frames: dict[str, int]) -> None:
    lines = []
    for drive, count in frames.items():
        for number in range(count):
            lines.append(f"2011_09_26/{drive}/image_02/data/{number:010d}.png")
            lines[-1] += f" {drive}/proj_depth/groundtruth/image_02/{number:010d}.png 721.5"
            image, truth, _ = lines[-1].split()
            picture(root / "raw" / image)
            grey(root / "data_depth_annotated" / truth, CODES)
    text(root / "eigen_train_files_with_gt.txt", "\n".join(lines))


@pytest.mark.parametrize(
    ("name", "make", "frames", "held"),
    [
        # kitchen_0028 is 3 pictures, in two folders; of 8 pictures, 4 are asked for.
        ("nyuv2-bts", nyu_scenes, {"kitchen_0028a": 1, "cafe_0001a": 4, "kitchen_0028b": 2, "office": 1},
         {"office", "kitchen_0028a", "kitchen_0028b"}),
        ("kitti", kitti_drives, {"2011_09_26_drive_0009_sync": 3, "2011_09_26_drive_0001_sync": 4},
         {"2011_09_26_drive_0009_sync"}),
    ],
)  # fmt: skip
def test_whole_scenes_are_held_out_of_training(
    tmp_path: Path, name: str, make: Callable[[Path, dict[str, int]], None], frames: dict[str, int], held: set[str]
) -> None:
    make(tmp_path, frames)
    train, val = (
        [(pair.group, pair.name) for pair in open_dataset(name, tmp_path, split, hold_out=2).pairs]  # type: ignore[attr-defined]
        for split in ("train", "val")
    )
    assert {group for group, _ in val} == held
    assert {group for group, _ in train} == set(frames) - held
    whole = open_dataset(name, tmp_path, "train")
    assert sorted(train + val) == sorted((pair.group, pair.name) for pair in whole.pairs)  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="split 'val'"):
        open_dataset(name, tmp_path, "val")
    with pytest.raises(DataError, match="2 or more"):
        open_dataset(name, tmp_path, "train", hold_out=1)


def ade_pictures(root: Path, numbers: range) -> list[str]:
    names = [f"ADE_train_{number:08d}" for number in numbers]
    for name in names:
        picture(root / f"images/training/{name}.jpg")
        grey(root / f"annotations/training/{name}.png", BYTES % 150)
    return names


def pascal_pictures(root: Path, numbers: range) -> list[str]:
    names = [f"2008_{number:06d}" for number in numbers]
    for name in names:
        picture(root / f"JPEGImages/{name}.jpg")
        grey(root / f"SegmentationClassContext/{name}.png", BYTES % 60)
    text(root / "ImageSets/SegmentationContext/train.txt", "\n".join(reversed(names)))
    return names


@pytest.mark.parametrize(("name", "make"), [("ade20k", ade_pictures), ("pascal-context", pascal_pictures)])
def test_every_third_picture_is_held_out_of_training(
    tmp_path: Path, name: str, make: Callable[[Path, range], list[str]]
) -> None:
    names = make(tmp_path, range(1, 8))
    train, held = (open_dataset(name, tmp_path, split, hold_out=3) for split in ("train", "held-out"))
    assert {held[place].name for place in range(len(held))} == {names[2], names[5]}
    assert {train[place].name for place in range(len(train))} == set(names) - {names[2], names[5]}
    assert held.class_names  # type: ignore[attr-defined]
    assert len(open_dataset(name, tmp_path, "train")) == 7
    with pytest.raises(DataError, match="split 'held-out'"):
        open_dataset(name, tmp_path, "held-out")
    with pytest.raises(DataError, match="no pairs for split 'held-out'"):
        open_dataset(name, tmp_path, "held-out", hold_out=8)
    with pytest.raises(DataError, match=f"{name}: hold_out must be 2 or more"):
        open_dataset(name, tmp_path, "train", hold_out=1)
