"""Boundary F1, exact and tolerant, and iBims-1's edge errors: by hand, in plain loops, against scikit-image."""

from __future__ import annotations

from math import isnan, nan

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dptkit.evaluation.boundary import (
    F1_RATIOS,
    boundary_f1,
    boundary_f1_tolerant,
    edge_error,
)

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
few = settings(max_examples=30, deadline=None)


def square(ratio: float = 2.0, size: int = 12, left: int = 4) -> Array:
    """A 4x4 square that is `ratio` times as far as what is around it: steps in all four directions."""
    depth = np.ones((size, size))
    depth[4:8, left : left + 4] = ratio
    return depth


def step(column: int, size: tuple[int, int] = (40, 60), far: float = 2.0) -> Array:
    depth = np.ones(size)
    depth[:, column:] = far
    return depth


def test_exact_f1_by_hand() -> None:
    np.testing.assert_allclose(F1_RATIOS, [1.05 + 0.2 * k / 9 for k in range(10)])
    assert boundary_f1(square(), square()) == pytest.approx(1)
    # 1.15 exceeds the first five ratios; weights are proportional to the ratio.
    assert boundary_f1(square(1.15), square(1.15)) == pytest.approx(sum(F1_RATIOS[:5]) / sum(F1_RATIOS))
    # One column to the side: the four steps up and the four down are all off in rows; of those in columns 3 of 4 are
    # on. Precision and recall (0 + 0 + 3/4 + 3/4) / 4.
    assert boundary_f1(square(left=5), square()) == pytest.approx(3 / 8)
    # As in the authors' code, a direction without steps counts 0, also for a perfect prediction.
    assert boundary_f1(step(30), step(30)) == pytest.approx(1 / 4)


def test_no_boundary_anywhere() -> None:
    assert isnan(boundary_f1(square(), np.ones((12, 12))))
    assert boundary_f1(np.ones((12, 12)), square()) == 0
    assert isnan(boundary_f1_tolerant(square(), np.ones((12, 12))))
    assert boundary_f1_tolerant(np.ones((12, 12)), square()) == 0


def naive_f1(predicted: Array, truth: Array, valid: Mask) -> float:
    height, width = truth.shape
    scores = []
    for t in F1_RATIOS:
        precision = recall = 0.0
        for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            hits = found = true = 0
            for y in range(height):
                for x in range(width):
                    v, u = y + down, x + right
                    if not (0 <= v < height and 0 <= u < width and valid[y, x] and valid[v, u]):
                        continue
                    ours, theirs = predicted[v, u] / predicted[y, x] > t, truth[v, u] / truth[y, x] > t
                    hits, found, true = hits + (ours and theirs), found + ours, true + theirs
            precision += hits / max(found, 1) / 4
            recall += hits / max(true, 1) / 4
        scores.append(2 * precision * recall / (precision + recall) if precision + recall else 0)
    return sum(t * score for t, score in zip(F1_RATIOS, scores, strict=True)) / sum(F1_RATIOS)


@few
@given(st.integers(0, 10**6))
def test_exact_f1_in_plain_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.uniform(1, 1.5, (6, 7))
    predicted = truth * rng.uniform(0.95, 1.05, truth.shape)
    valid = rng.random(truth.shape) < 0.8
    holes = np.where(valid, predicted, rng.choice([nan, 0.0, -1.0], truth.shape))
    found = boundary_f1(holes, np.where(valid, truth, 0), valid)
    if not isnan(found):
        assert found == pytest.approx(naive_f1(predicted, truth, valid), abs=1e-12)
        assert boundary_f1(1 / predicted, 1 / truth, valid) == pytest.approx(found, abs=1e-12)
        assert boundary_f1(7 * predicted, truth, valid) == pytest.approx(found, abs=1e-12)


def test_tolerance_is_a_share_of_the_diagonal() -> None:
    size = (480, 640)  # a diagonal of 800: 3 pixels
    truth = step(300, size)
    assert boundary_f1_tolerant(step(303, size), truth) == pytest.approx(1)
    assert boundary_f1_tolerant(step(304, size), truth) == 0
    assert boundary_f1(step(301, size), truth) == 0  # the exact one forgives nothing
    # A step of 1.12 in place of one of 2 is there for the ratios 1.05 and 1.1 of five.
    assert boundary_f1_tolerant(step(300, size, 1.12), truth) == pytest.approx(2 / 5)


def test_a_ramp_in_place_of_a_step_is_no_boundary() -> None:
    truth = step(30)
    ramp = np.tile(np.clip(np.linspace(1, 2, 60), 1, 2), (40, 1))  # 1.7% from pixel to pixel
    assert boundary_f1(ramp, truth) == boundary_f1_tolerant(ramp, truth) == 0


def test_edges_beside_pixels_that_are_not_valid_do_not_count() -> None:
    valid = np.ones((40, 60), np.bool_)
    valid[:, 29:31] = False
    for function in (boundary_f1, boundary_f1_tolerant):
        assert isnan(function(step(30), step(30), valid))
    assert isnan(edge_error(step(30), step(30), valid).accuracy)


def test_edge_errors_by_hand() -> None:
    assert edge_error(step(30), step(30)) == (0, 0)
    assert edge_error(step(33), step(30)) == (3, 3)
    assert edge_error(3 * step(33, far=9) + 5, step(30)) == (3, 3)  # depth is brought to [0, 1] first
    assert edge_error(np.ones((40, 60)), step(30)) == (10, 10)
    assert edge_error(step(45), step(30)) == (10, 10)
    nothing = edge_error(step(30), np.ones((40, 60)))
    assert isnan(nothing.accuracy)
    assert isnan(nothing.completeness)
    # An edge too many, 20 pixels off: accuracy looks at what is closer than 10 only, completeness at all of it.
    two = step(30)
    two[:, 50:] = 3
    accuracy, completeness = edge_error(two, step(30))
    assert accuracy == 0
    assert completeness == pytest.approx((0 + 10 + 0) / 3)


def test_annotated_edges_are_taken_as_they_are() -> None:
    annotated = np.zeros((40, 60), np.bool_)
    annotated[:, 20] = True
    found = edge_error(step(24), np.ones((40, 60)), true_edges=annotated)
    # The edge of a step between columns 23 and 24 is on either of them, all along.
    assert found.accuracy in (3, 4)
    assert found.completeness == found.accuracy


def test_holes_make_no_edges() -> None:
    valid = np.ones((40, 60), np.bool_)
    valid[10:20, 5:15] = False
    holes = np.where(valid, step(40), nan)
    assert edge_error(holes, holes, valid) == (0, 0)
    annotated = np.zeros((40, 60), np.bool_)
    annotated[:, 30] = True
    smooth = np.where(valid, 1.0, nan)
    assert edge_error(smooth, smooth, valid, true_edges=annotated) == (10, 10)


def test_edges_are_those_of_scikit_image() -> None:
    """The authors' script uses its detector; ours keeps a few pixels more where lines turn.

    Discs from 5% to 100% of the range, so that both thresholds decide about some.
    """
    feature = pytest.importorskip("skimage.feature")
    depth = np.full((160, 200), 1.0)
    for k in range(20):
        cv2.circle(depth, (20 + 40 * (k % 5), 20 + 40 * (k // 5)), 8 + k // 3, 1 + (k + 1) / 20, -1)
    depth += np.random.default_rng(0).normal(0, 0.002, depth.shape)
    scaled = (depth - depth.min()) / (depth.max() - depth.min())
    theirs = feature.canny(scaled, sigma=2**0.5, low_threshold=0.15, high_threshold=0.3)
    assert theirs.sum() > 1000
    # Measured 0.081 and 0.042 pixels. Thresholds halved give a completeness of 0.24, doubled 0.72; sigma 2, 0.53.
    accuracy, completeness = edge_error(depth, depth, true_edges=theirs)
    assert accuracy < 0.1
    assert completeness < 0.1


@pytest.mark.parametrize("function", [boundary_f1, boundary_f1_tolerant, edge_error])
def test_what_is_refused(function) -> None:  # type: ignore[no-untyped-def]
    bad = step(30)
    bad[0, 0] = 0
    with pytest.raises(ValueError, match="predicted values must be finite and above 0"):
        function(bad, step(30))
    with pytest.raises(ValueError, match="true values must be finite and above 0"):
        function(step(30), bad)
    with pytest.raises(ValueError, match="of one size"):
        function(step(30), np.ones((3, 3)))
    with pytest.raises(ValueError, match="of one size"):
        function(step(30), step(30), np.ones((3, 3), np.bool_))
