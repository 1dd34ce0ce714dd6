"""Does depth of a video hold still: the temporal alignment error of Video Depth Anything.

    TAE = 1 / (2 (N - 1)) * sum over k of  e(k -> k + 1) + e(k + 1 -> k),    e(a -> b) = mean |D_ab - D_b| / D_b

D_ab is frame a's depth as frame b would see it: each pixel is lifted by the intrinsics, moved by the poses, projected
and rounded to the nearest pixel of b; the mean is over pixels of b that something lands on.
Source: Chen et al. 2025 (arXiv 2501.12375), benchmark/eval/eval_tae.py in its repository, which prints it times 100.
Departures: where several points land on one pixel, the nearest is kept (there, whichever was written last); points
behind the camera are left out before they can land; a direction in which nothing lands is left out of the mean (there,
it counts as 0, so that a camera that jumps looks steady).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import nan

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Intrinsics = tuple[float, float, float, float]

_PIXELS = 10_240
"""Warped at a time: arrays of 80 kB stay in the processor's cache, and their memory is used again."""


def temporal_alignment_error(
    depths: Sequence[Array],
    intrinsics: Intrinsics,
    poses: Sequence[Array],
    *,
    valid: Sequence[Mask] | None = None,
) -> float:
    """TAE of one video, a share, lower is better; NaN for less than two frames and where nothing lands on anything.

    depths: predicted depth [H, W] of each frame, above 0, after the alignment of the whole video.
    intrinsics: (fx, fy, cx, cy) in pixels of these maps. poses: [4, 4] of each frame, camera to world, with
        translations in the unit of the depths. valid: pixels that are compared; all if None.
    Raises ValueError where numbers of frames or shapes differ, or depth is not finite and above 0.
    """
    masks = [np.ones(depth.shape, np.bool_) for depth in depths] if valid is None else valid
    if not len(depths) == len(poses) == len(masks):
        raise ValueError(
            f"as many depths, poses and masks are needed, not {len(depths)}, {len(poses)} and {len(masks)}"
        )
    frames = [Frame(*each) for each in zip(depths, poses, masks, strict=True)]
    errors = [error for pair in pairwise(frames) for error in _both_ways(*pair, intrinsics)]
    return _mean_of_present(errors)


@dataclass(frozen=True, eq=False)
class Frame:
    """depth [H, W], pose [4, 4], and the pixels that are compared; as of `temporal_alignment_error`."""

    depth: Array
    pose: Array
    valid: Mask | None = None


def frame_pair_error(before: Frame, after: Frame, intrinsics: Intrinsics) -> float:
    """What two successive frames add to the sum: the mean of both directions; NaN where nothing lands on anything.

    The mean over a video's pairs is `temporal_alignment_error`, if both directions of each have a value.
    """
    return _mean_of_present(_both_ways(before, after, intrinsics))


def _both_ways(before: Frame, after: Frame, intrinsics: Intrinsics) -> tuple[float, float]:
    forth = np.asarray(np.linalg.inv(after.pose) @ before.pose, np.float64)
    back = np.asarray(np.linalg.inv(forth), np.float64)
    return (
        reprojection_error(before.depth, after.depth, intrinsics, forth, valid=after.valid),
        reprojection_error(after.depth, before.depth, intrinsics, back, valid=before.valid),
    )


def _mean_of_present(errors: Sequence[float]) -> float:
    seen = [error for error in errors if not np.isnan(error)]
    return float(np.mean(seen)) if seen else nan


def reprojection_error(
    source: Array, target: Array, intrinsics: Intrinsics, source_to_target: Array, *, valid: Mask | None = None
) -> float:
    """e(source -> target) of the module's formula; NaN where nothing lands on a valid pixel.

    source_to_target: [4, 4], camera to camera. valid: of the target.
    """
    warped = warp_depth(source, intrinsics, source_to_target)
    _check(target)
    if target.shape != source.shape or (valid is not None and valid.shape != source.shape):
        raise ValueError(f"frames must have one size, not {source.shape} and {target.shape}")
    seen = np.isfinite(warped) if valid is None else np.isfinite(warped) & valid
    error = np.subtract(warped, target, out=warped)
    np.abs(error, out=error)
    error /= target
    return float(np.mean(error[seen])) if seen.any() else nan


def warp_depth(depth: Array, intrinsics: Intrinsics, source_to_target: Array) -> Array:
    """[H, W]: depth as another camera of the same intrinsics sees it; infinity where nothing lands."""
    _check(depth)
    # A pixel (x, y) of depth d lands on (u / z, v / z), where (u, v, z) = matrix @ (x, y, 1) * d + offset.
    matrix, offset = _homography(intrinsics, np.asarray(source_to_target, np.float64))
    height, width = depth.shape
    columns = np.arange(width, dtype=np.float64)
    nowhere = height * width  # a place of its own for what is behind the camera or beside the picture
    seen = np.full(nowhere + 1, np.inf)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # behind the camera
        step = max(1, _PIXELS // width)
        for top in range(0, height, step):
            part = depth[top : top + step]
            rows = np.arange(top, top + len(part), dtype=np.float64)[:, None]
            u, v, z = (m[0] * columns + (m[1] * rows + m[2]) for m in matrix)
            for coordinate, moved in zip((u, v, z), offset, strict=True):
                coordinate *= part
                coordinate += moved
            nearness = np.reciprocal(z)
            for coordinate in (u, v):
                coordinate *= nearness
                np.rint(coordinate, out=coordinate)
            inside = (u >= 0) & (u < width) & (v >= 0) & (v < height) & (z > 0)
            v *= width
            v += u
            v[~inside] = nowhere
            # One flat index: numpy has no fast path for two.
            np.minimum.at(seen, v.astype(np.intp).ravel(), z.ravel())
    return seen[:-1].reshape(depth.shape)


def _homography(intrinsics: Intrinsics, motion: Array) -> tuple[Array, Array]:
    """K R K^-1 [3, 3] and K t [3] of a motion [4, 4] = (R, t) and the camera matrix K."""
    fx, fy, cx, cy = intrinsics
    camera = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    inverse = np.array([[1 / fx, 0, -cx / fx], [0, 1 / fy, -cy / fy], [0, 0, 1]])
    return camera @ motion[:3, :3] @ inverse, camera @ motion[:3, 3]


def _check(depth: Array) -> None:
    if depth.ndim != 2 or not (depth.min() > 0 and depth.max() < np.inf):  # NaN is neither
        raise ValueError(f"depth of a frame must be finite and above 0, [H, W], not {depth.shape}")
