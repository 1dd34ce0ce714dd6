"""Tiny data sets for evaluation, laid out as they are distributed; see `data_trees`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_trees import CODES, METRES, H, Tree, W, _tree, grey, picture, text

FLOATS = np.where(CODES > 0, CODES / 8, np.inf).astype(np.float32)  # the first pixel is infinite: no measurement


def eth3d(root: Path) -> Tree:
    scene = root / "pipes"
    lines = []
    for number in (634, 635):
        name = f"DSC_{number:04d}.JPG"
        picture(scene / "images/dslr_images" / name)
        depth = scene / "ground_truth_depth/dslr_images" / name
        depth.parent.mkdir(parents=True, exist_ok=True)
        depth.write_bytes(FLOATS.tobytes())
        points = "1.5 2.5 -1 3.0 1.0 7" if number == 634 else ""  # a picture without points has an empty second line
        lines.append(f"{number} 0.9 0.1 0 0 1 2 3 0 dslr_images/{name}\n{points}\n")
    text(scene / "dslr_calibration_jpg/cameras.txt",
         f"# Camera list\n0 THIN_PRISM_FISHEYE {W} {H} 7.5 8.5 3.25 2.25 0.1 0.2 0 0 0 0 0 0\n")  # fmt: skip
    text(scene / "dslr_calibration_jpg/images.txt", "# Image list\n# POINTS2D[] as (X, Y, ID)\n" + "".join(lines))
    return _tree("eth3d", "train", "pipes/images/dslr_images/DSC_0634.JPG",
                 "pipes/ground_truth_depth/dslr_images/DSC_0634.JPG", FLOATS, np.isfinite(FLOATS), kind=METRES,
                 sample="pipes/DSC_0634", group="pipes", intrinsics=(7.5, 8.5, 3.25, 2.25),
                 options={"scenes": ["pipes"]})  # fmt: skip


def dpt(path: Path, values: npt.NDArray[np.float32]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    size = np.array(values.shape[::-1], "<i4")
    path.write_bytes(np.float32(202021.25).tobytes() + size.tobytes() + values.astype("<f4").tobytes())


def sintel(root: Path) -> Tree:
    for number in range(1, 21):
        frame = f"ambush_6/frame_{number:04d}"
        picture(root / f"training/final/{frame}.png", number)
        dpt(root / f"training/depth/{frame}.dpt", FLOATS + number)
        camera = root / f"training/camdata_left/{frame}.cam"
        camera.parent.mkdir(parents=True, exist_ok=True)
        # world to camera: the camera stands at x = number
        place = (1, 0, 0, -number, 0, 1, 0, 0, 0, 0, 1, 0)
        matrix = np.array([9, 0, 3, 0, 10, 2, 0, 0, 1, *place], "<f8")
        camera.write_bytes(np.float32(202021.25).tobytes() + matrix.tobytes())
    frame = "ambush_6/frame_0001"
    return _tree("sintel", "train", f"training/final/{frame}.png", f"training/depth/{frame}.dpt", FLOATS + 1,
                 np.isfinite(FLOATS), kind=METRES, sample=frame, group="ambush_6", intrinsics=(9.0, 10.0, 3.0, 2.0),
                 count=20, options={"scenes": ["ambush_6"]})  # fmt: skip


def tum(root: Path) -> Tree:
    sequence = "rgbd_dataset_freiburg3_walking_xyz"
    head = "# {0} images\n# file: 'rgbd_dataset_freiburg3_walking_xyz.bag'\n# timestamp filename\n"
    # The second picture has no depth within 0.02 s.
    colour = ("1341846647.702171", "1341846647.734125", "1341846647.802247")
    depth = ("1341846647.714271", "1341846647.802289")
    for kind, stamps in (("rgb", colour), ("depth", depth)):
        for stamp in stamps:
            if kind == "rgb":
                picture(root / sequence / f"rgb/{stamp}.png")
            else:
                grey(root / sequence / f"depth/{stamp}.png", CODES)
        lines = "".join(f"{stamp} {kind}/{stamp}.png\n" for stamp in stamps)
        text(root / sequence / f"{kind}.txt", head.format(kind) + lines)
    return _tree("tum", "dynamic", f"{sequence}/rgb/{colour[0]}.png", f"{sequence}/depth/{depth[0]}.png", CODES / 5000,
                 CODES > 0, kind=METRES, sample=f"{sequence}/{colour[0]}", group=sequence,
                 intrinsics=(535.4, 539.2, 320.1, 247.6), options={"sequences": [sequence]})  # fmt: skip


def bonn(root: Path) -> Tree:
    sequence = "rgbd_bonn_balloon"
    for kind in ("rgb", "depth"):
        stamps = ("1548266469.10", "1548266469.14", "1548266469.18")
        for stamp in stamps:
            if kind == "rgb":
                picture(root / sequence / f"rgb/{stamp}.png")
            else:
                grey(root / sequence / f"depth/{stamp}.png", CODES)
        lines = "".join(f"{stamp} {kind}/{stamp}.png\n" for stamp in stamps)
        text(root / sequence / f"{kind}.txt", "# c\n" + lines)
    return _tree("bonn", "all", f"{sequence}/rgb/1548266469.14.png", f"{sequence}/depth/1548266469.14.png",
                 CODES / 5000, CODES > 0, kind=METRES, sample=f"{sequence}/1548266469.14", group=sequence,
                 intrinsics=(542.822841, 542.57687, 315.59352, 237.756098),
                 options={"first": 1, "last": 3})  # fmt: skip


def scannet(root: Path) -> Tree:
    scene = root / "scene0000_00"
    for number in (0, 2, 10):
        picture(scene / f"color/{number}.jpg")
        grey(scene / f"depth/{number}.png", CODES)
        place = "1 0 0 -inf" if number == 2 else f"1 0 0 {number}"
        text(scene / f"pose/{number}.txt", f"{place}\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    text(scene / "intrinsic/intrinsic_depth.txt", "7 0 3 0\n0 8 2 0\n0 0 1 0\n0 0 0 1\n")
    valid = CODES > 0
    valid[[0, -1]] = False
    valid[:, [0, -1]] = False
    return _tree("scannet", "all", "scene0000_00/color/2.jpg", "scene0000_00/depth/2.png", CODES / 1000, valid,
                 kind=METRES, sample="scene0000_00/2", group="scene0000_00", intrinsics=(7.0, 8.0, 3.0, 2.0),
                 options={"border": [1, 1], "first": 1})  # fmt: skip


def vkitti2(root: Path) -> Tree:
    far = CODES.copy()
    far[0, 0] = 65535
    for camera in ("Camera_0", "Camera_1"):
        picture(root / f"Scene01/clone/frames/rgb/{camera}/rgb_00000.jpg")
        grey(root / f"Scene01/clone/frames/depth/{camera}/depth_00000.png", far)
    group = "Scene01/clone/Camera_0"
    return _tree("vkitti2", "all", "Scene01/clone/frames/rgb/Camera_0/rgb_00000.jpg",
                 "Scene01/clone/frames/depth/Camera_0/depth_00000.png", CODES / 100, CODES > 0, kind=METRES,
                 sample=f"{group}/00000", group=group, intrinsics=(725.0087, 725.0087, 620.5, 187.0))  # fmt: skip


def hypersim(root: Path) -> Tree:
    import h5py

    rows = ["scene_name,camera_name,frame_id,included_in_public_release,exclude_reason,split_partition_name"]
    distance = np.where(CODES > 0, CODES / 100, np.nan).astype(np.float32)
    below = "ai_001_010/images/scene_cam_00"
    for number, released, split in ((0, True, "test"), (1, True, "test"), (2, False, "test"), (3, True, "val")):
        rows.append(f"ai_001_010,cam_00,{number},{released},,{split}")
        picture(root / f"{below}_final_preview/frame.{number:04d}.tonemap.jpg")
        path = root / f"{below}_geometry_hdf5/frame.{number:04d}.depth_meters.hdf5"
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file["dataset"] = distance
    text(root / "metadata_images_split_scene_v1.csv", "\n".join(rows) + "\n")
    focal = 886.81 * W / 1024
    depth = [
        [distance[y, x] / np.sqrt(((x - 2.5) / focal) ** 2 + ((y - 1.5) / focal) ** 2 + 1) for x in range(W)]
        for y in range(H)
    ]
    return _tree("hypersim", "test", f"{below}_final_preview/frame.0000.tonemap.jpg",
                 f"{below}_geometry_hdf5/frame.0000.depth_meters.hdf5", np.array(depth), CODES > 0, kind=METRES,
                 sample="ai_001_010/cam_00/frame.0000", group="ai_001_010")  # fmt: skip


def nyu_video(root: Path) -> Tree:
    for number in (9, 10, 11):
        picture(root / f"kitchen_0003/rgb/{number}.jpg")
        grey(root / f"kitchen_0003/depth/{number}.png", CODES)
    return _tree("nyuv2-video", "benchmark", "kitchen_0003/rgb/10.jpg", "kitchen_0003/depth/10.png", CODES / 6000,
                 CODES > 0, kind=METRES, sample="kitchen_0003/10", group="kitchen_0003",
                 intrinsics=(518.8579, 519.4696, 325.5824, 253.7362),
                 options={"scenes": ["kitchen_0003"], "first": 1})  # fmt: skip


DDAD_POINTS = np.array([[0, 0, 8, 0.5], [1, 0, 4, 0.5], [-9, 0, 4, 0.5], [0, 0, -5, 0.5], [0, 0, 6, 0.5]])
"""X, Y, Z, intensity, as the camera would see them; the last hides the first, the third and fourth are not in view."""


def ddad(root: Path, scene: str = "000150", split: str = "1") -> Tree:
    """A LiDAR in the place of the camera, which is turned by a quarter about z."""
    turn, place = {"qw": 0.5**0.5, "qx": 0.0, "qy": 0.0, "qz": 0.5**0.5}, {"x": 10.0, "y": -20.0, "z": 3.0}
    # world = R camera + place; the LiDAR is where the camera is, but not turned: lidar = R camera
    points = DDAD_POINTS.copy()
    points[:, :2] = np.stack([-DDAD_POINTS[:, 1], DDAD_POINTS[:, 0]], axis=1)
    data, samples = [], []
    for number in (1, 2):
        picture(root / f"{scene}/rgb/CAMERA_01/{number}.png")
        cloud = root / f"{scene}/point_cloud/LIDAR/{number}5.npz"
        cloud.parent.mkdir(parents=True, exist_ok=True)
        np.savez(cloud, data=points.astype(np.float32))
        image = {"filename": f"rgb/CAMERA_01/{number}.png", "height": H, "width": W,
                 "pose": {"rotation": turn, "translation": place}}  # fmt: skip
        lidar = {"filename": f"point_cloud/LIDAR/{number}5.npz",
                 "pose": {"rotation": {"qw": 0.0, "qx": 0.0, "qy": 0.0, "qz": 0.0}, "translation": place}}  # fmt: skip
        data += [{"key": f"c{number}", "id": {"name": "CAMERA_01"}, "datum": {"image": image}},
                 {"key": f"l{number}", "id": {"name": "LIDAR"}, "datum": {"point_cloud": lidar}}]  # fmt: skip
        samples.append({"calibration_key": "ca11", "datum_keys": [f"c{number}", f"l{number}"]})
    intrinsics = {"fx": 4.0, "fy": 4.0, "cx": 3.5, "cy": 2.5, "skew": 0.0}
    text(root / f"{scene}/calibration/ca11.json",
         json.dumps({"names": ["LIDAR", "CAMERA_01"], "intrinsics": [dict.fromkeys(intrinsics, 0.0), intrinsics],
                     "extrinsics": []}))  # fmt: skip
    text(root / f"{scene}/scene_5ce.json", json.dumps({"data": data, "samples": samples}))
    text(root / "ddad.json", json.dumps({"scene_splits": {split: {"filenames": [f"{scene}/scene_5ce.json"]}}}))
    depth = np.zeros((H, W))
    depth[2, 3], depth[2, 4] = 6, 4  # x / z 0 and 1 / 4, times 4, plus 3.5
    return _tree("ddad", "val", f"{scene}/rgb/CAMERA_01/1.png", f"{scene}/point_cloud/LIDAR/15.npz", depth, depth > 0,
                 kind=METRES, sample=f"{scene}/CAMERA_01/1", group=f"{scene}/CAMERA_01",
                 intrinsics=(4.0, 4.0, 3.5, 2.5))  # fmt: skip


def diw(root: Path) -> None:
    """Two pictures of 6x4: A at (0, 1) nearer than B at (3, 5), and A at (2, 0) farther than B at (1, 4)."""
    lines = []
    for name, annotation in (("00a1", f"1,2,4,6,<,{W},{H}"), ("00b2", f"3,1,2,5,>,{W},{H}")):
        picture(root / f"DIW_test/{name}.jpg")
        (root / f"DIW_test/{name}.jpg").rename(root / f"DIW_test/{name}.thumb")
        lines.append(f"./DIW_test/{name}.thumb\n{annotation}\n")
    text(root / "DIW_test.csv", "".join(lines))


def da2k(root: Path) -> None:
    """An indoor picture with two pairs and a transparent one with one; point2 is nearer in the second pair."""
    entries = {
        "images/indoor/a.jpg": [
            {"point1": [0, 1], "point2": [3, 5], "closer_point": "point1"},
            {"point1": [2, 2], "point2": [1, 0], "closer_point": "point2"},
        ],
        "images/transparent_reflective/b.png": [{"point1": [3, 0], "point2": [0, 5], "closer_point": "point1"}],
    }
    for name in entries:
        picture(root / name)
    text(root / "annotations.json", json.dumps(entries))


ZERO_SHOT_TREES: dict[str, Callable[[Path], Tree]] = {
    "eth3d": eth3d, "sintel": sintel, "tum": tum, "bonn": bonn, "scannet": scannet, "vkitti2": vkitti2,
    "hypersim": hypersim, "nyuv2-video": nyu_video, "ddad": ddad,
}  # fmt: skip
ORDINAL_TREES: dict[str, Callable[[Path], None]] = {"diw": diw, "da-2k": da2k}
