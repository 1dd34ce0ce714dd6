"""DDAD: driving in the USA and Japan, 1936x1216, LiDAR depth to 250 m in metres, six cameras around the car.

Where from   https://github.com/TRI-ML/DDAD: DDAD.tar (257 GB), whose folder ddad_train_val is ROOT
Licence      CC BY-NC-SA 4.0
Layouts      TRI's: ROOT/ddad.json with the scenes of each split; SCENE/scene_HASH.json with frames, files and poses;
             SCENE/rgb/CAMERA_0N/STAMP.png, SCENE/point_cloud/LIDAR/STAMP.npz, SCENE/calibration/HASH.json
             ZoeDepth's: ROOT/NAME_rgb.png and ROOT/NAME_depth.npy, metres, 0 = none; val only, which pictures they
             are is theirs to say
Relied on    TRI-ML/DDAD README.md (commit 0c3f814d); TRI-ML/dgp dgp/proto, dgp/datasets/base_dataset.py and
             generate_depth_map of dgp/utils/camera.py (commit 026234a7), which made the depth that papers score;
             zoedepth/data/ddad.py of ZoeDepth
Uncertain    nothing of this was checked against the data itself, but against the scene that dgp's own tests use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dptkit.data.pairs import (
    Intrinsics,
    Pair,
    PairedFiles,
    Target,
    check_split,
    depth_target,
    names_in,
    require_folder,
)
from dptkit.data.reading import read_json, read_npy, read_npz
from dptkit.data.tum import pose_matrix
from dptkit.errors import DataError
from dptkit.image_io.names import printable

INDEX = "ddad.json"
CAMERAS = ("CAMERA_01", "CAMERA_05", "CAMERA_06", "CAMERA_07", "CAMERA_08", "CAMERA_09")
"""CAMERA_01 looks ahead."""

_SPLITS = {"train": "0", "val": "1"}  # dgp/proto/dataset.proto
_LIDAR = "LIDAR"
_IMAGE, _DEPTH = "_rgb.png", "_depth.npy"

Matrix = npt.NDArray[np.float64]


def open_ddad(root: Path, split: str, *, cameras: Sequence[str] = CAMERAS[:1]) -> PairedFiles:
    """Split train (150 scenes) or val (50), with depth as dgp projects the frame's point cloud; the camera ahead.

    cameras: others too, of the six. Where `root` has no ddad.json but NAME_rgb.png, it is read as ZoeDepth's.
    A sample's group is SCENE/CAMERA. Raises DataError, MissingFilesError.
    """
    check_split("ddad", split, _SPLITS)
    require_folder("ddad", root)
    for camera in cameras:
        if camera not in CAMERAS:
            raise DataError(f"ddad: no camera {camera!r}; there are {', '.join(CAMERAS)}")
    pairs = _Tree(root).pairs(split, cameras) if (root / INDEX).is_file() else _flat(root, split)
    return PairedFiles("ddad", root, tuple(pairs)).require(split)


def decode_cloud(paths: Sequence[Path], size: tuple[int, int], camera: Intrinsics, to_camera: Matrix) -> Target:
    """A point cloud -> depth [H, W] as a camera sees it, invalid where no point lands.

    size: (height, width). to_camera: [4, 4], the point cloud's frame to the camera's. As in dgp fractions of pixels
    are cut off, and of several points on one pixel the last one in the file counts.
    """
    points = _points(paths[0]) @ to_camera[:3, :3].T + to_camera[:3, 3]
    x, y, z = points[points[:, 2] > 0].T
    fx, fy, cx, cy = camera
    columns, rows = np.trunc(fx * x / z + cx), np.trunc(fy * y / z + cy)
    inside = (columns >= 0) & (columns < size[1]) & (rows >= 0) & (rows < size[0])
    depth = np.zeros(size)
    depth[rows[inside].astype(np.int64), columns[inside].astype(np.int64)] = z[inside]
    return depth_target(depth)


def decode_metres(paths: Sequence[Path]) -> Target:
    """An array of metres, 0 = none."""
    return depth_target(read_npy(paths[0]))


def _points(path: Path) -> Matrix:
    """[P, 3] of the array `data`: columns X, Y, Z and more, or fields of these names."""
    data = read_npz(path, "data")
    if data.dtype.names is not None and {"X", "Y", "Z"} <= set(data.dtype.names):
        data = np.stack([data[axis].ravel() for axis in "XYZ"], axis=1)
    if data.dtype.kind not in "fiu" or data.ndim != 2 or data.shape[1] < 3:
        raise DataError(f"{printable(path)}: points X, Y, Z are needed, not {data.dtype} {data.shape}")
    return data[:, :3].astype(np.float64)


class _Tree:
    """TRI's layout."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._calibration = lru_cache(maxsize=None)(self._read_calibration)

    def pairs(self, split: str, cameras: Sequence[str]) -> Iterator[Pair]:
        path = self._root / INDEX
        for name in _field(path, read_json(path), "scene_splits", _SPLITS[split], "filenames"):
            try:
                yield from self._scene(self._root / str(name), str(name).rpartition("/")[0], cameras)
            except (TypeError, ValueError, AttributeError) as error:
                where = printable(self._root / str(name))
                raise DataError(f"{where}: not a scene as dgp lays it out ({error})") from error

    def _scene(self, path: Path, scene: str, cameras: Sequence[str]) -> Iterator[Pair]:
        content = read_json(path)
        data = {_field(path, datum, "key"): datum for datum in _field(path, content, "data")}
        for sample in _field(path, content, "samples"):
            present = [data[key] for key in _field(path, sample, "datum_keys") if key in data]
            sensors = {_field(path, datum, "id", "name"): _field(path, datum, "datum") for datum in present}
            calibration = self._calibration(scene, _field(path, sample, "calibration_key"))
            for camera in cameras:
                yield self._pair(path, scene, camera, sensors, calibration)

    def _pair(
        self,
        path: Path,
        scene: str,
        camera: str,
        sensors: Mapping[str, Any],
        calibration: Mapping[str, Intrinsics],
    ) -> Pair:
        cloud = _field(path, sensors, _LIDAR, "point_cloud")
        image = _field(path, sensors, camera, "image")
        file = str(_field(path, image, "filename"))
        pose, of_cloud = (_pose(_field(path, datum, "pose")) for datum in (image, cloud))
        size = int(_field(path, image, "height")), int(_field(path, image, "width"))
        if camera not in calibration:
            raise DataError(f"{printable(path)}: its calibration does not name {camera}")
        intrinsics = calibration[camera]
        decode = partial(decode_cloud, size=size, camera=intrinsics, to_camera=np.linalg.inv(pose) @ of_cloud)
        group = f"{scene}/{camera}"
        target = f"{scene}/{_field(path, cloud, 'filename')}"
        name = f"{group}/{Path(file).stem}"
        return Pair(f"{scene}/{file}", (target,), name, group, decode, intrinsics, camera_pose=pose)

    def _read_calibration(self, scene: str, key: str) -> dict[str, Intrinsics]:
        path = self._root / scene / "calibration" / f"{key}.json"
        content = read_json(path)
        names, intrinsics = _field(path, content, "names"), _field(path, content, "intrinsics")
        return {
            str(name): tuple(float(_field(path, one, key)) for key in ("fx", "fy", "cx", "cy"))  # type: ignore[misc]
            for name, one in zip(names, intrinsics, strict=False)
        }


def _field(path: Path, content: Any, *keys: str) -> Any:
    """content[key][key]... Raises DataError naming the first that is not there."""
    for key in keys:
        if not isinstance(content, Mapping) or key not in content:
            raise DataError(f"{printable(path)}: has no {key!r} where one belongs")
        content = content[key]
    return content


def _pose(pose: Any) -> Matrix:
    """[4, 4], sensor to world; protobuf may leave zeros out, and a rotation of nothing but zeros is none."""
    place, turn = pose.get("translation") or {}, pose.get("rotation") or {}
    quaternion = [float(turn.get(key, 0)) for key in ("qx", "qy", "qz", "qw")]
    return pose_matrix([float(place.get(axis, 0)) for axis in "xyz"], quaternion if any(quaternion) else (0, 0, 0, 1))


def _flat(root: Path, split: str) -> Iterator[Pair]:
    names = names_in(root)
    # Of both, so that one that is missing is missed.
    stems = {name.removesuffix(end) for end in (_IMAGE, _DEPTH) for name in names if name.endswith(end)}
    if not stems:
        raise DataError(f"ddad: {printable(root)} has neither {INDEX} (TRI's layout) nor NAME{_IMAGE} (ZoeDepth's)")
    if split != "val":
        raise DataError(f"ddad: {printable(root)} is laid out as ZoeDepth's, which is split val only, not {split!r}")
    for stem in sorted(stems):
        yield Pair(f"{stem}{_IMAGE}", (f"{stem}{_DEPTH}",), stem, "", decode_metres)
