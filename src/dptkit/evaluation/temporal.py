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

from dptkit.evaluation.depth_pixels import STRIP
from dptkit.image_io.strips import row_strips

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Intrinsics = tuple[float, float, float, float]


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
    scratch = Scratch()
    errors = [error for pair in pairwise(frames) for error in _both_ways(*pair, intrinsics, scratch)]
    return _mean_of_present(errors)


@dataclass(frozen=True, eq=False)
class Frame:
    """depth [H, W], pose [4, 4], and the pixels that are compared; as of `temporal_alignment_error`."""

    depth: Array
    pose: Array
    valid: Mask | None = None


class Scratch:
    """Memory for warped maps, used again from frame to frame: to be given it anew can take longer than to warp."""

    def __init__(self) -> None:
        self._values: Array = np.empty(0)

    def of_size(self, count: int) -> Array:
        """[count], with any values; the same memory as before, if it was as much."""
        if len(self._values) != count:
            self._values = np.empty(count)
        return self._values


def frame_pair_error(before: Frame, after: Frame, intrinsics: Intrinsics, scratch: Scratch | None = None) -> float:
    """What two successive frames add to the sum: the mean of both directions; NaN where nothing lands on anything.

    The mean over a video's pairs is `temporal_alignment_error`, if both directions of each have a value.
    """
    return _mean_of_present(_both_ways(before, after, intrinsics, scratch))


def _both_ways(before: Frame, after: Frame, intrinsics: Intrinsics, scratch: Scratch | None) -> tuple[float, float]:
    forth = np.asarray(np.linalg.inv(after.pose) @ before.pose, np.float64)
    back = np.asarray(np.linalg.inv(forth), np.float64)
    return (
        reprojection_error(before.depth, after.depth, intrinsics, forth, valid=after.valid, scratch=scratch),
        reprojection_error(after.depth, before.depth, intrinsics, back, valid=before.valid, scratch=scratch),
    )


def _mean_of_present(errors: Sequence[float]) -> float:
    seen = [error for error in errors if not np.isnan(error)]
    return float(np.mean(seen)) if seen else nan


def reprojection_error(
    source: Array,
    target: Array,
    intrinsics: Intrinsics,
    source_to_target: Array,
    *,
    valid: Mask | None = None,
    scratch: Scratch | None = None,
) -> float:
    """e(source -> target) of the module's formula; NaN where nothing lands on a valid pixel.

    source_to_target: [4, 4], camera to camera. valid: of the target.
    """
    warped = warp_depth(source, intrinsics, source_to_target, scratch)
    _check(target)
    if target.shape != source.shape or (valid is not None and valid.shape != source.shape):
        raise ValueError(f"frames must have one size, not {source.shape} and {target.shape}")
    total, count = 0.0, 0
    for rows in row_strips(len(source), source.shape[1], STRIP):
        error, there = warped[rows], target[rows]
        seen = np.isfinite(error)
        if valid is not None:
            seen &= valid[rows]
        error -= there
        np.abs(error, out=error)
        error /= there
        error[~seen] = 0
        total += float(error.sum())
        count += int(np.count_nonzero(seen))
    return total / count if count else nan


def warp_depth(depth: Array, intrinsics: Intrinsics, source_to_target: Array, scratch: Scratch | None = None) -> Array:
    """[H, W]: depth as another camera of the same intrinsics sees it; infinity where nothing lands.

    scratch: where the result lies, until the next call with it.
    """
    _check(depth)
    # A pixel (x, y) of depth d lands on (u / z, v / z), where (u, v, z) = matrix @ (x, y, 1) * d + offset.
    matrix, offset = _homography(intrinsics, np.asarray(source_to_target, np.float64))
    height, width = depth.shape
    strips = list(row_strips(height, width, STRIP))
    columns = np.arange(width, dtype=np.float64)
    rows = np.arange(strips[0].stop, dtype=np.float64)[:, None]
    top = [m[0] * columns + (m[1] * rows + m[2]) for m in matrix]  # of the uppermost strip; further down m[1] is added
    nowhere = height * width  # a place of its own for what is behind the camera or beside the picture
    seen = (scratch or Scratch()).of_size(nowhere + 1)
    seen.fill(np.inf)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # behind the camera
        for strip in strips:
            part = depth[strip]
            u, v, z = (rays[: len(part)] + m[1] * strip.start for rays, m in zip(top, matrix, strict=True))
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
