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


ZERO_SHOT_TREES: dict[str, Callable[[Path], Tree]] = {"eth3d": eth3d, "sintel": sintel, "tum": tum}
ORDINAL_TREES: dict[str, Callable[[Path], None]] = {"diw": diw, "da-2k": da2k}
