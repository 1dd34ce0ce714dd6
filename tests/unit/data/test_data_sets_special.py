"""What single data sets have beyond the common: NYUv2's .mat, KITTI's lists, both CamVids, ordinal MegaDepth."""

from __future__ import annotations

import builtins
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from data_trees import BYTES, CODES, TREES, H, W, grey, picture, text
from dptkit.data.blendedmvs import open_blendedmvs
from dptkit.data.camvid import CLASS_NAMES, open_camvid
from dptkit.data.kitti import kb_crop, open_kitti
from dptkit.data.megadepth import open_megadepth
from dptkit.data.nyu import open_nyu, open_nyu_bts
from dptkit.data.registry import open_dataset
from dptkit.data.sample import Sample
from dptkit.data.tartanair import open_tartanair
from dptkit.data.web_stereo import open_redweb
from dptkit.errors import DataError

SHARED = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture
def nyu(tmp_path: Path) -> Path:
    h5py = pytest.importorskip("h5py")
    scipy_io = pytest.importorskip("scipy.io")
    images = np.random.default_rng(0).integers(0, 256, (3, 3, W, H), np.uint8)
    depth = np.arange(3 * W * H, dtype=np.float32).reshape(3, W, H) / 8
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "w") as file:
        file["images"], file["rawDepths"], file["depths"] = images, depth, depth + 1
        references = file.create_dataset("scenes", (1, 3), h5py.ref_dtype)
        for number, scene in enumerate(("kitchen_1", "bath_2", "bath_2")):
            name = file.create_dataset(f"scene{number}", data=np.array([[ord(c)] for c in scene], np.uint16))
            references[0, number] = name.ref
    scipy_io.savemat(tmp_path / "splits.mat", {"trainNdxs": [[1], [3]], "testNdxs": [[2]]})
    return tmp_path


def test_nyu_labelled(nyu: Path) -> None:
    train, test, everything = (open_nyu(nyu, split) for split in ("train", "test", "all"))
    assert (len(train), len(test), len(everything)) == (2, 1, 3)
    assert (train[1].name, train[1].group, test[0].group) == ("00002", "bath_2", "bath_2")
    sample = everything[0]
    assert sample.image.shape == (H, W, 3)
    assert sample.target[2, 3] == np.float32((3 * H + 2) / 8)  # stored [W, H]
    assert (sample.quantity, sample.valid[0, 0], sample.valid[0, 1]) == ("depth_m", False, True)
    assert open_nyu(nyu, "all", depth="filled")[0].target[0, 0] == 1


def test_nyu_labelled_half_there(nyu: Path) -> None:
    with pytest.raises(DataError, match="no split 'val'; there is train, test, all"):
        open_nyu(nyu, "val")
    (nyu / "splits.mat").unlink()
    with pytest.raises(DataError, match=r"has no splits\.mat"):
        open_nyu(nyu, "train")
    (nyu / "nyu_depth_v2_labeled.mat").write_bytes(b"cut")
    with pytest.raises(DataError, match="not the labelled data set"):
        open_nyu(nyu, "all")


def test_h5py_is_named_where_it_lacks(nyu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DataError, match="pip install h5py"):
        open_nyu(nyu, "all")


def test_nyu_bts_list(tmp_path: Path) -> None:
    for number in (1, 2):
        picture(tmp_path / f"sync/kitchen/rgb_{number:05d}.jpg")
        grey(tmp_path / f"sync/kitchen/sync_depth_{number:05d}.png", CODES)
    text(tmp_path / "train.txt", "/kitchen/rgb_00002.jpg /kitchen/sync_depth_00002.png 518.8579\n")
    assert [pair.name for pair in open_nyu_bts(tmp_path, "train", list_file="train.txt").pairs] == ["kitchen/rgb_00002"]
    text(tmp_path / "train.txt", "kitchen\n")
    with pytest.raises(DataError, match="must name a picture and its depth"):
        open_nyu_bts(tmp_path, "train", list_file="train.txt")


DRIVE = "2011_09_26/2011_09_26_drive_0002_sync"


@pytest.mark.parametrize(
    "line",
    [
        f"{DRIVE} 69 l",
        f"{DRIVE} 0000000069 l",
        f"{DRIVE}/image_02/data/0000000069.jpg {DRIVE}/image_03/data/0000000069.jpg",
    ],
    ids=["monodepth2", "monodepth2 padded", "monodepth"],
)
def test_kitti_lists_without_a_column_for_depth(tmp_path: Path, line: str) -> None:
    tree = TREES["kitti"](tmp_path)
    absent = line.replace("69", "71")
    text(tmp_path / "list.txt", f"{line}\n{absent}\n")
    with pytest.raises(DataError, match="2 files of split 'test' are missing"):
        open_kitti(tmp_path, "test", list_file="list.txt")
    dataset = open_kitti(tmp_path, "test", list_file="list.txt", skip_without_depth=True)
    assert len(dataset) == 1
    assert dataset[0].name == tree.sample


def test_kitti_lists_that_are_none(tmp_path: Path) -> None:
    TREES["kitti"](tmp_path)
    with pytest.raises(DataError, match=r"has no eigen_train_files_with_gt\.txt: get the list from http"):
        open_kitti(tmp_path, "train")
    text(tmp_path / "list.txt", "one\n")
    with pytest.raises(DataError, match="not a line of a KITTI list: 'one'"):
        open_kitti(tmp_path, "test", list_file="list.txt")


def test_kb_crop_is_the_bottom_centre() -> None:
    target = np.arange(375 * 1242, dtype=np.float32).reshape(375, 1242)
    image = np.zeros((375, 1242, 3), np.uint8)
    sample = Sample(image, target, "depth_m", "m", target > 0, "k", "n", intrinsics=(7.0, 7.0, 600.0, 180.0))
    cropped = kb_crop(sample)
    np.testing.assert_array_equal(cropped.target, target[23:, 13:1229])
    assert cropped.intrinsics == (7.0, 7.0, 587.0, 157.0)
    with pytest.raises(ValueError, match="less than 1216x352"):
        kb_crop(cropped.__class__(image[:9], target[:9], "depth_m", "m", target[:9] > 0, "k", "n"))


@pytest.mark.skipif(not SHARED.is_dir(), reason="the folder shared/data beside the project is absent")
def test_camvid_in_our_layout() -> None:
    counts = [len(open_camvid(SHARED / "camvid", split)) for split in ("train", "val", "test")]
    assert counts == [367, 101, 233]
    dataset = open_dataset("camvid", SHARED / "camvid", "test")
    sample = dataset[0]
    assert (sample.source, sample.group, sample.quantity) == ("camvid", "test/0001TP", "labels")
    assert set(np.unique(sample.target)) <= {*range(11), 255}


def test_camvid_with_other_classes(tmp_path: Path) -> None:
    TREES["labels"](tmp_path)
    with pytest.raises(DataError, match="does not name CamVid's 11 classes"):
        open_camvid(tmp_path, "train")
    assert len(CLASS_NAMES) == 11


def test_ade20k_above_150(tmp_path: Path) -> None:
    TREES["ade20k"](tmp_path)
    grey(tmp_path / "annotations/validation/ADE_val_00000001.png", BYTES)
    with pytest.raises(DataError, match="stored 253 is above the 150 classes"):
        open_dataset("ade20k", tmp_path, "val")[0]


def test_redweb_holds_out_every_so_manieth_by_name(tmp_path: Path) -> None:
    TREES["redweb"](tmp_path)
    for name in ("c", "d", "e"):
        for folder, suffix in (("Imgs", "jpg"), ("RDs", "png")):
            shutil.copy(tmp_path / folder / f"a.{suffix}", tmp_path / folder / f"{name}.{suffix}")
    train, val = (open_dataset("redweb", tmp_path, split, hold_out=2) for split in ("train", "val"))
    names = [[dataset[index].name for index in range(len(dataset))] for dataset in (train, val)]
    assert names == [["a", "c", "e"], ["b", "d"]]
    assert len(open_redweb(tmp_path)) == 5
    with pytest.raises(DataError, match="no split 'val'"):
        open_redweb(tmp_path, "val")
    with pytest.raises(DataError, match="redweb: hold_out must be 2 or more"):
        open_redweb(tmp_path, hold_out=1)


def test_redweb_sky_is_valid_and_farthest(tmp_path: Path) -> None:
    TREES["redweb"](tmp_path)
    sample = open_redweb(tmp_path)[0]
    assert (sample.target[0, 0], sample.target[-1, -1], sample.valid[-1, -1]) == (255, 0, True)
    grey(tmp_path / "RDs/a.png", CODES)
    with pytest.raises(DataError, match="uint16 where 8-bit"):
        open_redweb(tmp_path)[0]


def test_megadepth_ordinal_maps_are_wholly_invalid(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    TREES["megadepth"](tmp_path)
    dataset = open_megadepth(tmp_path)
    assert [dataset[k].valid.any() for k in (0, 1)] == [True, False]
    text(tmp_path / "good.txt", "phoenix/S6/zl548/MegaDepth_v1/0001/dense0/imgs/a.jpg\n")
    assert len(open_megadepth(tmp_path, list_file="good.txt")) == 1
    inner = tmp_path / "outer/phoenix/S6/zl548/MegaDepth_v1"
    inner.mkdir(parents=True)
    (tmp_path / "0001").rename(inner / "0001")
    assert len(open_megadepth(tmp_path / "outer")) == 2


def test_blendedmvs_without_a_list(tmp_path: Path) -> None:
    TREES["blendedmvs"](tmp_path)
    (tmp_path / "validation_list.txt").unlink()
    with pytest.raises(DataError, match=r"has no validation_list\.txt"):
        open_blendedmvs(tmp_path, "val")
    assert len(open_blendedmvs(tmp_path, "all")) == 2
    assert open_blendedmvs(tmp_path, "all", with_intrinsics=False)[0].intrinsics is None


def test_tartanair_options(tmp_path: Path) -> None:
    TREES["tartanair"](tmp_path)
    with pytest.raises(DataError, match="has no folder ocean/"):
        open_tartanair(tmp_path, environments=["ocean"])
    with pytest.raises(DataError, match="has no ENVIRONMENT/Hard/PNNN"):
        open_tartanair(tmp_path, difficulty="Hard")
    near = open_tartanair(tmp_path, sky_metres=50.0)[0]
    assert (near.target[near.valid] == 0).sum() > 1


def test_tartanair_as_its_archives_unpack(tmp_path: Path) -> None:
    tree = TREES["tartanair"](tmp_path)
    plain = open_tartanair(tmp_path)
    (tmp_path / "abandonedfactory").rename(tmp_path / "inner")
    (tmp_path / "abandonedfactory").mkdir()
    (tmp_path / "inner").rename(tmp_path / "abandonedfactory/abandonedfactory")
    doubled = open_tartanair(tmp_path, environments=["abandonedfactory"])
    assert [(pair.name, pair.group) for pair in doubled.pairs] == [(pair.name, pair.group) for pair in plain.pairs]
    np.testing.assert_array_equal(doubled[0].valid, tree.valid)


def test_openexr_is_named_where_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("OpenEXR")
    TREES["irs"](tmp_path)
    dataset = open_dataset("irs", tmp_path, "test")
    original = builtins.__import__

    def without_openexr(name: str, *args: object, **more: object) -> object:
        if name == "OpenEXR":
            raise ImportError(name)
        return original(name, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_openexr)
    with pytest.raises(DataError, match=r"pip install 'dptkit\[exr\]'"):
        dataset[0]
