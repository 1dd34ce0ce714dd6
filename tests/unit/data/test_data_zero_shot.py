"""What ETH3D, Sintel and TUM RGB-D have beyond the common: raw depth, masks, time stamps, whole sets of scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from data_trees import H, W, grey, picture, text
from data_trees_zero_shot import FLOATS, dpt, eth3d, scannet, sintel, tum, vkitti2
from dptkit.cli.data_check import check
from dptkit.data.eth3d import SCENES, decode_eth3d, open_eth3d
from dptkit.data.pairs import MissingFilesError
from dptkit.data.reading import read_rgb
from dptkit.data.scannet import COLOUR_SIZE, open_scannet
from dptkit.data.shard_writing import write_shards
from dptkit.data.shards import open_shards
from dptkit.data.sintel import FRAMES, open_sintel
from dptkit.data.tum import DYNAMIC, associate, open_tum
from dptkit.data.vkitti2 import open_vkitti2
from dptkit.errors import DataError


def test_eth3d_needs_all_scenes_unless_some_are_named(tmp_path: Path) -> None:
    eth3d(tmp_path)
    with pytest.raises(DataError, match="has no folder courtyard/, delivery_area/") as caught:
        open_eth3d(tmp_path, "train")
    assert "pipes/" not in str(caught.value)
    with pytest.raises(DataError, match="no scene 'pipe'; there are courtyard"):
        open_eth3d(tmp_path, "train", scenes=["pipe"])
    with pytest.raises(DataError, match="no split 'test'; there is train"):
        open_eth3d(tmp_path, "test", scenes=["pipes"])
    assert len(SCENES) == 13


def test_one_scene_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    eth3d(tmp_path)
    assert check([tmp_path], "eth3d", reader_options=["scenes=pipes"]) == 0
    out = capsys.readouterr().out
    assert "2 samples, 0 broken" in out
    assert "valid    95.8% of the pixels" in out  # 23 of 24
    assert check([tmp_path], "eth3d", reader_options=["scenes=pipes,terrace"]) == 1
    assert "has no folder terrace/" in capsys.readouterr().err


def test_eth3d_points_where_a_picture_should_be_are_not_repeated_in_full(tmp_path: Path) -> None:
    """A real line of points is megabytes long, and the message is one that people read."""
    eth3d(tmp_path)
    path = tmp_path / "pipes/dslr_calibration_jpg/images.txt"
    text(path, "1.5 2.5 -1 " * 10_000 + "\n" + path.read_text() + "\n\n")
    with pytest.raises(DataError, match="not a line of a picture") as caught:
        open_eth3d(tmp_path, "train", scenes=["pipes"])
    assert len(str(caught.value)) < 400
    text(path, path.read_text().partition("\n")[2])
    assert len(open_eth3d(tmp_path, "train", scenes=["pipes"])) == 2  # empty lines at the end are none


def test_eth3d_depth_without_measurement_and_row_order(tmp_path: Path) -> None:
    eth3d(tmp_path)
    sample = open_eth3d(tmp_path, "train", scenes=["pipes"])[1]
    assert sample.valid.sum() == H * W - 1
    assert sample.target[1, 0] == np.float32(100 * W / 8)
    assert sample.name == "pipes/DSC_0635"


def test_eth3d_undistorted_pictures_are_refused(tmp_path: Path) -> None:
    eth3d(tmp_path)
    images = tmp_path / "pipes/images"
    (images / "dslr_images").rename(images / "dslr_images_undistorted")
    with pytest.raises(DataError, match=r"undistorted pictures, which the depth does not fit; get pipes_dslr_jpg\.7z"):
        open_eth3d(tmp_path, "train", scenes=["pipes"])


def test_eth3d_depth_of_another_size(tmp_path: Path) -> None:
    eth3d(tmp_path)
    path = tmp_path / "pipes/ground_truth_depth/dslr_images/DSC_0634.JPG"
    path.write_bytes(FLOATS[:-1].tobytes())
    with pytest.raises(DataError, match=r"DSC_0634\.JPG: 72 bytes, but depth of 6x4 pixels has 96"):
        open_eth3d(tmp_path, "train", scenes=["pipes"])[0]
    path.write_bytes(FLOATS.tobytes() + b"x")
    with pytest.raises(DataError, match="97 bytes"):
        decode_eth3d([path], (H, W))


def test_eth3d_calibration_that_is_missing_or_cut_short(tmp_path: Path) -> None:
    eth3d(tmp_path)
    calibration = tmp_path / "pipes/dslr_calibration_jpg"
    images = (calibration / "images.txt").read_text()
    text(calibration / "images.txt", images[: images.index("635 ")])
    with pytest.raises(DataError, match=r"images\.txt: cut short: DSC_0635\.JPG has depth but is not listed"):
        open_eth3d(tmp_path, "train", scenes=["pipes"])
    text(calibration / "images.txt", images.replace(" 0 dslr", " 5 dslr"))
    with pytest.raises(DataError, match="of an unknown camera"):
        open_eth3d(tmp_path, "train", scenes=["pipes"])
    text(calibration / "cameras.txt", "0 THIN_PRISM_FISHEYE 6\n")
    with pytest.raises(DataError, match=r"cameras\.txt: not a line of a camera"):
        open_eth3d(tmp_path, "train", scenes=["pipes"])
    (calibration / "cameras.txt").unlink()
    with pytest.raises(DataError, match=r"has no pipes/dslr_calibration_jpg/cameras\.txt: it is in pipes_dslr_jpg"):
        open_eth3d(tmp_path, "train", scenes=["pipes"])


def test_eth3d_pictures_stay_as_stored_also_in_shards(tmp_path: Path) -> None:
    """A half turn by EXIF leaves the size right, and the depth would belong to other pixels."""
    eth3d(tmp_path)
    path = tmp_path / "pipes/images/dslr_images/DSC_0634.JPG"
    plain = read_rgb(path)
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(plain).save(path, "PNG", exif=exif)
    assert not np.array_equal(read_rgb(path), plain)
    dataset = open_eth3d(tmp_path, "train", scenes=["pipes"])
    np.testing.assert_array_equal(dataset[0].image, plain)
    write_shards(dataset, tmp_path / "shards", "train")
    np.testing.assert_array_equal(open_shards(tmp_path / "shards")[0].image, plain)


def test_sintel_has_1064_frames() -> None:
    assert (len(FRAMES), sum(FRAMES.values())) == (23, 1064)


def test_sintel_needs_every_frame_of_every_scene(tmp_path: Path) -> None:
    sintel(tmp_path)
    with pytest.raises(MissingFilesError, match=f"{2 * (1064 - 20)} files of split 'train' are missing") as caught:
        open_sintel(tmp_path, "train")
    assert len(caught.value.dataset) == 1064
    (tmp_path / "training/final/ambush_6/frame_0020.png").unlink()
    (tmp_path / "training/depth/ambush_6/frame_0020.dpt").unlink()
    with pytest.raises(MissingFilesError, match=r"2 files .*frame_0020\.png, training/depth/ambush_6/frame_0020\.dpt"):
        open_sintel(tmp_path, "train", scenes=["ambush_6"])
    with pytest.raises(DataError, match="no scene 'ambush'; there are alley_1"):
        open_sintel(tmp_path, "train", scenes=["ambush"])


def test_sintel_clean_is_another_folder(tmp_path: Path) -> None:
    sintel(tmp_path)
    with pytest.raises(DataError, match="has no folder training/clean/"):
        open_sintel(tmp_path, "train", rendering="clean", scenes=["ambush_6"])
    for number in range(1, 21):
        image = picture(tmp_path / f"training/clean/ambush_6/frame_{number:04d}.png", 99)
    clean = open_sintel(tmp_path, "train", rendering="clean", scenes=["ambush_6"])
    np.testing.assert_array_equal(clean[0].image, image)
    np.testing.assert_array_equal(clean[0].target[0, 1:], FLOATS[0, 1:] + 1)


def test_sintel_invalid_masks_are_used_only_when_asked_for(tmp_path: Path) -> None:
    sintel(tmp_path)
    with pytest.raises(DataError, match="has no folder training/invalid/"):
        open_sintel(tmp_path, "train", scenes=["ambush_6"], invalid_masks=True)
    mask = np.zeros((H, W), np.uint8)
    mask[1, 2] = 255
    for number in range(1, 21):
        grey(tmp_path / f"training/invalid/ambush_6/frame_{number:04d}.png", mask)
    plain = open_sintel(tmp_path, "train", scenes=["ambush_6"])[3]
    masked = open_sintel(tmp_path, "train", scenes=["ambush_6"], invalid_masks=True)[3]
    assert plain.valid.sum() - masked.valid.sum() == 1
    assert (plain.valid[1, 2], masked.valid[1, 2]) == (True, False)
    grey(tmp_path / "training/invalid/ambush_6/frame_0004.png", mask[:-1])
    with pytest.raises(DataError, match=r"frame_0004\.png: \(6, 3\) pixels, the depth \(6, 4\)"):
        open_sintel(tmp_path, "train", scenes=["ambush_6"], invalid_masks=True)[3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"\0" + data[1:], "does not begin as a file of Sintel"),
        (lambda data: data[:3], "does not begin as a file of Sintel"),
        (lambda data: data[:8], "8 bytes are not depth of 0x0 pixels"),
        (lambda data: data[:-1], "107 bytes are not depth of 6x4 pixels"),
        (lambda data: data + b"\0", "109 bytes are not depth of 6x4 pixels"),
        (
            lambda data: data[:4] + np.array([-6, -4], "<i4").tobytes() + data[12:],
            "108 bytes are not depth of -6x-4 pixels",
        ),
    ],
)
def test_sintel_broken_depth(change: object, message: str, tmp_path: Path) -> None:
    sintel(tmp_path)
    path = tmp_path / "training/depth/ambush_6/frame_0001.dpt"
    path.write_bytes(change(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(DataError, match=rf"frame_0001\.dpt: {message}"):
        open_sintel(tmp_path, "train", scenes=["ambush_6"])[0]


def test_sintel_cameras(tmp_path: Path) -> None:
    sintel(tmp_path)
    path = tmp_path / "training/camdata_left/ambush_6/frame_0002.cam"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=r"frame_0002\.cam: 40 bytes are not a camera"):
        open_sintel(tmp_path, "train", scenes=["ambush_6"])
    path.unlink()
    with pytest.raises(DataError, match=r"frame_0002\.cam: no such file"):
        open_sintel(tmp_path, "train", scenes=["ambush_6"])
    (tmp_path / "training/camdata_left").rename(tmp_path / "elsewhere")
    assert open_sintel(tmp_path, "train", scenes=["ambush_6"])[0].intrinsics is None


def test_sintel_depth_that_is_no_depth_is_invalid(tmp_path: Path) -> None:
    sintel(tmp_path)
    values = np.full((H, W), 2, np.float32)
    values[0, :3] = np.nan, -1, 0
    dpt(tmp_path / "training/depth/ambush_6/frame_0001.dpt", values)
    sample = open_sintel(tmp_path, "train", scenes=["ambush_6"])[0]
    assert sample.valid.sum() == H * W - 3
    assert sample.target[sample.valid].tolist() == [2.0] * (H * W - 3)


def test_tum_dynamic_is_nine_whole_sequences(tmp_path: Path) -> None:
    tum(tmp_path)
    assert len(DYNAMIC) == 9
    with pytest.raises(DataError, match="has no folder rgbd_dataset_freiburg2_desk_with_person/") as caught:
        open_tum(tmp_path, "dynamic")
    assert str(caught.value).count("rgbd_dataset_") == 8
    assert len(open_tum(tmp_path, "all")) == 2


def test_tum_any_sequence(tmp_path: Path) -> None:
    tree = tum(tmp_path)
    (tmp_path / tree.group).rename(tmp_path / "my_recording")
    inside = open_tum(tmp_path / "my_recording", "all")
    assert (inside[0].name, inside[0].group) == ("my_recording/1341846647.702171", "my_recording")
    assert inside[0].intrinsics is None
    below = open_tum(tmp_path, "all", sequences=["my_recording"])
    np.testing.assert_array_equal(below[1].image, inside[1].image)
    with pytest.raises(DataError, match="has no folder other/"):
        open_tum(tmp_path, "all", sequences=["other"])
    with pytest.raises(DataError, match="has no sequences"):
        open_tum(tmp_path / "my_recording/rgb", "all")


def test_tum_half_a_sequence(tmp_path: Path) -> None:
    tree = tum(tmp_path)
    listed = tmp_path / tree.group / "depth.txt"
    text(listed, "# depth maps\n1341846649.000000 depth/1341846649.000000.png\n")
    with pytest.raises(DataError, match=r"walking_xyz: no picture has depth less than 0\.02 s apart"):
        open_tum(tmp_path, "all")
    text(listed, "1341846647.714271\n")
    with pytest.raises(DataError, match=r"depth\.txt: a line must be a time stamp and a file"):
        open_tum(tmp_path, "all")
    listed.unlink()
    with pytest.raises(DataError, match=r"has no rgbd_dataset_freiburg3_walking_xyz/depth\.txt"):
        open_tum(tmp_path, "all")


def test_tum_colour_without_depth_is_left_out(tmp_path: Path) -> None:
    tum(tmp_path)
    dataset = open_tum(tmp_path, "all")
    assert [dataset[k].name.rpartition("/")[2] for k in (0, 1)] == ["1341846647.702171", "1341846647.802247"]
    # 0.0325 s is the longest distance to the depth that is left.
    assert len(open_tum(tmp_path, "all", max_seconds=0.001)) == 1


def test_associate_takes_the_nearest_first_and_each_once() -> None:
    assert associate([0.0, 0.015], [0.01], 0.02) == [(0.015, 0.01)]
    assert associate([0.0, 0.01], [0.012, 0.019], 0.02) == [(0.0, 0.019), (0.01, 0.012)]
    assert associate([0.0], [0.5], 0.5) == []  # less than, as associate.py


@given(
    st.lists(st.integers(0, 200), unique=True, max_size=30),
    st.lists(st.integers(0, 200), unique=True, max_size=30),
    st.integers(1, 20),
)
def test_associate_as_by_trying_all(first: list[int], second: list[int], limit: int) -> None:
    """Every possible pair, the nearest first: whole numbers, so that no rounding decides."""
    left, right, expected = set(first), set(second), []
    for _, a, b in sorted((abs(a - b), a, b) for a in first for b in second if abs(a - b) < limit):
        if a in left and b in right:
            left.discard(a)
            right.discard(b)
            expected.append((a, b))
    assert associate([float(a) for a in first], [float(b) for b in second], float(limit)) == sorted(expected)


def test_data_check_of_a_sequence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tum(tmp_path)
    assert check([tmp_path], "tum", ["all"]) == 0
    out = capsys.readouterr().out
    assert "2 samples, 0 broken" in out
    assert "depth_m [m], 2 samples: 0.02 to 0.46" in out  # stored 100 to 2300
    assert check([tmp_path], "tum", ["dynamic"]) == 1
    assert "has no folder" in capsys.readouterr().err


def test_scannet_frames_are_in_order_of_their_numbers_with_poses_where_tracking_held(tmp_path: Path) -> None:
    scannet(tmp_path)
    every = open_scannet(tmp_path, "all")
    assert [pair.name for pair in every.pairs] == [f"scene0000_00/{number}" for number in (0, 2, 10)]
    first, lost, last = (sample.camera_pose for sample in every)
    assert lost is None
    assert (first[0, 3], last[0, 3]) == (0, 10)
    assert [pair.name[-2:] for pair in open_scannet(tmp_path, "all", step=2).pairs] == ["/0", "10"]
    large = np.zeros((*COLOUR_SIZE, 3), np.uint8)
    Image.fromarray(large).save(tmp_path / "scene0000_00/color/0.jpg")
    assert every[0].image.shape == (H, W, 3)


def test_scannet_lists_name_pictures_or_say_what_is_wrong(tmp_path: Path) -> None:
    scannet(tmp_path)
    text(tmp_path / "mine.txt", "scene0000_00/color/10.jpg scene0000_00/depth/10.png\n")
    (pair,) = open_scannet(tmp_path, "list", list_file="mine.txt").pairs
    assert pair.name == "scene0000_00/10"
    with pytest.raises(DataError, match="split list needs list_file"):
        open_scannet(tmp_path, "list")
    text(tmp_path / "mine.txt", "scene0000_00/color/10.jpg\n")
    with pytest.raises(DataError, match=r"mine\.txt: not a line of a ScanNet list"):
        open_scannet(tmp_path, "list", list_file="mine.txt")
    text(tmp_path / "scene0000_00/pose/2.txt", "1 2 3\n")
    with pytest.raises(DataError, match=r"pose/2\.txt: not a 4x4 matrix"):
        open_scannet(tmp_path, "all")


def test_vkitti2_takes_what_is_named_and_the_sky_is_no_depth(tmp_path: Path) -> None:
    vkitti2(tmp_path)
    assert len(open_vkitti2(tmp_path, "all")) == 2
    (pair,) = open_vkitti2(tmp_path, "all", scenes=["Scene01"], variations=["clone"], cameras=["Camera_1"]).pairs
    assert pair.group == "Scene01/clone/Camera_1"
    assert not open_vkitti2(tmp_path, "all")[0].valid[0, 0]
    with pytest.raises(DataError, match="has no SceneNN/VARIATION"):
        open_vkitti2(tmp_path, "all", variations=["fog"])
