"""Which data set a folder is: of every layout, of your own, and what is said of a folder that is none or several."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_trees import CODES, NEEDED, TREES, grey, manifest, picture, text
from data_trees_zero_shot import ORDINAL_TREES, ZERO_SHOT_TREES
from dptkit.data.detect import detect_dataset
from dptkit.data.registry import DATASETS, splits_of
from dptkit.errors import DataError

# Nothing in these layouts is theirs alone.
UNMARKED = ("wsvd", "tartanair", "diml_full")
LAYOUTS = {**TREES, **ZERO_SHOT_TREES}


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name not in ("pairs", *UNMARKED)])
def test_folders_give_themselves_away(name: str, tmp_path: Path) -> None:
    if name in NEEDED:
        pytest.importorskip(NEEDED[name])
    tree = LAYOUTS[name](tmp_path)
    # Only marks of a whole data set count: the trees have one split, so those that need two are completed.
    for mark in DATASETS[tree.name].marks:
        if "*" not in mark and not (tmp_path / mark).exists():
            (tmp_path / mark).mkdir(parents=True)
    assert detect_dataset(tmp_path) == tree.name
    assert tree.split in splits_of(tree.name, tmp_path)


@pytest.mark.parametrize("name", ORDINAL_TREES)
def test_folders_of_pairs_of_points_too(name: str, tmp_path: Path) -> None:
    ORDINAL_TREES[name](tmp_path)
    assert detect_dataset(tmp_path) == name


def pair(folder: Path, image: str, depth: str) -> None:
    picture(folder / image)
    grey(folder / depth, CODES)


@pytest.mark.parametrize("part", ["", "train/", "val/"])
@pytest.mark.parametrize(("image", "depth"), [("images/a.jpg", "depth/a.png"), ("a.jpg", "a_depth.png")])
def test_your_own_pictures_and_depth(tmp_path: Path, part: str, image: str, depth: str) -> None:
    pair(tmp_path, part + image, part + depth)
    assert detect_dataset(tmp_path) == "folder"


def test_a_manifest_speaks_for_the_pairs_beside_it(tmp_path: Path) -> None:
    manifest(tmp_path)
    pair(tmp_path, "images/a.jpg", "depth/a.png")
    assert detect_dataset(tmp_path) == "manifest"


def test_the_more_specific_of_two_layouts(tmp_path: Path) -> None:
    (tmp_path / "data_depth_annotated").mkdir()
    assert detect_dataset(tmp_path) == "kitti-bts"
    (tmp_path / "raw").mkdir()
    assert detect_dataset(tmp_path) == "kitti"


def test_a_folder_that_may_be_several(tmp_path: Path) -> None:
    text(tmp_path / "classes.txt", "a\n")
    pair(tmp_path, "train/images/a.jpg", "train/depth/a.png")
    with pytest.raises(DataError) as caught:
        detect_dataset(tmp_path)
    assert str(caught.value) == f"{tmp_path}: it may be labels or folder; name the one it is"


def test_a_folder_that_is_a_part(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(DataError, match=r"cannot tell .* \(for kitti it lacks data_depth_annotated\); name one of"):
        detect_dataset(tmp_path)


def test_the_folder_above_or_below_was_meant(tmp_path: Path) -> None:
    TREES["diode"](tmp_path / "outer/diode")
    with pytest.raises(DataError, match=r"\(but .*outer/diode is diode\)"):
        detect_dataset(tmp_path / "outer")
    with pytest.raises(DataError, match=r"\(but .*outer/diode is diode\)"):
        detect_dataset(tmp_path / "outer/diode/val")


def test_folders_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "deep/empty").mkdir(parents=True)
    with pytest.raises(DataError, match="cannot tell which data set this is; name one of manifest, ") as caught:
        detect_dataset(tmp_path / "deep/empty")
    assert "\n" not in str(caught.value)
    for name in DATASETS:
        assert name in str(caught.value)
    with pytest.raises(DataError, match="is not a folder"):
        detect_dataset(tmp_path / "none")
