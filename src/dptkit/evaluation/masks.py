"""Which part of a picture the network sees, and which pixels count.

Masks are the rectangles of Eigen et al. 2014 and Garg et al. 2016, as cleinc/bts crops: numbers and rounding are those
of its utils/eval_with_pngs.py. They are for the whole truth, before any crop of KITTI's benchmark: BTS lays the cropped
prediction back into a picture of full size first.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dptkit.data.kitti import kitti_benchmark_window
from dptkit.evaluation.protocol import EvaluationMask, PictureCrop

__all__ = ["crop_window", "evaluation_mask", "kitti_benchmark_window"]

Mask = npt.NDArray[np.bool_]
Window = tuple[int, int, int, int]
"""(top, left, height, width)."""

_EIGEN_NYU = (45, 471, 41, 601)
_SHARES: dict[EvaluationMask, tuple[float, float, float, float]] = {
    "eigen_kitti": (0.3324324, 0.91351351, 0.0359477, 0.96405229),
    "garg": (0.40810811, 0.99189189, 0.03594771, 0.96405229),
}
_SCANNET_BORDER = (8, 11)


def crop_window(kind: PictureCrop, size: tuple[int, int]) -> Window:
    """What a crop leaves of a picture. size: (height, width).

    Raises ValueError for a picture that is too small, and for an unknown kind.
    """
    height, width = size
    if kind == "none":
        return 0, 0, height, width
    if kind == "kitti_benchmark":
        return kitti_benchmark_window(size)
    if kind == "even_sides":
        window = (0, 0, height // 2 * 2, width // 2 * 2)
    elif kind == "scannet_border":
        rows, columns = _SCANNET_BORDER
        window = (rows, columns, height - 2 * rows, width - 2 * columns)
    elif kind == "eigen_nyu":
        top, bottom, left, right = _EIGEN_NYU
        window = (top, left, bottom - top, right - left)
        if height < bottom or width < right:
            raise ValueError(f"{width}x{height} pixels are less than the crop {kind} needs, {right}x{bottom}")
    else:
        raise ValueError(f"no crop {kind!r}")
    if window[2] < 1 or window[3] < 1:
        raise ValueError(f"the crop {kind} leaves nothing of {width}x{height} pixels")
    return window


def evaluation_mask(kind: EvaluationMask, size: tuple[int, int]) -> Mask:
    """bool [H, W], True where pixels count. size: (height, width) of the whole truth.

    eigen_nyu is in pixels whatever the size (as ZoeDepth uses it for other data sets); what lies outside is cut off.
    Raises ValueError where no pixel is left, and for an unknown kind.
    """
    height, width = size
    if kind == "none":
        top, bottom, left, right = 0, height, 0, width
    elif kind == "eigen_nyu":
        top, bottom, left, right = _EIGEN_NYU
    elif kind in _SHARES:
        shares = _SHARES[kind]
        top, bottom = (int(share * height) for share in shares[:2])
        left, right = (int(share * width) for share in shares[2:])
    else:
        raise ValueError(f"no evaluation mask {kind!r}; there are none, eigen_nyu, {', '.join(_SHARES)}")
    mask = np.zeros((height, width), np.bool_)
    mask[top:bottom, left:right] = True
    if not mask.any():
        raise ValueError(f"evaluation mask {kind} leaves nothing of {width}x{height} pixels")
    return mask
