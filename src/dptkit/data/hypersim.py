"""Hypersim: rendered rooms, 1024x768, exact distance in metres, here as depth along the axis.

Where from   https://github.com/apple/ml-hypersim: one archive a scene, and metadata_images_split_scene_v1.csv
Licence      CC BY-SA 3.0
Layout       ROOT/ai_VVV_NNN/images/scene_cam_NN_final_preview/frame.NNNN.tonemap.jpg,
             .../scene_cam_NN_geometry_hdf5/frame.NNNN.depth_meters.hdf5: distance from the camera's centre, NaN = none;
             ROOT/metadata_images_split_scene_v1.csv with the columns scene_name, camera_name, frame_id,
             included_in_public_release and split_partition_name
Relied on    the repository's README; depth = distance / |ray| with a focal length of 886.81 pixels, as users compute it
             (apple/ml-hypersim#9; DepthAnything/Depth-Anything-V2 metric_depth/dataset/hypersim.py)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dptkit.data.pairs import Pair, PairedFiles, Target, check_split, depth_target, require_file, require_folder
from dptkit.data.reading import read_h5, read_table

SPLIT_FILE = "metadata_images_split_scene_v1.csv"
FOCAL = 886.81
"""Pixels, at a width of 1024."""

_WIDTH = 1024
_COLUMNS = ("scene_name", "camera_name", "frame_id", "included_in_public_release", "split_partition_name")


def open_hypersim(root: Path, split: str) -> PairedFiles:
    """Split train, val or test of the official file; pictures that were not released are not among them.

    A sample's group is its scene. Needs h5py. Raises DataError, MissingFilesError.
    """
    check_split("hypersim", split, ("train", "val", "test"))
    require_folder("hypersim", root)
    hint = "the official split, in apple/ml-hypersim evermotion_dataset/analysis/"
    path = require_file("hypersim", root, SPLIT_FILE, hint)
    pairs = []
    for row in read_table(path, _COLUMNS):
        if row["split_partition_name"] != split or row["included_in_public_release"].lower() != "true":
            continue
        scene, camera = row["scene_name"], row["camera_name"]
        frame = f"frame.{int(row['frame_id']):04d}"
        below = f"{scene}/images/scene_{camera}"
        image = f"{below}_final_preview/{frame}.tonemap.jpg"
        depth = f"{below}_geometry_hdf5/{frame}.depth_meters.hdf5"
        pairs.append(Pair(image, (depth,), f"{scene}/{camera}/{frame}", scene, decode_hypersim))
    return PairedFiles("hypersim", root, tuple(pairs)).require(split)


def decode_hypersim(paths: Sequence[Path]) -> Target:
    """Distance in metres -> depth along the axis."""
    distance = read_h5(paths[0], "dataset").astype(np.float64)
    return depth_target(distance / ray_lengths((distance.shape[0], distance.shape[1])))


def ray_lengths(size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """[H, W]: distance divided by depth, of pixels whose centre of projection is the picture's."""
    height, width = size
    focal = FOCAL * width / _WIDTH
    x = np.arange(width) - (width - 1) / 2
    y = np.arange(height) - (height - 1) / 2
    return np.sqrt(x[None, :] ** 2 + y[:, None] ** 2 + focal**2) / focal
