"""Where the picture is taken from: pose, field of view, rays, and smooth paths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dptkit.data.procedural.compiled import compiled_strictly
from dptkit.data.procedural.draw import Draw

Floats = npt.NDArray[np.float64]


def heading(yaw: float, pitch: float = 0.0) -> Floats:
    """Unit vector [3]: yaw from +y to the right, pitch upwards, radians."""
    return np.array([math.sin(yaw) * math.cos(pitch), math.cos(yaw) * math.cos(pitch), math.sin(pitch)])


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole at `position` looking along `forward` (world, z up), rolled, with a horizontal field of view.

    position, forward: float64 [3]. roll, fov: radians.
    """

    position: Floats
    forward: Floats
    fov: float
    roll: float = 0.0

    @staticmethod
    def looking(
        position: Sequence[float] | Floats, forward: Sequence[float] | Floats, fov: float, roll: float = 0
    ) -> Camera:
        return Camera(np.array(position, float), np.array(forward, float), fov, roll)

    def axes(self) -> Floats:
        """[3, 3], columns right, down, forward in the world: the camera frame, x right, y down, z ahead."""
        ahead = self.forward / np.linalg.norm(self.forward)
        right = np.cross(ahead, (0.0, 0.0, 1.0))
        if np.linalg.norm(right) < 1e-6:  # straight up or down
            right = np.array([1.0, 0.0, 0.0])
        right /= np.linalg.norm(right)
        down = np.cross(ahead, right)
        c, s = math.cos(self.roll), math.sin(self.roll)
        return np.stack([right * c + down * s, down * c - right * s, ahead], 1)

    def pose(self) -> Floats:
        """[4, 4], camera to world."""
        pose = np.eye(4)
        pose[:3, :3] = self.axes()
        pose[:3, 3] = self.position
        return pose

    def intrinsics(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """(fx, fy, cx, cy) in pixels; the centre of the first pixel is at (0, 0)."""
        height, width = size
        focal = width / 2 / math.tan(self.fov / 2)
        return (focal, focal, (width - 1) / 2, (height - 1) / 2)

    def rays(self, size: tuple[int, int], step: int = 1) -> npt.NDArray[np.float32]:
        """Directions float32 [N, 3] of every `step`th pixel, row by row, of length 1 along the optical axis: the
        distance along them is depth."""
        fx, fy, cx, cy = self.intrinsics(size)
        right, down, ahead = self.axes().T
        across = (np.arange(0, size[1], step) - cx) / fx
        below = (np.arange(0, size[0], step) - cy) / fy
        rays = np.empty((len(below) * len(across), 3), np.float32)
        _fill_rays(ahead, right, down, across, below, rays)
        return rays


@compiled_strictly
def _fill_rays(ahead: Any, right: Any, down: Any, across: Any, below: Any, rays: Any) -> None:
    for y in range(below.shape[0]):
        for x in range(across.shape[0]):
            for c in range(3):
                rays[y * across.shape[0] + x, c] = ahead[c] + across[x] * right[c] + below[y] * down[c]


def camera_path(start: Camera, frames: int, reach: float, draw: Draw) -> list[Camera]:
    """`frames` cameras on a smooth curve from `start`, no further than `reach` metres from it."""
    right, down, ahead = start.axes().T
    amount = reach * np.array([draw.normal(0.5), draw.normal(0.2), draw.between(-0.3, 1.0)]).clip(-1, 1) / 2
    turn, nod, sway = draw.normal(0.12), draw.normal(0.05), draw.normal(0.03)
    phase = draw.angle()
    path = []
    for k in range(frames):
        t = k / max(frames - 1, 1)
        eased = t * t * (3 - 2 * t)
        wave = math.sin(phase + 4 * t) - math.sin(phase)
        move = right * amount[0] * eased + down * amount[1] * 0.5 * wave + ahead * amount[2] * eased
        look = ahead + right * turn * eased + down * nod * wave
        path.append(replace(start, position=start.position + move, forward=look, roll=start.roll + sway * wave))
    return path
