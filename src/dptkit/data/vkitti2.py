"""Virtual KITTI 2: rendered driving, 1242x375, exact depth in metres.

Where from   https://europe.naverlabs.com/research/computer-vision/proxy-virtual-worlds-vkitti-2: vkitti_2.0.3_rgb.tar
             and vkitti_2.0.3_depth.tar, extracted into one folder
Licence      CC BY-NC-SA 3.0
Layout       ROOT/SceneNN/VARIATION/frames/rgb/Camera_N/rgb_NNNNN.jpg, .../depth/Camera_N/depth_NNNNN.png: 16-bit,
             centimetres, 65535 = sky and whatever is farther
Relied on    the data set's page; prs-eth/Marigold src/dataset/vkitti_dataset.py
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dptkit.data.pairs import Pair, PairedFiles, Target, check_split, depth_target, names_in, require_folder, subfolders
from dptkit.data.reading import read_codes
from dptkit.errors import DataError
from dptkit.image_io.names import printable

INTRINSICS = (725.0087, 725.0087, 620.5, 187.0)
"""(fx, fy, cx, cy) of both cameras."""

_FARTHEST = 65535


def open_vkitti2(
    root: Path,
    split: str,
    *,
    scenes: Sequence[str] | None = None,
    variations: Sequence[str] | None = None,
    cameras: Sequence[str] = ("Camera_0", "Camera_1"),
) -> PairedFiles:
    """Every frame of every scene and variation (such as clone or fog), or of those named; split all.

    A sample's group is SCENE/VARIATION/CAMERA. Raises DataError, MissingFilesError.
    """
    check_split("vkitti2", split, ("all",))
    require_folder("vkitti2", root, *(scenes or ()))
    pairs = []
    for scene in scenes or [name for name in subfolders(root) if name.startswith("Scene")]:
        for variation in variations or subfolders(root / scene):
            for camera in cameras:
                frames = f"{scene}/{variation}/frames"
                # Of both, so that one that is missing is missed.
                names = {(kind, name) for kind in ("rgb", "depth") for name in names_in(root / frames / kind / camera)}
                for number in sorted({Path(name).stem.removeprefix(f"{kind}_") for kind, name in names}):
                    depth = f"{frames}/depth/{camera}/depth_{number}.png"
                    group = f"{scene}/{variation}/{camera}"
                    image = f"{frames}/rgb/{camera}/rgb_{number}.jpg"
                    pairs.append(Pair(image, (depth,), f"{group}/{number}", group, decode_vkitti2, INTRINSICS))
    if not pairs:
        raise DataError(f"vkitti2: {printable(root)} has no SceneNN/VARIATION/frames/rgb/ with pictures")
    return PairedFiles("vkitti2", root, tuple(pairs)).require(split)


def decode_vkitti2(paths: Sequence[Path]) -> Target:
    """16-bit centimetres; 65535 is farther than that."""
    codes = read_codes(paths[0])
    return depth_target(np.where(codes < _FARTHEST, codes.astype(np.float64) / 100, 0))
