"""Your own data: manifests, pairs by name, labels; and the files behind them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_trees import BYTES, CODES, grey, labels, manifest, pfm, picture, text
from dptkit.data.folder import label_splits, manifest_splits, open_labels, open_manifest, open_pairs
from dptkit.data.own_folder import open_folder
from dptkit.data.pairs import MissingFilesError
from dptkit.data.reading import read_codes, read_pfm, read_values
from dptkit.errors import DataError

SHARED = Path(__file__).parents[4] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the folder shared/data beside the project is absent")


def test_manifest_kinds_scales_and_groups(tmp_path: Path) -> None:
    manifest(tmp_path)
    dataset = open_manifest(tmp_path, "train")
    depth, disparity = dataset[0], dataset[1]
    assert (depth.quantity, depth.unit, depth.target[0, 1]) == ("depth_m", "m", np.float32(0.1))
    assert (disparity.quantity, disparity.unit, disparity.target[0, 1]) == ("inverse_depth", "relative", 1)
    assert (depth.group, disparity.group) == ("scene-one", "scene-two")
    assert open_manifest(tmp_path, "val")[0].target[0, 1] == np.float32(0.2)
    assert manifest_splits(tmp_path) == {"train": ("src",), "val": ("other",)}


def test_manifest_depth_up_to_scale_is_relative_inverse_depth(tmp_path: Path) -> None:
    picture(tmp_path / "s/a.jpg")
    grey(tmp_path / "s/a.png", CODES)
    text(tmp_path / "manifest.csv", "source,split,name,kind,scale,metric\ns,train,a,depth,0.01,False\n")
    sample = open_manifest(tmp_path, "train")[0]
    assert (sample.quantity, sample.unit, sample.group) == ("inverse_depth", "relative", "s")
    np.testing.assert_allclose(sample.target[0, 1:], 100 / CODES[0, 1:], rtol=1e-6)
    assert not sample.valid[0, 0]


def test_manifest_sources(tmp_path: Path) -> None:
    manifest(tmp_path)
    assert len(open_manifest(tmp_path, "train", sources=["src"])) == 2
    with pytest.raises(DataError, match="split 'train' has no source 'other'; it has src"):
        open_manifest(tmp_path, "train", sources=["other"])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("src,val,one,depth,1,scene-one", "group 'scene-one' is in the splits train and val"),
        ("src,train,one,height,1,x", "kind 'height' with scale '1' and metric 'true' is not known"),
        ("src,train,one,depth,much,x", "scale 'much'"),
        ("src,train", "line 3 is cut short"),
    ],
)
def test_manifest_rows_that_cannot_be_meant(tmp_path: Path, row: str, message: str) -> None:
    header = "source,split,name,kind,scale,split_group\nsrc,train,one,depth,1,scene-one\n"
    text(tmp_path / "manifest.csv", f"{header}{row}\n")
    with pytest.raises(DataError, match=message):
        open_manifest(tmp_path, "train")


def test_manifest_without_a_column(tmp_path: Path) -> None:
    text(tmp_path / "manifest.csv", "source,split,name\n")
    with pytest.raises(DataError, match="no column kind, scale"):
        open_manifest(tmp_path, "train")


def test_many_missing_files_are_counted_and_three_are_named(tmp_path: Path) -> None:
    rows = "".join(f"s,train,{k},depth,1\n" for k in range(9))
    text(tmp_path / "manifest.csv", f"source,split,name,kind,scale\n{rows}")
    with pytest.raises(MissingFilesError, match=r"18 files of split 'train' .*: s/0.jpg, s/0.png, s/1.jpg, \.\.\.$"):
        open_manifest(tmp_path, "train")


def test_pairs_in_one_folder_by_ending(tmp_path: Path) -> None:
    for name in ("x", "y"):
        picture(tmp_path / f"{name}.png")
        grey(tmp_path / f"{name}_depth.png", CODES)
    dataset = open_pairs(tmp_path, kind="depth", scale=0.001, images=".", targets=".", target_ending="_depth")
    assert [pair.name for pair in dataset.pairs] == ["x", "y"]
    assert dataset[1].target[0, 1] == np.float32(0.1)
    with pytest.raises(DataError, match="say target_ending"):
        open_pairs(tmp_path, kind="depth", images=".", targets=".")


@pytest.mark.parametrize(
    ("kind", "quantity", "unit", "expected"),
    [
        ("depth", "depth_m", "m", 4.0),
        ("relative_depth", "inverse_depth", "relative", 0.25),
        ("disparity", "inverse_depth", "relative", 4.0),
        ("inverse_depth", "inverse_depth", "1/m", 4.0),
    ],
)
def test_kinds_of_floats(tmp_path: Path, kind: str, quantity: str, unit: str, expected: float) -> None:
    values = np.full((4, 6), 2, np.float32)
    values[0, :4] = [0, -1, np.nan, np.inf]
    picture(tmp_path / "images/a.png")
    (tmp_path / "depth").mkdir()
    np.save(tmp_path / "depth/a.npy", values)
    sample = open_pairs(tmp_path, kind=kind, scale=2.0)[0]  # type: ignore[arg-type]
    assert (sample.quantity, sample.unit) == (quantity, unit)
    assert sample.valid.sum() == 20
    assert (sample.target[sample.valid] == expected).all()


def test_pairs_report_each_half_that_lacks_the_other(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.png")
    picture(tmp_path / "images/only.png")
    grey(tmp_path / "depth/a.png", CODES)
    grey(tmp_path / "depth/alone.png", CODES)
    with pytest.raises(MissingFilesError, match="2 files") as caught:
        open_pairs(tmp_path, kind="depth")
    assert sorted(caught.value.dataset.missing_files()) == ["depth/only.png", "images/alone.jpg"]


@pytest.mark.parametrize(("folder", "file"), [("images", "a.jpg"), ("depth", "a.npy")])
def test_two_files_of_one_name_are_not_chosen_between(tmp_path: Path, folder: str, file: str) -> None:
    picture(tmp_path / "images/a.png")
    grey(tmp_path / "depth/a.png", CODES)
    (tmp_path / folder / file).write_bytes(b"another")
    with pytest.raises(DataError, match=rf"{folder}: (a.png and )?{file}( and a.png)? are of one name: which is meant"):
        open_pairs(tmp_path, kind="depth")


def test_labels_know_their_classes(tmp_path: Path) -> None:
    labels(tmp_path)
    dataset = open_labels(tmp_path, "train")
    assert dataset.class_names[11] == "class 11"
    assert label_splits(tmp_path) == ("train",)
    told_by_files = open_folder(tmp_path, "train")
    assert told_by_files.class_names == dataset.class_names
    assert [pair.targets for pair in told_by_files.pairs] == [pair.targets for pair in dataset.pairs]
    text(tmp_path / "classes.txt", "one\ntwo\n")
    with pytest.raises(DataError, match=r"a.png: \d+ is no class id below 2"):
        open_labels(tmp_path, "train")[0]


@pytest.mark.parametrize("order", ["<", ">"])
def test_pfm_of_both_byte_orders(tmp_path: Path, order: str) -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    pfm(tmp_path / "a.pfm", values, order)
    np.testing.assert_array_equal(read_pfm(tmp_path / "a.pfm"), values)


def test_codes_of_palettes_and_of_grey_stored_as_colour(tmp_path: Path) -> None:
    palette = Image.fromarray(BYTES).convert("L")
    palette.putpalette(list(range(255, -1, -1)) * 3)
    palette.save(tmp_path / "p.png")
    Image.fromarray(np.repeat(BYTES[:, :, None], 3, axis=2)).save(tmp_path / "g.png")
    for name in "pg":
        np.testing.assert_array_equal(read_codes(tmp_path / f"{name}.png"), BYTES)
    picture(tmp_path / "c.png")
    with pytest.raises(DataError, match="not a picture of mode RGB"):
        read_codes(tmp_path / "c.png")


def test_tiff_of_floats_and_of_whole_numbers(tmp_path: Path) -> None:
    for values in (CODES.astype(np.float32) / 3, CODES):
        Image.fromarray(values).save(tmp_path / "a.tif")
        np.testing.assert_array_equal(read_values(tmp_path / "a.tif"), values)


def test_arrays_that_are_no_plane(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 4)))
    with pytest.raises(DataError, match=r"numbers \[H, W\] are needed"):
        read_values(tmp_path / "a.npy")


@needs_shared
@pytest.mark.parametrize(("split", "count", "groups"), [("train", 297, 11), ("val", 84, 16)])
def test_the_shared_depth_pictures(split: str, count: int, groups: int) -> None:
    dataset = open_manifest(SHARED / "depth", split)
    assert len(dataset) == count
    assert len({pair.group for pair in dataset.pairs}) == groups
    assert dataset[0].valid.any()
