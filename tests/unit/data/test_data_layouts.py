"""Every reader on a tiny tree in its data set's own layout: values, units, names, and what happens if parts lack."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_trees import NEEDED, TREES, Tree
from data_trees_zero_shot import ZERO_SHOT_TREES
from dptkit.data.pairs import MissingFilesError
from dptkit.data.reading import read_rgb
from dptkit.data.registry import DATASETS, open_dataset
from dptkit.data.sample import Dataset
from dptkit.errors import DataError

LAYOUTS = {**TREES, **ZERO_SHOT_TREES}


@pytest.fixture(params=LAYOUTS)
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    if request.param in NEEDED:
        pytest.importorskip(NEEDED[request.param])
    return LAYOUTS[request.param](tmp_path)


def opened(tree: Tree, root: Path) -> Dataset:
    return open_dataset(tree.name, root, tree.split, **tree.options)


def test_every_data_set_has_a_tree() -> None:
    elsewhere = {
        "shards",
        "nyuv2",
        "diml-indoor",
        "rendered",
        "rendered-clips",
        "folder",
        "pictures",
    }  # tested in files of their own
    dense = {name for name, entry in DATASETS.items() if entry.kind == "dense"}  # pairs of points have their own tests
    assert {name.replace("_", "-") for name in LAYOUTS} >= dense - elsewhere


def test_first_sample(tree: Tree, tmp_path: Path) -> None:
    dataset = opened(tree, tmp_path)
    assert len(dataset) == tree.count
    assert dataset.name == tree.name
    sample = dataset[0]
    np.testing.assert_array_equal(sample.image, read_rgb(tmp_path / tree.image))
    np.testing.assert_array_equal(sample.valid, tree.valid)
    np.testing.assert_allclose(sample.target[tree.valid], tree.values[tree.valid], rtol=1e-6)
    assert (sample.quantity, sample.unit) == (tree.quantity, tree.unit)
    assert (sample.name, sample.group) == (tree.sample, tree.group)
    assert sample.intrinsics == tree.intrinsics
    assert sample.source == ("src" if tree.name == "manifest" else tree.name)


def test_what_macos_leaves_beside_files_is_no_file_of_the_set(tree: Tree, tmp_path: Path) -> None:
    wanted = [files.name for files in opened(tree, tmp_path).sample_files()]  # type: ignore[attr-defined]
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\x00\x05\x16\x07")
    found = opened(tree, tmp_path)
    assert [files.name for files in found.sample_files()] == wanted  # type: ignore[attr-defined]
    np.testing.assert_array_equal(found[0].valid, tree.valid)


def test_names_are_unique_and_the_last_sample_can_be_read(tree: Tree, tmp_path: Path) -> None:
    dataset = opened(tree, tmp_path)
    samples = [dataset[index] for index in range(len(dataset))]
    assert len({(sample.source, sample.name) for sample in samples}) == len(samples)
    with pytest.raises(IndexError):
        dataset[len(dataset)]


def test_it_survives_pickling(tree: Tree, tmp_path: Path) -> None:
    dataset = pickle.loads(pickle.dumps(opened(tree, tmp_path)))
    np.testing.assert_array_equal(dataset[0].valid, tree.valid)


def test_unknown_split(tree: Tree, tmp_path: Path) -> None:
    expected = "has no folder nonsense/" if tree.name == "pairs" else "no split 'nonsense'"
    with pytest.raises(DataError, match=expected):
        open_dataset(tree.name, tmp_path, "nonsense", **tree.options)


def test_missing_folder(tree: Tree, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is not a folder|has no") as caught:
        opened(tree, tmp_path / "elsewhere")
    assert "\n" not in str(caught.value)


def test_empty_folder(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no |neither|holds both") as caught:
        opened(tree, tmp_path / "empty")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("half", ["image", "target"])
def test_a_missing_file_is_named_and_the_rest_can_still_be_read(tree: Tree, tmp_path: Path, half: str) -> None:
    if tree.name == "megadepth" and half == "target":
        pytest.skip("pictures without a depth file belong to the data set")
    (tmp_path / getattr(tree, half)).unlink()
    with pytest.raises(MissingFilesError, match="1 files of split") as caught:
        opened(tree, tmp_path)
    dataset = pickle.loads(pickle.dumps(caught.value)).dataset
    assert len(dataset) == tree.count
    with pytest.raises(DataError, match="no such file"):
        dataset[0]
    if tree.count > 1:
        dataset[1]


@pytest.mark.parametrize("half", ["image", "target"])
def test_a_broken_file_is_named_when_read(tree: Tree, tmp_path: Path, half: str) -> None:
    path = tmp_path / getattr(tree, half)
    path.write_bytes(path.read_bytes()[:9])
    dataset = opened(tree, tmp_path)
    with pytest.raises(DataError, match=path.name) as caught:
        dataset[0]
    assert "\n" not in str(caught.value)


def test_a_target_of_another_size_is_named(tree: Tree, tmp_path: Path) -> None:
    path = tmp_path / tree.image
    assert cv2.imwrite(str(path), read_rgb(path)[:-1])
    with pytest.raises(DataError, match=r"6x3 pixels, but .* has 6x4"):
        opened(tree, tmp_path)[0]


def test_a_missing_subfolder_is_named(tree: Tree, tmp_path: Path) -> None:
    folder = (tmp_path / tree.target).parent
    shutil.rmtree(folder)
    with pytest.raises(DataError, match=rf"{folder.name}|no pairs"):
        opened(tree, tmp_path)
