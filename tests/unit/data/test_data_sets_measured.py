"""DIODE, iBims-1 and SUN RGB-D: their encodings by hand, their masks, and what happens where they are broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_trees import BYTES, CODES, TREES, H, W, array, grey, picture, text
from dptkit.data.diode import open_diode
from dptkit.data.ibims import open_ibims
from dptkit.data.registry import open_dataset, splits_of
from dptkit.data.sun_rgbd import millimetres, open_sun_rgbd
from dptkit.errors import DataError


def one_line(error: pytest.ExceptionInfo[DataError]) -> bool:
    return "\n" not in str(error.value)


# DIODE


def test_diode_parts(tmp_path: Path) -> None:
    TREES["diode"](tmp_path)
    assert [pair.group for pair in open_diode(tmp_path, "val").pairs] == ["indoors/scene_00019", "outdoor/scene_00022"]
    assert [pair.group for pair in open_diode(tmp_path, "val-outdoor").pairs] == ["outdoor/scene_00022"]
    assert splits_of("diode", tmp_path) == ("val",)
    with pytest.raises(DataError, match=r"diode: .* has no folder train/indoors/, train/outdoor/"):
        open_diode(tmp_path, "train")


def test_half_of_diode_is_never_taken_for_the_whole(tmp_path: Path) -> None:
    TREES["diode"](tmp_path)
    (tmp_path / "val/outdoor").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"diode: .* has no folder val/outdoor/"):
        open_diode(tmp_path, "val")
    (tmp_path / "val/outdoor").mkdir()
    with pytest.raises(DataError, match=r"no pairs in .*val/outdoor, a part of split 'val'"):
        open_diode(tmp_path, "val")
    assert len(open_diode(tmp_path, "val-indoors")) == 1


def test_diode_depth_that_is_not_a_number_is_invalid(tmp_path: Path) -> None:
    tree = TREES["diode"](tmp_path)
    metres = np.full((H, W, 1), 2, np.float32)
    metres[0, :4, 0] = np.nan, np.inf, 0, -1
    array(tmp_path / tree.target, metres)
    array(tmp_path / tree.target.replace("_depth", "_depth_mask"), np.ones((H, W), np.float32))
    sample = open_diode(tmp_path, "val")[0]
    assert sample.valid[0].tolist() == [False, False, False, False, True, True]
    assert sample.valid[1:].all()
    assert (sample.target[sample.valid] == 2).all()


def test_diode_mask_missing_or_of_another_size(tmp_path: Path) -> None:
    tree = TREES["diode"](tmp_path)
    mask = tmp_path / tree.target.replace("_depth", "_depth_mask")
    array(mask, np.ones((H, W - 1), np.float32))
    with pytest.raises(DataError, match=r"010_depth\.npy: 6x4 pixels, but .*_depth_mask\.npy has 5x4") as caught:
        open_diode(tmp_path, "val")[0]
    assert one_line(caught)
    mask.unlink()
    with pytest.raises(DataError, match=r"1 files of split 'val' are missing .*_depth_mask\.npy"):
        open_diode(tmp_path, "val")


# iBims-1


def test_ibims_scale(tmp_path: Path) -> None:
    tree = TREES["ibims_1"](tmp_path)
    grey(tmp_path / tree.target, np.array([[65535, 13107, 0, 1, 2, 3]] * H, np.uint16))
    for folder in ("mask_invalid", "mask_transp"):
        grey(tmp_path / f"ibims1_core_raw/{folder}/corridor_01.png", np.ones((H, W), np.uint8))
    sample = open_ibims(tmp_path)[0]
    # 65535 is 50 metres, a fifth of it 10; a step is 50 / 65535 m.
    np.testing.assert_allclose(sample.target[0], [50, 10, 0, 50 / 65535, 100 / 65535, 150 / 65535], rtol=1e-6)
    assert sample.valid[0].tolist() == [True, True, False, True, True, True]


def test_ibims_glass_is_left_out_unless_asked_for(tmp_path: Path) -> None:
    TREES["ibims_1"](tmp_path)
    without, with_glass = (open_ibims(tmp_path, transparent=glass)[0].valid for glass in (False, True))
    np.testing.assert_array_equal(with_glass, (CODES > 0) & (BYTES % 2 > 0))
    np.testing.assert_array_equal(without, with_glass & (BYTES > 100))


def test_ibims_masks_and_depth_that_do_not_fit(tmp_path: Path) -> None:
    tree = TREES["ibims_1"](tmp_path)
    mask = tmp_path / "ibims1_core_raw/mask_transp/corridor_01.png"
    grey(mask, np.ones((H - 1, W), np.uint8))
    with pytest.raises(
        DataError, match=r"depth/corridor_01\.png: 6x4 pixels, but .*mask_transp/corridor_01\.png has 6x3"
    ):
        open_ibims(tmp_path)[0]
    mask.unlink()
    with pytest.raises(DataError, match=r"1 files .* ibims1_core_raw/mask_transp/corridor_01\.png"):
        open_ibims(tmp_path)
    grey(mask, np.ones((H, W), np.uint8))
    grey(tmp_path / tree.target, BYTES)
    with pytest.raises(DataError, match="uint8 where 16-bit depth belongs"):
        open_ibims(tmp_path)[0]


def test_ibims_half_there(tmp_path: Path) -> None:
    TREES["ibims_1"](tmp_path)
    (tmp_path / "imagelist.txt").rename(tmp_path / "list")
    with pytest.raises(DataError, match=r"ibims-1: .* has no imagelist\.txt"):
        open_ibims(tmp_path)
    (tmp_path / "list").rename(tmp_path / "imagelist.txt")
    with pytest.raises(DataError, match=r"ibims-1: .* has no folder ibims1_core_mat/"):
        open_dataset("ibims-1", tmp_path, "test", layout="mat")


@pytest.mark.parametrize("content", ["5, 6, 3, 2", "5 0 3\n0 6 2\n0 0 1", "5,0,0\n0,6,0\n3,2,1"])
def test_ibims_cameras(tmp_path: Path, content: str) -> None:
    TREES["ibims_1"](tmp_path)
    calib = tmp_path / "ibims1_core_raw/calib/corridor_01.txt"
    text(calib, content)
    assert open_ibims(tmp_path)[0].intrinsics == (5, 6, 3, 2)
    calib.write_text("5 six")
    with pytest.raises(DataError, match=r"calib/corridor_01\.txt: neither four numbers"):
        open_ibims(tmp_path)
    calib.unlink()
    assert open_ibims(tmp_path)[0].intrinsics is None


@pytest.fixture
def ibims_mat(tmp_path: Path) -> Path:
    scipy_io = pytest.importorskip("scipy.io")
    (tmp_path / "ibims1_core_mat").mkdir()
    record: dict[str, Any] = {
        "rgb": np.arange(H * W * 3, dtype=np.uint8).reshape(H, W, 3),
        "depth": CODES / 7,
        "mask_invalid": BYTES % 2,
        "mask_transp": (BYTES > 100).astype(np.uint8),
        "calib": np.array([[5.0, 0, 0], [0, 6, 0], [3, 2, 1]]),  # as MATLAB keeps it, transposed
    }
    for name in ("corridor_01", "kitchen_02"):
        scipy_io.savemat(tmp_path / f"ibims1_core_mat/{name}.mat", {"data": record})
    text(tmp_path / "imagelist.txt", "corridor_01\nkitchen_02\n")
    return tmp_path


def test_ibims_in_matlab_files(ibims_mat: Path) -> None:
    dataset = open_ibims(ibims_mat, layout="mat")
    assert len(dataset) == 2
    sample = dataset[0]
    np.testing.assert_array_equal(sample.image, np.arange(H * W * 3).reshape(H, W, 3))
    expected = (CODES > 0) & (BYTES % 2 > 0) & (BYTES > 100)
    np.testing.assert_array_equal(sample.valid, expected)
    np.testing.assert_allclose(sample.target[expected], (CODES / 7)[expected], rtol=1e-6)
    assert (sample.name, sample.quantity, sample.unit) == ("corridor_01", "depth_m", "m")
    assert sample.intrinsics == (5, 6, 3, 2)


def test_broken_matlab_files_are_named(ibims_mat: Path) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    path = ibims_mat / "ibims1_core_mat/corridor_01.mat"
    content = path.read_bytes()
    for broken in (b"", content[:9], content[:200], b"x" * 300):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=r"corridor_01\.mat: ") as caught:
            open_ibims(ibims_mat, layout="mat")[0]
        assert one_line(caught)
    scipy_io.savemat(path, {"other": 1})
    with pytest.raises(DataError, match=r"corridor_01\.mat: not a picture of iBims-1"):
        open_ibims(ibims_mat, layout="mat")[0]
    path.unlink()
    with pytest.raises(DataError, match=r"1 files .* ibims1_core_mat/corridor_01\.mat"):
        open_ibims(ibims_mat, layout="mat")


# SUN RGB-D


def test_sun_rgbd_codes_by_hand() -> None:
    # 1000 mm is 0b1111101000, and times 8 it still fits: 8000. 9000 mm times 8 is 72000 = 65536 + 6464, and the bit
    # that falls out comes back at the bottom: 6465.
    stored = np.array([0, 8000, 6465, 65535, 1], np.uint16)
    assert millimetres(stored).tolist() == [0, 1000, 9000, 65535, 8192]


@given(st.integers(0, 65535))
def test_sun_rgbd_codes_are_bits_turned(code: int) -> None:
    bits = f"{code:016b}"
    assert millimetres(np.array([code], np.uint16))[0] == int(bits[-3:] + bits[:-3], 2)


@pytest.fixture
def sun(tmp_path: Path) -> Path:
    pytest.importorskip("scipy")
    TREES["sun_rgbd"](tmp_path)
    return tmp_path


def test_sun_rgbd_depth_beyond_8_metres_stays(sun: Path) -> None:
    grey(sun / open_sun_rgbd(sun, "test").pairs[0].targets[0], np.full((H, W), 6465, np.uint16))
    np.testing.assert_allclose(open_sun_rgbd(sun, "test")[0].target, 9, rtol=1e-6)


def test_sun_rgbd_splits_and_depths(sun: Path) -> None:
    assert [pair.name for pair in open_sun_rgbd(sun, "train").pairs] == ["kv1/b3dodata/img_0063"]
    (target,) = open_sun_rgbd(sun, "train", depth="filled").pairs[0].targets
    assert target == "SUNRGBD/kv1/b3dodata/img_0063/depth_bfx/img_0063_abs_smooth.png"


def test_sun_rgbd_list_in_place_of_the_toolbox(sun: Path) -> None:
    (sun / "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat").unlink()
    with pytest.raises(DataError, match=r"has no SUNRGBDtoolbox/traintestSUNRGBD/allsplit\.mat: the official split"):
        open_sun_rgbd(sun, "test")
    text(sun / "mine.txt", "SUNRGBD/kv1/b3dodata/img_0063/\n/somewhere/SUNRGBD/kv2/kinect2data/000065_resize\n")
    names = [pair.name for pair in open_sun_rgbd(sun, "test", list_file="mine.txt").pairs]
    assert names == ["kv1/b3dodata/img_0063", "kv2/kinect2data/000065_resize"]
    for line in ("kv1/b3dodata/img_0063", "SUNRGBD", "SUNRGBD/../../secret"):
        text(sun / "mine.txt", line)
        with pytest.raises(DataError, match=r"mine\.txt: .* is not a folder below SUNRGBD/"):
            open_sun_rgbd(sun, "test", list_file="mine.txt")


def test_sun_rgbd_scene_that_is_not_there(sun: Path) -> None:
    text(sun / "mine.txt", "SUNRGBD/xtion/xtion_align_data/nothing\n")
    with pytest.raises(DataError, match=r"2 files .* SUNRGBD/xtion/xtion_align_data/nothing/image/\*\.jpg"):
        open_sun_rgbd(sun, "test", list_file="mine.txt")


def test_sun_rgbd_files_that_do_not_belong(sun: Path) -> None:
    first = open_sun_rgbd(sun, "test").pairs[0]
    extra = sun / first.image.replace(".jpg", "_2.jpg")
    picture(extra)
    with pytest.raises(DataError, match="has 2 pictures where one belongs"):
        open_sun_rgbd(sun, "test")
    extra.unlink()
    grey(sun / first.targets[0], BYTES)
    with pytest.raises(DataError, match="uint8 where 16-bit depth belongs"):
        open_sun_rgbd(sun, "test")[0]
    (sun / "SUNRGBD/kv2/kinect2data/000065_resize/intrinsics.txt").write_text("5 0 3")
    with pytest.raises(DataError, match=r"intrinsics\.txt: not the nine numbers"):
        open_sun_rgbd(sun, "test")


def test_sun_rgbd_broken_split_file(sun: Path) -> None:
    path = sun / "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat"
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(DataError, match=r"allsplit\.mat: cannot be read") as caught:
        open_sun_rgbd(sun, "test")
    assert one_line(caught)
    pytest.importorskip("scipy.io").savemat(path, {"alltrain": 1})
    with pytest.raises(DataError, match=r"allsplit\.mat: no alltest in it"):
        open_sun_rgbd(sun, "test")
