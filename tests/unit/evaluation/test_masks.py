"""Rectangles that count: numbers worked out by hand from those in BTS's eval_with_pngs.py."""

from __future__ import annotations

import numpy as np
import pytest

from dptkit.data import kitti
from dptkit.evaluation.masks import crop_window, evaluation_mask, kitti_benchmark_window
from dptkit.evaluation.protocol import EvaluationMask, PictureCrop


@pytest.mark.parametrize(
    ("kind", "size", "rectangle"),
    [
        ("none", (7, 9), (0, 7, 0, 9)),
        ("eigen_nyu", (480, 640), (45, 471, 41, 601)),
        ("eigen_nyu", (100, 640), (45, 100, 41, 601)),
        # 153.04, 371.96, 44.65, 1197.35
        ("garg", (375, 1242), (153, 371, 44, 1197)),
        # 124.66, 342.57, 44.65, 1197.35
        ("eigen_kitti", (375, 1242), (124, 342, 44, 1197)),
        # 151.0000007, 366.9999993, 43.99999704, 1180.000003: fractions are cut off, not rounded
        ("garg", (370, 1224), (151, 366, 43, 1180)),
        # 122.999988, 337.9999987, 43.9999848, 1180.000003
        ("eigen_kitti", (370, 1224), (122, 337, 43, 1180)),
    ],
)
def test_rectangles(kind: EvaluationMask, size: tuple[int, int], rectangle: tuple[int, int, int, int]) -> None:
    mask = evaluation_mask(kind, size)
    assert mask.shape == size
    assert mask.dtype == np.bool_
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1) == rectangle
    assert mask.sum() == len(rows) * len(columns)


@pytest.mark.parametrize("size", [(375, 1242), (370, 1224), (370, 1226), (374, 1238), (376, 1241)])
@pytest.mark.parametrize("kind", ["garg", "eigen_kitti"])
def test_kittis_masks_lie_within_the_benchmarks_window(kind: EvaluationMask, size: tuple[int, int]) -> None:
    """So that a cropped prediction covers all that counts, for every size that KITTI's raw pictures have."""
    top, left, height, width = kitti_benchmark_window(size)
    outside = evaluation_mask(kind, size)
    outside[top : top + height, left : left + width] = False
    assert not outside.any()


def test_window_of_the_benchmark() -> None:
    assert kitti_benchmark_window((375, 1242)) == (23, 13, 352, 1216)
    assert kitti_benchmark_window((376, 1241)) == (24, 12, 352, 1216)
    assert kitti_benchmark_window(kitti.KB_SIZE) == (0, 0, 352, 1216)
    with pytest.raises(ValueError, match="1216x351 pixels are less than 1216x352"):
        kitti_benchmark_window((351, 1216))


@pytest.mark.parametrize(
    ("kind", "size", "window"),
    [
        ("none", (7, 9), (0, 0, 7, 9)),
        ("eigen_nyu", (480, 640), (45, 41, 426, 560)),
        ("scannet_border", (480, 640), (8, 11, 464, 618)),
        # What Video Depth Anything makes of KITTI's sizes.
        ("even_sides", (375, 1242), (0, 0, 374, 1242)),
        ("even_sides", (376, 1241), (0, 0, 376, 1240)),
    ],
)
def test_windows_of_crops(kind: PictureCrop, size: tuple[int, int], window: tuple[int, int, int, int]) -> None:
    assert crop_window(kind, size) == window
    if kind == "eigen_nyu":  # what is seen is what the mask of this name counts
        top, left, height, width = window
        mask = evaluation_mask("eigen_nyu", size)
        assert mask[top : top + height, left : left + width].all()
        assert mask.sum() == height * width


@pytest.mark.parametrize(
    ("kind", "size", "message"),
    [
        ("eigen_nyu", (471, 600), "600x471 pixels are less than the crop eigen_nyu needs, 601x471"),
        ("scannet_border", (16, 640), "scannet_border leaves nothing of 640x16 pixels"),
        ("even_sides", (1, 4), "even_sides leaves nothing of 4x1 pixels"),
        ("eigen", (480, 640), "no crop 'eigen'"),
    ],
)
def test_pictures_that_are_too_small_for_a_crop(kind: PictureCrop, size: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        crop_window(kind, size)


def test_what_leaves_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="eigen_nyu leaves nothing of 640x45 pixels"):
        evaluation_mask("eigen_nyu", (45, 640))
    with pytest.raises(ValueError, match="no evaluation mask 'gerg'"):
        evaluation_mask("gerg", (480, 640))  # type: ignore[arg-type]
