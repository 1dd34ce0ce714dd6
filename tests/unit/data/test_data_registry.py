"""Opening by name: what is known, what is nearest, and options that are checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_trees import TREES
from data_trees_zero_shot import ORDINAL_TREES, ZERO_SHOT_TREES
from dptkit.data.registry import (
    DATASETS,
    detect_dataset,
    find_dataset,
    open_dataset,
    open_ordinal_dataset,
    splits_of,
)
from dptkit.errors import DataError


def test_every_public_set_says_its_licence_and_address() -> None:
    for entry in DATASETS.values():
        assert entry.description
        assert entry.licence
        if entry.licence not in ("yours", "the data set's"):
            assert entry.url.startswith("http")
            assert entry.splits


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(DataError, match="no data set 'TartenAir': did you mean tartanair"):
        find_dataset("TartenAir")


def test_3d_movies_were_never_released() -> None:
    with pytest.raises(DataError, match="never released"):
        open_dataset("3D Movies", "nowhere", "train")


def test_options_are_checked_for_name_and_type(tmp_path: Path) -> None:
    TREES["pairs"](tmp_path)
    with pytest.raises(DataError, match="pairs: no option 'scal': did you mean scale"):
        open_dataset("pairs", tmp_path, "train", kind="depth", scal=1.0)
    with pytest.raises(DataError, match="ade20k: no option 'x'; it has none"):
        open_dataset("ade20k", tmp_path, "train", x=1)
    with pytest.raises(DataError, match=r"pairs: kind: Input should be 'depth'"):
        open_dataset("pairs", tmp_path, "train", kind="height")
    with pytest.raises(DataError, match="pairs: kind: Missing"):
        open_dataset("pairs", tmp_path, "train")
    assert len(open_dataset("pairs", str(tmp_path), "train", kind="depth", scale="0.5")) == 2


LAYOUTS = {**TREES, **ZERO_SHOT_TREES}


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name not in ("pairs", "wsvd", "tartanair", "diml_full")])
def test_folders_give_themselves_away(name: str, tmp_path: Path) -> None:
    if name == "megadepth":
        pytest.importorskip("h5py")
    tree = LAYOUTS[name](tmp_path)
    # Only marks of a whole data set count: the trees have one split, so those that need two are completed.
    for mark in DATASETS[tree.name].marks:
        if not (tmp_path / mark).exists():
            (tmp_path / mark).mkdir(parents=True)
    assert detect_dataset(tmp_path) == tree.name
    assert tree.split in splits_of(tree.name, tmp_path)


def test_folders_that_do_not(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot tell which data set this is"):
        detect_dataset(tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        detect_dataset(tmp_path / "none")


@pytest.mark.parametrize("name", ORDINAL_TREES)
def test_pairs_of_points_are_not_for_training(name: str, tmp_path: Path) -> None:
    ORDINAL_TREES[name](tmp_path)
    assert detect_dataset(tmp_path) == name
    with pytest.raises(DataError, match=f"{name} says only which of two points is nearer: .* not for training"):
        open_dataset(name, tmp_path, "test")
    assert len(open_ordinal_dataset(name, tmp_path, "test")) == 2
    with pytest.raises(DataError, match=f"{name}: no option 'x'"):
        open_ordinal_dataset(name, tmp_path, "test", x=1)
    with pytest.raises(DataError, match="no split 'nonsense'"):
        open_ordinal_dataset(name, tmp_path, "nonsense")


def test_depth_is_not_pairs_of_points(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="those that do are diw, da-2k"):
        open_ordinal_dataset("nyuv2", tmp_path, "test")
