"""What rendering yields: a picture with its exact ground truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class RenderedScene:
    """One picture with ground truth of the same size.

    image: uint8 RGB [H, W, 3].
    depth_m: float32 [H, W], metres along the optical axis; infinity for the sky.
    normals: float32 [H, W, 3], unit length, in the camera frame (x right, y down, z ahead), towards the camera; 0
        for the sky.
    instances: int32 [H, W], one number per thing, 0 for the sky. Each thing has one class.
    labels: uint8 [H, W], see CLASS_NAMES.
    intrinsics: (fx, fy, cx, cy) in pixels; the centre of the first pixel is at (0, 0).
    camera_pose: float64 [4, 4], camera to world, world z up.
    kind: what was drawn, one of KINDS.
    """

    image: npt.NDArray[np.uint8]
    depth_m: npt.NDArray[np.float32]
    normals: npt.NDArray[np.float32]
    instances: npt.NDArray[np.int32]
    labels: npt.NDArray[np.uint8]
    intrinsics: tuple[float, float, float, float]
    camera_pose: npt.NDArray[np.float64]
    kind: str

    @property
    def inverse_depth(self) -> npt.NDArray[np.float32]:
        """float32 [H, W], 1/m; 0 for the sky."""
        return (1 / self.depth_m).astype(np.float32)
