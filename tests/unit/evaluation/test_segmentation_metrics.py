"""Segmentation metrics by hand, in plain loops, against torchmetrics, and Boundary IoU against its erosions."""

from __future__ import annotations

from math import hypot, isnan, nan

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dptkit.evaluation.segmentation_metrics import (
    boundary_class_iou,
    boundary_counts,
    boundary_iou,
    class_accuracy,
    class_iou,
    confusion,
    mean_accuracy,
    mean_iou,
    pixel_accuracy,
)

Labels = npt.NDArray[np.uint8]
few = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 10**6)


def random_labels(seed: int, classes: int = 4, size: tuple[int, int] = (9, 11)) -> tuple[Labels, Labels]:
    """Predicted and true, with ignored pixels in both; often alike."""
    rng = np.random.default_rng(seed)
    truth = rng.choice([*range(classes), 255], size).astype(np.uint8)
    other = rng.choice([*range(classes), 255], size).astype(np.uint8)
    return np.where(rng.random(size) < 0.5, truth, other), truth


def test_by_hand() -> None:
    truth = np.array([[0, 0, 0, 1], [1, 2, 255, 255]])
    labels = np.array([[0, 0, 1, 1], [255, 0, 2, 255]])
    matrix = confusion(labels, truth, 4)
    assert matrix.tolist() == [[2, 1, 0, 0, 0], [0, 1, 0, 0, 1], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
    assert matrix.dtype == np.int64
    assert pixel_accuracy(matrix) == 3 / 6
    np.testing.assert_array_equal(class_accuracy(matrix), [2 / 3, 1 / 2, 0, nan])
    assert mean_accuracy(matrix) == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    # class 0: 2 of 3 true and 1 false alarm; 1: 1 of 2 and 1; 2: 0 of 1 and 0 (its alarm is where truth is 255)
    np.testing.assert_array_equal(class_iou(matrix), [2 / 4, 1 / 3, 0, nan])
    assert mean_iou(matrix) == pytest.approx((1 / 2 + 1 / 3 + 0) / 3)


def test_a_class_that_is_only_predicted_scores_zero_and_one_that_is_nowhere_does_not_count() -> None:
    matrix = confusion(np.array([0, 1]), np.array([0, 0]), 3)
    np.testing.assert_array_equal(class_iou(matrix), [0.5, 0, nan])
    assert mean_iou(matrix) == 0.25
    assert mean_accuracy(matrix) == 0.5


def test_no_class_is_wrong_but_no_false_alarm() -> None:
    with_none = confusion(np.array([0, 255, 1]), np.array([0, 0, 1]), 2)
    np.testing.assert_array_equal(class_iou(with_none), [0.5, 1])
    assert pixel_accuracy(with_none) == 2 / 3


@few
@given(seeds)
def test_plain_loops_agree(seed: int) -> None:
    labels, truth = random_labels(seed)
    pairs = [(int(p), int(t)) for p, t in zip(labels.flat, truth.flat, strict=True) if t != 255]
    matrix = confusion(labels, truth, 4)
    for k in range(4):
        union = sum(p == k or t == k for p, t in pairs)
        expected = sum(p == k and t == k for p, t in pairs) / union if union else nan
        assert class_iou(matrix)[k] == pytest.approx(expected, nan_ok=True)
        row = sum(t == k for _, t in pairs)
        expected = sum(p == k and t == k for p, t in pairs) / row if row else nan
        assert class_accuracy(matrix)[k] == pytest.approx(expected, nan_ok=True)
    expected = sum(p == t for p, t in pairs) / len(pairs) if pairs else nan
    assert pixel_accuracy(matrix) == pytest.approx(expected, nan_ok=True)


@few
@given(seeds)
def test_torchmetrics_agrees(seed: int) -> None:
    functional = pytest.importorskip("torchmetrics.functional.classification")
    labels, truth = random_labels(seed)
    labels = np.where(labels == 255, 0, labels)  # it knows no prediction of "no class"
    p, t = torch.from_numpy(labels.astype(np.int64)), torch.from_numpy(truth.astype(np.int64))
    matrix = confusion(labels, truth, 4)
    iou = functional.multiclass_jaccard_index(p, t, num_classes=4, ignore_index=255, average=None)
    present = ~np.isnan(class_iou(matrix))
    np.testing.assert_allclose(class_iou(matrix)[present], iou.numpy()[present], rtol=1e-6)  # it counts in float32
    micro = functional.multiclass_accuracy(p, t, num_classes=4, ignore_index=255, average="micro")
    assert pixel_accuracy(matrix) == pytest.approx(float(micro), rel=1e-6)
    recall = functional.multiclass_accuracy(p, t, num_classes=4, ignore_index=255, average=None)
    present = ~np.isnan(class_accuracy(matrix))
    np.testing.assert_allclose(class_accuracy(matrix)[present], recall.numpy()[present], rtol=1e-6)


@few
@given(seeds)
def test_counts_of_two_pictures_add_up(seed: int) -> None:
    (labels, truth), (more, more_truth) = random_labels(seed), random_labels(seed + 1, size=(3, 2))
    together = confusion(
        np.concatenate([labels.ravel(), more.ravel()]), np.concatenate([truth.ravel(), more_truth.ravel()]), 4
    )
    np.testing.assert_array_equal(confusion(labels, truth, 4) + confusion(more, more_truth, 4), together)


def eroded_boundary(mask: npt.NDArray[np.bool_], distance: int) -> npt.NDArray[np.bool_]:
    """As the authors: the mask less its erosion by a 3x3 square, repeated, with nothing outside the picture."""
    ndimage = pytest.importorskip("scipy.ndimage")
    inner = ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=distance, border_value=0)
    return mask & ~np.asarray(inner)


@few
@given(seeds, st.sampled_from([0.02, 0.1, 0.2]), st.integers(1, 3))
def test_boundaries_are_those_of_the_authors_erosion(seed: int, ratio: float, block: int) -> None:
    labels, truth = (np.kron(side, np.ones((block, block), np.uint8)) for side in random_labels(seed, 3))
    distance = max(1, round(ratio * hypot(*truth.shape)))
    counts = boundary_counts(labels, truth, 3, dilation_ratio=ratio)
    for k in range(3):
        ours = eroded_boundary((labels == k) & (truth != 255), distance)
        theirs = eroded_boundary(truth == k, distance)
        assert counts[k].tolist() == [(ours & theirs).sum(), (ours | theirs).sum()]


def test_boundary_iou_by_hand() -> None:
    truth = np.zeros((10, 10), np.uint8)
    truth[2:8, 2:8] = 1
    labels = np.zeros_like(truth)
    labels[2:8, 3:9] = 1
    # Each ring has 20 pixels. They share 5 in row 2 and 5 in row 7; between, columns 2 and 7 meet columns 3 and 8.
    counts = boundary_counts(labels, truth, 2)
    assert counts[1].tolist() == [10, 30]
    ours, theirs = (eroded_boundary(side == 0, 1) for side in (labels, truth))
    assert counts[0].tolist() == [(ours & theirs).sum(), (ours | theirs).sum()]
    assert boundary_class_iou(counts)[1] == pytest.approx(1 / 3)
    assert boundary_iou(counts) == pytest.approx((1 / 3 + counts[0, 0] / counts[0, 1]) / 2)


@few
@given(seeds)
def test_a_perfect_prediction_scores_one_beside_ignored_pixels(seed: int) -> None:
    _, truth = random_labels(seed)
    anything = np.where(truth == 255, 3, truth).astype(np.uint8)
    values = boundary_class_iou(boundary_counts(anything, truth, 4))
    assert (values[~np.isnan(values)] == 1).all()


def test_nothing_to_score() -> None:
    nothing = np.full((3, 3), 255, np.uint8)
    matrix, counts = confusion(nothing, nothing, 2), boundary_counts(nothing, nothing, 2)
    assert all(map(isnan, (pixel_accuracy(matrix), mean_iou(matrix), mean_accuracy(matrix), boundary_iou(counts))))


@pytest.mark.parametrize("function", [confusion, boundary_counts])
@pytest.mark.parametrize(
    ("labels", "truth", "classes", "message"),
    [
        ([[5]], [[0]], 5, "predicted label 5 is out of range: there are 5 classes"),
        ([[0]], [[254]], 5, "true label 254 is out of range"),
        ([[-1]], [[0]], 5, "predicted label -1 is out of range"),
        ([[0]], [[0, 0]], 5, "one shape"),
        ([[0.0]], [[0]], 5, "predicted labels must be integers"),
        ([[0]], [[0]], 256, "classes must be 1 to 255"),
        ([[0]], [[0]], 0, "classes must be 1 to 255"),
    ],
)
def test_what_is_refused(function, labels, truth, classes: int, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        function(np.array(labels), np.array(truth), classes)


def test_an_unknown_id_where_the_truth_is_ignored_does_not_matter() -> None:
    assert confusion(np.array([9, 0]), np.array([255, 0]), 2).sum() == 1
