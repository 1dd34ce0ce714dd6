"""Temporal alignment error: planes and cameras whose answer is known."""

from __future__ import annotations

from math import isnan

import numpy as np
import numpy.typing as npt
import pytest

from dptkit.evaluation.temporal import reprojection_error, temporal_alignment_error, warp_depth

Array = npt.NDArray[np.float64]
CAMERA = (8.0, 8.0, 3.5, 3.5)
SIZE = (8, 8)


def pose(x: float = 0, y: float = 0, z: float = 0, turn: float = 0) -> Array:
    """Camera to world: moved, and turned to the right about the vertical axis."""
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    matrix[[0, 0, 2, 2], [0, 2, 0, 2]] = np.cos(turn), np.sin(turn), -np.sin(turn), np.cos(turn)
    return matrix


def wall(distance: float) -> Array:
    return np.full(SIZE, distance)


def test_by_hand() -> None:
    still = [pose(), pose()]
    assert temporal_alignment_error([wall(1), wall(1)], CAMERA, still) == 0
    # there |1 - 2| / 2, back |2 - 1| / 1
    assert temporal_alignment_error([wall(1), wall(2)], CAMERA, still) == pytest.approx((0.5 + 1) / 2)
    # two pairs, of which the second is perfect
    video = [wall(1), wall(2), wall(2)]
    assert temporal_alignment_error(video, CAMERA, [pose()] * 3) == pytest.approx((0.5 + 1 + 0 + 0) / 4)


def test_a_camera_that_drives_towards_a_wall() -> None:
    """Poses are camera to world: after 1 m forward a wall at 5 m is at 4 m, not at 6 m."""
    poses = [pose(), pose(z=1)]
    assert temporal_alignment_error([wall(5), wall(4)], CAMERA, poses) == pytest.approx(0, abs=1e-12)
    # Depth that did not change: there |4 - 5| / 5, back |6 - 5| / 5.
    assert temporal_alignment_error([wall(5), wall(5)], CAMERA, poses) == pytest.approx(0.2)
    # The same in other units of length throughout.
    poses[1][:3, 3] *= 10
    assert temporal_alignment_error([wall(50), wall(50)], CAMERA, poses) == pytest.approx(0.2)


def test_a_camera_that_moves_aside_sees_the_picture_shifted() -> None:
    columns = np.indices(SIZE)[1]
    depth = wall(2) + 0.001 * columns
    # 0.5 m to the right at 2 m with a focal length of 8 pixels: 2 pixels to the left.
    warped = warp_depth(depth, CAMERA, np.linalg.inv(pose(x=0.5)))
    np.testing.assert_allclose(warped[:, :-2], depth[:, 2:])
    assert np.isinf(warped[:, -2:]).all()


def test_the_nearest_of_what_lands_on_a_pixel_is_seen() -> None:
    depth = wall(4)
    depth[:, 3] = 2  # 0.5 m aside is 2 pixels at 2 m, 1 pixel at 4 m
    warped = warp_depth(depth, CAMERA, np.linalg.inv(pose(x=0.5)))
    assert warped[0].tolist() == [4, 2, np.inf, 4, 4, 4, 4, np.inf]  # column 2's far wall is hidden behind the post


def test_what_is_behind_the_camera_and_what_nothing_meets() -> None:
    about_turn = [pose(), pose(turn=np.pi)]
    assert np.isinf(warp_depth(wall(5), CAMERA, np.linalg.inv(about_turn[1]))).all()
    assert isnan(temporal_alignment_error([wall(5), wall(5)], CAMERA, about_turn))
    # A pair without overlap is left out, it is not perfect.
    video, poses = [wall(1), wall(2), wall(2)], [pose(), pose(), pose(turn=np.pi)]
    assert temporal_alignment_error(video, CAMERA, poses) == pytest.approx((0.5 + 1) / 2)


def test_only_valid_pixels_are_compared() -> None:
    changed = wall(1)
    changed[2, 3] = 9
    masks = [changed == 1] * 2
    assert temporal_alignment_error([wall(1), changed], CAMERA, [pose()] * 2) > 0
    assert temporal_alignment_error([wall(1), changed], CAMERA, [pose()] * 2, valid=masks) == 0
    nothing = np.zeros(SIZE, np.bool_)
    assert isnan(reprojection_error(wall(1), wall(1), CAMERA, np.eye(4), valid=nothing))


def test_plain_loops_agree() -> None:
    rng = np.random.default_rng(0)
    fx, fy, cx, cy = camera = (9.0, 7.0, 4.2, 2.9)
    a, b = rng.uniform(2, 4, (2, 6, 9))
    motion = pose(0.2, -0.1, 0.3, 0.1)
    seen: dict[tuple[int, int], float] = {}
    for row in range(6):
        for column in range(9):
            z = a[row, column]
            point = motion[:3, :3] @ [(column - cx) * z / fx, (row - cy) * z / fy, z] + motion[:3, 3]
            place = round(fy * point[1] / point[2] + cy), round(fx * point[0] / point[2] + cx)
            if 0 <= place[0] < 6 and 0 <= place[1] < 9:
                seen[place] = min(seen.get(place, np.inf), point[2])
    expected = np.mean([abs(z - b[place]) / b[place] for place, z in seen.items()])
    assert 5 < len(seen) < 54
    assert reprojection_error(a, b, camera, motion) == pytest.approx(expected, rel=1e-12)


def test_what_has_no_score_and_what_is_refused() -> None:
    assert isnan(temporal_alignment_error([wall(1)], CAMERA, [pose()]))
    with pytest.raises(ValueError, match="not 2, 1 and 2"):
        temporal_alignment_error([wall(1), wall(1)], CAMERA, [pose()])
    with pytest.raises(ValueError, match="finite and above 0"):
        temporal_alignment_error([wall(1), wall(0)], CAMERA, [pose()] * 2)
    with pytest.raises(ValueError, match="one size"):
        temporal_alignment_error([wall(1), np.ones((3, 3))], CAMERA, [pose()] * 2)
