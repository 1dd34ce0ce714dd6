"""DDAD, and the videos of KITTI and NYUv2: what they have beyond the common, and folders that are half there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from data_trees import CODES, H, W, array, grey, kitti, picture
from data_trees_zero_shot import DDAD_POINTS, ddad, nyu_video, scannet
from dptkit.data.ddad import open_ddad
from dptkit.data.kitti import open_kitti
from dptkit.data.nyu_video import BENCHMARK, open_nyu_video
from dptkit.data.pairs import MissingFilesError, Pair, depth_target
from dptkit.data.video_frames import of_each_group
from dptkit.errors import DataError


def test_ddad_says_where_the_camera_was(tmp_path: Path) -> None:
    ddad(tmp_path)
    pose = open_ddad(tmp_path, "val")[0].camera_pose
    np.testing.assert_allclose(pose, [[0, -1, 0, 10], [1, 0, 0, -20], [0, 0, 1, 3], [0, 0, 0, 1]], atol=1e-12)


def test_ddad_points_by_the_names_of_their_fields(tmp_path: Path) -> None:
    tree = ddad(tmp_path)
    plain = open_ddad(tmp_path, "val")[0]
    with np.load(tmp_path / tree.target) as file:
        x, y, z, intensity = file["data"].T
    fields = np.zeros(len(DDAD_POINTS), [("INTENSITY", "f4"), ("X", "f4"), ("Y", "f4"), ("Z", "f4")])
    fields["X"], fields["Y"], fields["Z"], fields["INTENSITY"] = x, y, z, intensity
    np.savez(tmp_path / tree.target, data=fields)
    np.testing.assert_array_equal(open_ddad(tmp_path, "val")[0].target, plain.target)
    np.savez(tmp_path / tree.target, points=fields)
    with pytest.raises(DataError, match=r"15\.npz: not an \.npz file with an array 'data'"):
        open_ddad(tmp_path, "val")[0]
    np.savez(tmp_path / tree.target, data=np.zeros((3, 2)))
    with pytest.raises(DataError, match=r"15\.npz: points X, Y, Z are needed, not float64 \(3, 2\)"):
        open_ddad(tmp_path, "val")[0]


def test_ddad_half_of_it(tmp_path: Path) -> None:
    ddad(tmp_path)
    with pytest.raises(DataError, match="has no '0' where one belongs"):  # the index names no training scenes
        open_ddad(tmp_path, "train")
    with pytest.raises(DataError, match="no camera 'CAMERA_02'; there are CAMERA_01, CAMERA_05"):
        open_ddad(tmp_path, "val", cameras=["CAMERA_02"])
    with pytest.raises(DataError, match=r"scene_5ce\.json: has no 'CAMERA_05' where one belongs"):
        open_ddad(tmp_path, "val", cameras=["CAMERA_05"])
    shutil.rmtree(tmp_path / "000150/point_cloud")
    with pytest.raises(MissingFilesError, match=r"2 files of split 'val' are missing .*LIDAR/15\.npz"):
        open_ddad(tmp_path, "val")
    (tmp_path / "000150/calibration/ca11.json").rename(tmp_path / "000150/calibration/other.json")
    with pytest.raises(DataError, match=r"calibration/ca11\.json: no such file"):
        open_ddad(tmp_path, "val")
    shutil.rmtree(tmp_path / "000150")
    with pytest.raises(DataError, match=r"000150/scene_5ce\.json: no such file"):
        open_ddad(tmp_path, "val")
    (tmp_path / "ddad.json").unlink()
    with pytest.raises(DataError, match=r"has neither ddad\.json \(TRI's layout\) nor NAME_rgb\.png \(ZoeDepth's\)"):
        open_ddad(tmp_path, "val")


@pytest.mark.parametrize("change", [{"height": "tall"}, {"pose": []}, {"pose": {"rotation": {"qw": "x"}}}])
def test_ddad_that_is_not_as_dgp_writes_it(change: dict[str, object], tmp_path: Path) -> None:
    ddad(tmp_path)
    path = tmp_path / "000150/scene_5ce.json"
    content = json.loads(path.read_text())
    content["data"][0]["datum"]["image"] |= change
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"scene_5ce\.json: not a scene as dgp lays it out") as caught:
        open_ddad(tmp_path, "val")
    assert "\n" not in str(caught.value)


def test_ddad_as_zoedepth_lays_it_out(tmp_path: Path) -> None:
    metres = (CODES / 100).astype(np.float32)
    image = picture(tmp_path / "0007_rgb.png")
    array(tmp_path / "0007_depth.npy", metres)
    dataset = open_ddad(tmp_path, "val")
    np.testing.assert_array_equal(dataset[0].image, image)
    np.testing.assert_array_equal(dataset[0].target, metres)
    assert (dataset[0].name, dataset[0].valid.sum()) == ("0007", H * W - 1)
    with pytest.raises(DataError, match="is split val only, not 'train'"):
        open_ddad(tmp_path, "train")
    array(tmp_path / "0008_depth.npy", metres)
    with pytest.raises(MissingFilesError, match=r"1 files .*0008_rgb\.png"):
        open_ddad(tmp_path, "val")


def test_kitti_videos_are_the_left_cameras_frames_that_have_depth(tmp_path: Path) -> None:
    kitti(tmp_path)
    drive = "2011_10_03_drive_0047_sync"
    for number in (5, 6, 7):
        truth = f"data_depth_annotated/val/{drive}/proj_depth/groundtruth"
        for side in ("image_02", "image_03"):
            grey(tmp_path / f"{truth}/{side}/{number:010d}.png", CODES)
    for number in (4, 5, 6, 7):  # the first has no depth
        picture(tmp_path / f"raw/2011_10_03/{drive}/image_02/data/{number:010d}.jpg")
    videos = open_kitti(tmp_path, "val-videos", first=1)
    assert [pair.name for pair in videos.pairs] == [
        "2011_09_26_drive_0002_sync/image_02/0000000070",
        f"{drive}/image_02/0000000006",
        f"{drive}/image_02/0000000007",
    ]
    assert (videos[0].group, videos[0].intrinsics) == ("2011_09_26_drive_0002_sync", (7.0, 8.0, 3.0, 2.0))
    assert videos[1].valid.sum() == H * W - 1
    assert len(open_kitti(tmp_path, "val-videos", last=1)) == 2
    with pytest.raises(DataError, match="val-videos is made of the folders, and takes no list_file"):
        open_kitti(tmp_path, "val-videos", list_file="eigen_test_files_with_gt.txt")
    (tmp_path / f"raw/2011_10_03/{drive}/image_02/data/0000000006.jpg").unlink()
    with pytest.raises(MissingFilesError, match=r"1 files .*image_02/data/0000000006\.png"):
        open_kitti(tmp_path, "val-videos")
    shutil.rmtree(tmp_path / "data_depth_annotated/val")
    with pytest.raises(DataError, match="has no folder data_depth_annotated/val/"):
        open_kitti(tmp_path, "val-videos")


def test_nyu_videos_need_all_eight_scenes_unless_some_are_named(tmp_path: Path) -> None:
    nyu_video(tmp_path)
    with pytest.raises(DataError, match="has no folder basement_0001a/rgb/, basement_0001a/depth/, book") as caught:
        open_nyu_video(tmp_path, "benchmark")
    assert "kitchen_0003/" not in str(caught.value)
    assert len(BENCHMARK) == 8
    every = open_nyu_video(tmp_path, "all", last=2, steps_per_metre=1000)
    assert [pair.name for pair in every.pairs] == ["kitchen_0003/9", "kitchen_0003/10"]  # by number, not by letter
    np.testing.assert_allclose(every[0].target, CODES / 1000, rtol=1e-6)
    with pytest.raises(DataError, match="steps_per_metre must be above 0, not 0"):
        open_nyu_video(tmp_path, "all", steps_per_metre=0)
    with pytest.raises(DataError, match="has no scenes"):
        open_nyu_video(tmp_path / "kitchen_0003/rgb", "all")


def test_a_frame_without_a_number(tmp_path: Path) -> None:
    scannet(tmp_path)
    (tmp_path / "scene0000_00/color/x1.jpg").write_bytes(b"")
    from dptkit.data.scannet import open_scannet

    with pytest.raises(DataError, match="scene0000_00: x1 is not the number of a frame"):
        open_scannet(tmp_path, "all")


def test_frames_of_each_group_keep_the_order_of_a_list() -> None:
    pairs = [
        Pair(f"{name}.png", (), name, name[0], lambda paths: depth_target(np.ones((H, W), np.float32)))
        for name in ("b1", "a1", "b2", "a2", "b3")
    ]
    assert of_each_group(pairs) == tuple(pairs)
    assert [pair.name for pair in of_each_group(pairs, 1, None)] == ["b2", "a2", "b3"]
    assert [pair.name for pair in of_each_group(pairs, 0, -1)] == ["b1", "a1", "b2"]
