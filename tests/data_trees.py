"""Tiny data sets, each laid out as the real one is distributed: 4x6 pixels, values that tell pixels apart.

Every function writes one below `root` and says what opening it must give for its first sample.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

H, W = 4, 6
CODES = np.arange(H * W, dtype=np.uint16).reshape(H, W) * 100  # the first pixel is 0: no measurement
BYTES = np.arange(H * W, dtype=np.uint8).reshape(H, W) * 11  # 0 to 253


@dataclass(frozen=True)
class Tree:
    """count: samples. image, target: files of sample 0. values, valid: its target. other_split: one that is not."""

    name: str
    split: str
    count: int
    image: str
    target: str
    values: npt.NDArray[Any]
    valid: npt.NDArray[np.bool_]
    quantity: str
    unit: str
    sample: str
    group: str
    intrinsics: tuple[float, ...] | None = None
    options: dict[str, Any] = field(default_factory=dict)


def picture(path: Path, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Write a picture of noise; returns what a lossless file holds, RGB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(seed).integers(0, 256, (H, W, 3), np.uint8)
    assert cv2.imwrite(str(path), image[:, :, ::-1])
    return image


def grey(path: Path, values: npt.NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), values)


def pfm(path: Path, values: npt.NDArray[Any], order: str = "<") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scale = -1.0 if order == "<" else 1.0
    head = f"Pf\n{values.shape[1]} {values.shape[0]}\n{scale}\n".encode()
    path.write_bytes(head + values[::-1].astype(f"{order}f4").tobytes())


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def _tree(name: str, split: str, image: str, target: str, values: Any, valid: Any, **more: Any) -> Tree:
    quantity, unit = more.pop("kind")
    return Tree(name, split, more.pop("count", 2), image, target, np.asarray(values, np.float32), np.asarray(valid),
                quantity, unit, more.pop("sample"), more.pop("group", ""), **more)  # fmt: skip


METRES, RELATIVE, INVERSE, LABELS = (
    ("depth_m", "m"), ("inverse_depth", "relative"), ("inverse_depth", "1/m"), ("labels", "class"),
)  # fmt: skip


def manifest(root: Path) -> Tree:
    rows = ["source,split,name,scene_type,kind,scale,metric,split_group"]
    for name, kind, scale, metric in (("one", "depth", "0.001", "true"), ("two", "disparity", "0.01", "false")):
        picture(root / f"src/{name}.jpg")
        grey(root / f"src/{name}.png", CODES)
        rows.append(f"src,train,{name},indoor,{kind},{scale},{metric},scene-{name}")
    picture(root / "other/three.jpg")
    grey(root / "other/three.png", CODES)
    rows += ["other,val,three,indoor,depth,0.002,true,scene-three"]
    text(root / "manifest.csv", "\n".join(rows) + "\n")
    return _tree("manifest", "train", "src/one.jpg", "src/one.png", CODES * 0.001, CODES > 0, kind=METRES,
                 sample="src/one", group="scene-one")  # fmt: skip


def pairs(root: Path) -> Tree:
    for name in ("a", "sub/b"):
        picture(root / f"train/images/{name}.png")
        grey(root / f"train/depth/{name}.png", CODES)
    return _tree("pairs", "train", "train/images/a.png", "train/depth/a.png", CODES * 0.5, CODES > 0, kind=METRES,
                 sample="a", options={"kind": "depth", "scale": 0.5})  # fmt: skip


def labels(root: Path) -> Tree:
    stored = np.where(BYTES > 100, 255, BYTES // 11).astype(np.uint8)
    for name in ("a", "b"):
        picture(root / f"train/images/{name}.jpg")
        grey(root / f"train/labels/{name}.png", stored)
    text(root / "classes.txt", "\n".join(f"class {k}" for k in range(12)))
    return _tree("labels", "train", "train/images/a.jpg", "train/labels/a.png", stored, stored != 255, kind=LABELS,
                 sample="a")  # fmt: skip


def nyuv2_bts(root: Path) -> Tree:
    for number in (45, 46):
        picture(root / f"official_splits/test/bathroom/rgb_{number:05d}.jpg")
        grey(root / f"official_splits/test/bathroom/sync_depth_{number:05d}.png", CODES)
    folder = "official_splits/test/bathroom"
    return _tree("nyuv2-bts", "test", f"{folder}/rgb_00045.jpg", f"{folder}/sync_depth_00045.png", CODES / 1000,
                 CODES > 0, kind=METRES, sample="bathroom/rgb_00045", group="bathroom",
                 intrinsics=(518.8579, 519.4696, 325.5824, 253.7362))  # fmt: skip


def kitti(root: Path) -> Tree:
    date, drive = "2011_09_26", "2011_09_26_drive_0002_sync"
    for number in (69, 70):
        picture(root / f"raw/{date}/{drive}/image_02/data/{number:010d}.png")
        grey(root / f"data_depth_annotated/val/{drive}/proj_depth/groundtruth/image_02/{number:010d}.png", CODES)
    line = "{0}/{1}/image_02/data/{2}.png {3} 721.5377\n"
    truth = f"{drive}/proj_depth/groundtruth/image_02/{{}}.png"
    numbers = ("0000000069", "0000000070")
    text(root / "eigen_test_files_with_gt.txt",
         "".join(line.format(date, drive, n, truth.format(n)) for n in numbers)
         + line.format(date, drive, "0000000071", "None"))  # fmt: skip
    text(root / f"raw/{date}/calib_cam_to_cam.txt", "calib_time: 1\nP_rect_02: 7 0 3 0.1 0 8 2 0.2 0 0 1 0\n")
    return _tree("kitti", "test", f"raw/{date}/{drive}/image_02/data/0000000069.png",
                 f"data_depth_annotated/val/{truth.format(numbers[0])}", CODES / 256, CODES > 0, kind=METRES,
                 sample=f"{drive}/image_02/0000000069", group=drive, intrinsics=(7.0, 8.0, 3.0, 2.0))  # fmt: skip


def kitti_bts(root: Path) -> Tree:
    date, drive = "2011_10_03", "2011_10_03_drive_0034_sync"
    picture(root / f"{date}/{drive}/image_02/data/0000000173.jpg")
    truth = f"{drive}/proj_depth/groundtruth/image_02/0000000173.png"
    grey(root / f"data_depth_annotated/{truth}", CODES)
    # BTS lists .png; its users convert the raw pictures to .jpg.
    text(root / "eigen_train_files_with_gt.txt",
         f"{date}/{drive}/image_02/data/0000000173.png {truth} 718.856 right.png right_gt.png\n")  # fmt: skip
    return _tree("kitti-bts", "train", f"{date}/{drive}/image_02/data/0000000173.jpg", f"data_depth_annotated/{truth}",
                 CODES / 256, CODES > 0, kind=METRES, sample=f"{drive}/image_02/0000000173", group=drive,
                 count=1)  # fmt: skip


def array(path: Path, values: npt.NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values)


def diode(root: Path) -> Tree:
    metres = (CODES / 8).astype(np.float32)
    mask = (BYTES % 2).astype(np.float32)
    indoors = "val/indoors/scene_00019/scan_00183/00019_00183_indoors_000_010"
    for stem in (indoors, "val/outdoor/scene_00022/scan_00193/00022_00193_outdoor_000_010"):
        picture(root / f"{stem}.png")
        array(root / f"{stem}_depth.npy", metres[:, :, None])
        array(root / f"{stem}_depth_mask.npy", mask)
    return _tree("diode", "val", f"{indoors}.png", f"{indoors}_depth.npy", metres, (mask > 0) & (metres > 0),
                 kind=METRES, sample=indoors.removeprefix("val/"), group="indoors/scene_00019",
                 intrinsics=(886.81, 927.06, 512.0, 384.0))  # fmt: skip


def ibims_1(root: Path) -> Tree:
    names = ("corridor_01", "kitchen_02")
    invalid, transparent = np.where(BYTES % 2, 255, 0).astype(np.uint8), np.where(BYTES > 100, 255, 0).astype(np.uint8)
    for name in names:
        for folder, values in (("depth", CODES), ("mask_invalid", invalid), ("mask_transp", transparent)):
            grey(root / f"ibims1_core_raw/{folder}/{name}.png", values)
        picture(root / f"ibims1_core_raw/rgb/{name}.png")
        text(root / f"ibims1_core_raw/calib/{name}.txt", "5,6,3,2\n")
    text(root / "imagelist.txt", "\n".join(names) + "\n")
    return _tree("ibims-1", "test", "ibims1_core_raw/rgb/corridor_01.png", "ibims1_core_raw/depth/corridor_01.png",
                 CODES * (50 / 65535), (CODES > 0) & (invalid > 0) & (transparent > 0), kind=METRES,
                 sample="corridor_01", group="corridor_01", intrinsics=(5.0, 6.0, 3.0, 2.0))  # fmt: skip


def sun_rgbd(root: Path) -> Tree:
    from scipy.io import savemat

    scenes = ("kv2/kinect2data/000065_resize", "kv1/b3dodata/img_0063")
    stored = np.array([[int(f"{code:016b}"[3:] + f"{code:016b}"[:3], 2) for code in row] for row in CODES], np.uint16)
    for scene in scenes:
        name = scene.rpartition("/")[2]
        picture(root / f"SUNRGBD/{scene}/image/{name}.jpg")
        for folder in ("depth", "depth_bfx"):
            # Another name than the picture's, as in kv1/b3dodata.
            grey(root / f"SUNRGBD/{scene}/{folder}/{name}_abs_smooth.png", stored)
        text(root / f"SUNRGBD/{scene}/intrinsics.txt", "5 0 3 0 6 2 0 0 1 \n")
    places = np.array([f"/n/fs/sun3d/data/SUNRGBD/{scene}" for scene in scenes], object)
    split = root / "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat"
    split.parent.mkdir(parents=True)
    savemat(split, {"alltest": places, "alltrain": places[1:]})
    folder = f"SUNRGBD/{scenes[0]}"
    return _tree("sun-rgbd", "test", f"{folder}/image/000065_resize.jpg",
                 f"{folder}/depth/000065_resize_abs_smooth.png", CODES / 1000, CODES > 0, kind=METRES,
                 sample=scenes[0], group="kv2/kinect2data", intrinsics=(5.0, 6.0, 3.0, 2.0))  # fmt: skip


def ade20k(root: Path) -> Tree:
    stored = np.minimum(BYTES, 150)
    for number in (1, 2):
        picture(root / f"images/validation/ADE_val_{number:08d}.jpg")
        grey(root / f"annotations/validation/ADE_val_{number:08d}.png", stored)
    name = "ADE_val_00000001"
    values = np.where(stored == 0, 255, stored.astype(int) - 1)
    return _tree("ade20k", "val", f"images/validation/{name}.jpg", f"annotations/validation/{name}.png", values,
                 stored > 0, kind=LABELS, sample=name)  # fmt: skip


def pascal_context(root: Path) -> Tree:
    stored = np.minimum(BYTES, 59)
    for name in ("2008_000002", "2008_000003"):
        picture(root / f"JPEGImages/{name}.jpg")
        grey(root / f"SegmentationClassContext/{name}.png", stored)
    picture(root / "JPEGImages/2008_000009.jpg")
    text(root / "ImageSets/SegmentationContext/val.txt", "2008_000002\n2008_000003\n")
    values = np.where(stored == 0, 255, stored.astype(int) - 1)
    return _tree("pascal-context", "val", "JPEGImages/2008_000002.jpg", "SegmentationClassContext/2008_000002.png",
                 values, stored > 0, kind=LABELS, sample="2008_000002")  # fmt: skip


def camvid(root: Path) -> Tree:
    stored = (np.arange(H * W, dtype=np.uint8) % 12).reshape(H, W)
    for name in ("0016E5_07959", "0016E5_07961"):
        picture(root / f"val/{name}.png")
        grey(root / f"valannot/{name}.png", stored)
    return _tree("camvid", "val", "val/0016E5_07959.png", "valannot/0016E5_07959.png",
                 np.where(stored == 11, 255, stored), stored != 11, kind=LABELS, sample="0016E5_07959",
                 group="val/0016E5")  # fmt: skip


def redweb(root: Path) -> Tree:
    stored = BYTES.copy()
    stored[-1, -1] = 255  # sky
    for name in ("a", "b"):
        picture(root / f"Imgs/{name}.jpg")
        grey(root / f"RDs/{name}.png", stored)
    return _tree("redweb", "train", "Imgs/a.jpg", "RDs/a.png", 255.0 - stored, np.ones((H, W), bool), kind=RELATIVE,
                 sample="a")  # fmt: skip


def hrwsi(root: Path) -> Tree:
    mask = np.where(BYTES % 2 == 0, 255, 0).astype(np.uint8)
    for name in ("a", "b"):
        picture(root / f"val/imgs/{name}.jpg")
        grey(root / f"val/gts/{name}.png", BYTES)
        grey(root / f"val/valid_masks/{name}.png", mask)
    return _tree("hrwsi", "val", "val/imgs/a.jpg", "val/gts/a.png", BYTES, mask > 0, kind=RELATIVE, sample="a")


def wsvd(root: Path) -> Tree:
    for number in (0, 1):
        picture(root / f"train/video_3/{number:05d}.png")
        grey(root / f"disparity/train/video_3/{number:05d}.png", CODES)
    return _tree("wsvd", "train", "train/video_3/00000.png", "disparity/train/video_3/00000.png", CODES, CODES > 0,
                 kind=RELATIVE, sample="video_3/00000", group="video_3")  # fmt: skip


def megadepth(root: Path) -> Tree:
    import h5py

    depth = CODES.astype(np.float32) / 10
    for number, (name, values) in enumerate((("a.jpg", depth), ("b.JPG", depth - 1))):
        picture(root / f"0001/dense0/imgs/{name}", number)
        (root / "0001/dense0/depths").mkdir(parents=True, exist_ok=True)
        with h5py.File(root / f"0001/dense0/depths/{name[0]}.h5", "w") as file:
            file["depth"] = values
    picture(root / "0001/dense0/imgs/without_depth.jpg")
    inverse = np.where(depth > 0, 1 / np.maximum(depth, 1), 0)
    return _tree("megadepth", "train", "0001/dense0/imgs/a.jpg", "0001/dense0/depths/a.h5", inverse, depth > 0,
                 kind=RELATIVE, sample="0001/dense0/a", group="0001")  # fmt: skip


def diml(root: Path) -> Tree:
    for name in ("in_00_1", "in_00_2"):
        picture(root / f"test/HR/cafe/color/{name}_c.png")
        grey(root / f"test/HR/cafe/depth_filled/{name}_depth_filled.png", CODES)
    folder = "test/HR/cafe"
    return _tree("diml-indoor", "test", f"{folder}/color/in_00_1_c.png",
                 f"{folder}/depth_filled/in_00_1_depth_filled.png", CODES / 1000, CODES > 0, kind=METRES,
                 sample=f"{folder}/in_00_1", group=folder)  # fmt: skip


def diml_full(root: Path) -> Tree:
    for name in ("in_k_1", "in_k_2"):
        picture(root / f"cafe/160220/col/{name}_c.png")
        grey(root / f"cafe/160220/up_png/{name}_ud.png", CODES)
    folder = "cafe/160220"
    return _tree("diml-indoor", "train", f"{folder}/col/in_k_1_c.png", f"{folder}/up_png/in_k_1_ud.png", CODES / 1000,
                 CODES > 0, kind=METRES, sample=f"{folder}/in_k_1", group=folder,
                 options={"layout": "full"})  # fmt: skip


def blendedmvs(root: Path) -> Tree:
    depth = CODES.astype(np.float32) / 7
    pid = "5bfe5ae0fe0ea555e6a969ca"
    for number in (0, 1):
        picture(root / f"{pid}/blended_images/{number:08d}.jpg")
        picture(root / f"{pid}/blended_images/{number:08d}_masked.jpg")
        pfm(root / f"{pid}/rendered_depth_maps/{number:08d}.pfm", depth)
    text(root / f"{pid}/cams/00000000_cam.txt",
         "extrinsic\n1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n\nintrinsic\n5 0 3\n0 6 2\n0 0 1\n\n1 2 128 3\n")  # fmt: skip
    text(root / "validation_list.txt", f"{pid}\n")
    text(root / "training_list.txt", "another\n")
    return _tree("blendedmvs", "val", f"{pid}/blended_images/00000000.jpg", f"{pid}/rendered_depth_maps/00000000.pfm",
                 np.where(depth > 0, 1 / np.maximum(depth, 1), 0), depth > 0, kind=RELATIVE,
                 sample=f"{pid}/00000000", group=pid, intrinsics=(5.0, 6.0, 3.0, 2.0))  # fmt: skip


def tartanair(root: Path) -> Tree:
    metres = CODES.astype(np.float32) / 10 + 1
    metres[0, 0], metres[0, 1] = 10000, np.nan
    for number in (0, 1):
        folder = root / "abandonedfactory/Easy/P000"
        picture(folder / f"image_left/{number:06d}_left.png")
        (folder / "depth_left").mkdir(exist_ok=True)
        np.save(folder / f"depth_left/{number:06d}_left_depth.npy", metres)
    sky, valid = metres >= 5000, np.isfinite(metres)
    folder_name = "abandonedfactory/Easy/P000"
    return _tree("tartanair", "train", f"{folder_name}/image_left/000000_left.png",
                 f"{folder_name}/depth_left/000000_left_depth.npy",
                 np.where(valid & ~sky, 1 / metres, 0), valid, kind=INVERSE, sample=f"{folder_name}/000000_left",
                 group="abandonedfactory", intrinsics=(320.0, 320.0, 320.0, 240.0))  # fmt: skip


def irs(root: Path) -> Tree:
    import OpenEXR

    disparity = CODES.astype(np.float32) / 8
    scene = "IRSDataset/Home/RoyalRoom"
    lines = []
    for number in (7, 8):
        for side in "lr":
            picture(root / f"{scene}/{side}_{number}.png")
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        with OpenEXR.File(header, {"R": disparity}) as file:
            file.write(str(root / f"{scene}/d_{number}.exr"))
        lines.append(" ".join(f"{scene}/{name}" for name in (f"l_{number}.png", f"r_{number}.png", f"d_{number}.exr")))
    text(root / "lists/IRSDataset_TEST.list", "\t\n".join(lines) + "\n")
    return _tree("irs", "test", f"{scene}/l_7.png", f"{scene}/d_7.exr", disparity, disparity > 0, kind=RELATIVE,
                 sample=f"{scene}/l_7", group=f"test/{scene}", intrinsics=(480.0, 480.0, 479.5, 269.5))  # fmt: skip


def apolloscape(root: Path) -> Tree:
    for number in (1, 2):
        name = f"171206_03462545{number}"
        picture(root / f"stereo_train_001/camera_5/{name}_Camera_5.jpg")
        grey(root / f"stereo_train_001/disparity/{name}_Camera_5.png", CODES)
    part, name = "stereo_train_001", "171206_034625451"
    return _tree("apolloscape", "train", f"{part}/camera_5/{name}_Camera_5.jpg",
                 f"{part}/disparity/{name}_Camera_5.png", CODES, CODES > 0, kind=RELATIVE,
                 sample=f"{part}/{name}", group=part)  # fmt: skip


NEEDED = {"megadepth": "h5py", "irs": "OpenEXR", "sun_rgbd": "scipy"}
"""Optional packages that a tree is written and read with."""

TREES: dict[str, Callable[[Path], Tree]] = {
    function.__name__: function
    for function in (
        *(manifest, pairs, labels, nyuv2_bts, kitti, kitti_bts, ade20k, pascal_context, camvid, redweb, hrwsi, wsvd),
        *(megadepth, diml, diml_full, blendedmvs, tartanair, irs, apolloscape, diode, ibims_1, sun_rgbd),
    )
}
