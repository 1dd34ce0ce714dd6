"""A folder of your own, told by its files, and what is held out of one that nobody divided."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data_trees import CODES, grey, manifest, picture, text
from dptkit.data.own_folder import open_folder
from dptkit.data.pairs import PairedFiles
from dptkit.data.registry import open_dataset, splits_of
from dptkit.errors import DataError


def names(dataset: PairedFiles) -> list[str]:
    return [pair.name for pair in dataset.pairs]


def pair(root: Path, name: str, images: str = "images", depth: str = "depth", ending: str = "") -> None:
    picture(root / images / f"{name}.jpg")
    grey(root / depth / f"{name}{ending}.png", CODES)


def test_a_manifest_with_splits_keeps_them(tmp_path: Path) -> None:
    manifest(tmp_path)
    assert names(open_folder(tmp_path, "train")) == ["src/one", "src/two"]
    assert names(open_folder(tmp_path, "val")) == ["other/three"]
    with pytest.raises(DataError, match="no split 'test'; there is train, val"):
        open_folder(tmp_path, "test")
    with pytest.raises(DataError, match="says each picture's scale itself"):
        open_folder(tmp_path, "train", scale=0.5)


def test_of_a_manifest_without_splits_whole_groups_are_held_out(tmp_path: Path) -> None:
    rows = ["source,split,name,kind,scale,split_group"]
    for index in range(20):
        group = "small" if index < 3 else "other" if index < 9 else "large"
        picture(tmp_path / f"s/{index:02d}.jpg")
        grey(tmp_path / f"s/{index:02d}.png", CODES)
        rows.append(f"s,train,{index:02d},depth,0.001,{group}")
    text(tmp_path / "manifest.csv", "\n".join(rows) + "\n")
    # A tenth of 20 is 2: the group of 3 comes nearest.
    assert names(open_folder(tmp_path, "val")) == ["s/00", "s/01", "s/02"]
    assert names(open_folder(tmp_path, "train")) == [f"s/{index:02d}" for index in range(3, 20)]


def test_pairs_in_two_folders(tmp_path: Path) -> None:
    for index in range(25):
        pair(tmp_path, f"{index:02d}")
    train, val = open_folder(tmp_path, "train"), open_folder(tmp_path, "val")
    assert names(val) == ["23", "24"]
    assert names(train) == [f"{index:02d}" for index in range(23)]
    assert train[0].quantity == "depth_m"
    np.testing.assert_allclose(train[0].target, CODES / 1000, rtol=1e-6)
    assert open_folder(tmp_path, "train", scale=0.5)[0].target[0, 1] == 50
    assert splits_of("folder", tmp_path) == ("train", "val")


def test_pairs_with_splits_of_their_own(tmp_path: Path) -> None:
    for split, name in (("train", "a"), ("train", "b"), ("val", "c")):
        pair(tmp_path / split, name)
    assert names(open_folder(tmp_path, "train")) == ["a", "b"]
    assert names(open_folder(tmp_path, "val")) == ["c"]


def test_a_folder_train_alone_is_divided(tmp_path: Path) -> None:
    for name in "abc":
        pair(tmp_path / "train", name)
    assert names(open_folder(tmp_path, "train")) == ["a", "b"]
    assert names(open_folder(tmp_path, "val")) == ["c"]


def test_pairs_in_one_folder(tmp_path: Path) -> None:
    for name in ("a", "b"):
        pair(tmp_path, name, ".", ".", "_depth")
    dataset = open_dataset("folder", tmp_path, "val")
    assert (len(dataset), dataset[0].name) == (1, "b")


def test_depth_in_floating_point_is_metres(tmp_path: Path) -> None:
    for name in "ab":
        picture(tmp_path / f"images/{name}.jpg")
        (tmp_path / "depth").mkdir(exist_ok=True)
        np.save(tmp_path / f"depth/{name}.npy", CODES.astype(np.float32))
    assert open_folder(tmp_path, "train")[0].target[0, 1] == 100
    picture(tmp_path / "images/c.jpg")
    grey(tmp_path / "depth/c.png", CODES)
    with pytest.raises(DataError, match="say the scale"):
        open_folder(tmp_path, "train")


@pytest.mark.parametrize("files", [(), ("photo.jpg",), ("images/a.jpg",)])
def test_a_folder_that_tells_nothing_is_one_line(tmp_path: Path, files: tuple[str, ...]) -> None:
    for name in files:
        picture(tmp_path / name)
    with pytest.raises(
        DataError, match=r"no manifest\.csv, no classes\.txt, no images/ and depth/, and no x\.jpg"
    ) as caught:
        open_folder(tmp_path, "train")
    assert "\n" not in str(caught.value)


def test_a_single_pair_cannot_be_divided(tmp_path: Path) -> None:
    pair(tmp_path, "a")
    with pytest.raises(DataError, match="a single pair"):
        open_folder(tmp_path, "train")


def test_all_is_everything_whoever_divided_it(tmp_path: Path) -> None:
    manifest(tmp_path / "manifest")
    assert names(open_folder(tmp_path / "manifest", "all")) == ["src/one", "src/two", "other/three"]
    assert names(open_folder(tmp_path / "manifest", "all", sources=["other"])) == ["other/three"]
    with pytest.raises(DataError, match="no source 'another'"):
        open_folder(tmp_path / "manifest", "all", sources=["other", "another"])
    pair(tmp_path / "single", "a")
    assert names(open_folder(tmp_path / "single", "all")) == ["a"]
    for split in ("train", "val"):
        pair(tmp_path / "parts" / split, "same")
    whole = open_folder(tmp_path / "parts", "all")
    assert names(whole) == ["train/same", "val/same"]
    assert [sample_pair.image for sample_pair in whole.pairs] == ["train/images/same.jpg", "val/images/same.jpg"]


def test_a_broken_part_does_not_stop_the_other(tmp_path: Path) -> None:
    pair(tmp_path / "train", "a")
    pair(tmp_path / "val", "b")
    (tmp_path / "val/depth/b.png").unlink()
    assert names(open_folder(tmp_path, "train")) == ["a"]
    with pytest.raises(DataError, match=r"val/depth/b\.png"):
        open_folder(tmp_path, "all")


def test_class_ids_that_nobody_divided(tmp_path: Path) -> None:
    for index in range(20):
        picture(tmp_path / f"images/{index:02d}.jpg")
        grey(tmp_path / f"labels/{index:02d}.png", (CODES > 0).astype(np.uint8))
    text(tmp_path / "classes.txt", "road\nrest\n")
    train, val = open_folder(tmp_path, "train"), open_folder(tmp_path, "val")
    assert names(val) == ["18", "19"]
    assert names(open_folder(tmp_path, "all")) == names(train) + names(val)
    assert train.class_names == ("road", "rest")
    assert train[0].quantity == "labels"
    assert splits_of("labels", tmp_path) == ("",)
    (tmp_path / "labels" / "05.png").unlink()
    with pytest.raises(DataError, match=r"labels/05\.png"):
        open_folder(tmp_path, "train")
    assert len(open_folder(tmp_path, "val")) == 2
    (tmp_path / "classes.txt").unlink()
    with pytest.raises(DataError, match=r"has labels/, but no classes\.txt"):
        open_folder(tmp_path, "train")
