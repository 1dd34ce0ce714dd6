"""Labels against true labels: the confusion matrix and what follows from it, and Boundary IoU.

Counts of several pictures are added, and metrics computed of the sum: means over pictures of IoU are another quantity.
Pixels whose truth is 255 count nowhere. A predicted 255 ("no class") is wrong for the true class and a false alarm of
none: the union grows by it for the true class only, as in the ADE20K benchmark.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from dptkit.data.sample import IGNORED

Labels = npt.NDArray[np.integer]
Counts = npt.NDArray[np.int64]
Array = npt.NDArray[np.float64]


def confusion(labels: Labels, truth: Labels, classes: int) -> Counts:
    """int64 [K, K + 1]: pixels by true class (row) and predicted class (column); the last column is "no class".

    labels, truth: integers of one shape, below `classes`, or 255. classes: K, 1 to 255.
    Raises ValueError for other shapes, and naming an id that is out of range (in `labels` where the truth is not 255).
    """
    labels, truth = _checked(labels, truth, classes)
    valid = truth != IGNORED
    predicted = np.where(labels == IGNORED, classes, labels)[valid]
    pairs = truth[valid].astype(np.int64) * (classes + 1) + predicted
    return np.bincount(pairs, minlength=classes * (classes + 1)).reshape(classes, classes + 1).astype(np.int64)


def pixel_accuracy(matrix: Counts) -> float:
    """Share of pixels that have their true class; NaN for none. matrix: a sum of `confusion`."""
    return float(_ratio(np.trace(matrix), matrix.sum()))


def class_accuracy(matrix: Counts) -> Array:
    """[K]: share of each true class's pixels that are found; NaN for a class that is nowhere in the truth."""
    return _ratio(matrix.diagonal(), matrix.sum(axis=1))


def mean_accuracy(matrix: Counts) -> float:
    """Mean of `class_accuracy` over classes that have one; NaN if none has."""
    return _mean(class_accuracy(matrix))


def class_iou(matrix: Counts) -> Array:
    """[K]: intersection over union; NaN for a class that is neither in the truth nor predicted.

    0 for a class that is predicted but nowhere in the truth, as in mmsegmentation and the ADE20K benchmark.
    """
    found = matrix.diagonal()
    return _ratio(found, matrix.sum(axis=1) + matrix[:, : len(matrix)].sum(axis=0) - found)


def mean_iou(matrix: Counts) -> float:
    """Mean of `class_iou` over classes that have one; NaN if none has."""
    return _mean(class_iou(matrix))


def boundary_counts(labels: Labels, truth: Labels, classes: int, *, dilation_ratio: float = 0.02) -> Counts:
    """int64 [K, 2]: for each class the pixels of intersection and union of the two boundaries.

    Boundary: pixels of the class within d pixels (in rows and columns) of what is not of the class, the outside of the
    picture included; d is `dilation_ratio` times the diagonal, rounded, 1 at least.
    Source: Cheng et al. 2021, "Boundary IoU", and bowenc0221/boundary-iou-api, whose erosion of each class's mask this
    equals. Ignored pixels (truth 255), which instance masks do not have, are of no class on either side, so that a
    perfect prediction scores 1 beside them.
    Arguments and errors otherwise as `confusion`.
    """
    labels, truth = _checked(labels, truth, classes)
    if labels.ndim != 2:
        raise ValueError(f"boundaries need labels [H, W], not {labels.shape}")
    ours = np.where(truth == IGNORED, IGNORED, labels).astype(np.uint8)
    theirs = truth.astype(np.uint8)
    distance = max(1, round(dilation_ratio * float(np.hypot(*truth.shape))))
    found, true = _near_other(ours, distance), _near_other(theirs, distance)
    both = _by_class(ours[found & true & (ours == theirs)], classes)
    union = _by_class(ours[found], classes) + _by_class(theirs[true], classes) - both
    return np.stack([both, union], axis=1)


def boundary_class_iou(counts: Counts) -> Array:
    """[K]: Boundary IoU, of a sum of `boundary_counts`; NaN for a class without boundary on either side."""
    return _ratio(counts[:, 0], counts[:, 1])


def boundary_iou(counts: Counts) -> float:
    """Mean of `boundary_class_iou` over classes that have one; NaN if none has."""
    return _mean(boundary_class_iou(counts))


def _checked(labels: Labels, truth: Labels, classes: int) -> tuple[Labels, Labels]:
    labels, truth = np.asarray(labels), np.asarray(truth)
    if not 1 <= classes <= IGNORED:
        raise ValueError(f"classes must be 1 to {IGNORED}, not {classes}")
    if labels.shape != truth.shape:
        raise ValueError(f"predicted and true labels must have one shape, not {labels.shape} and {truth.shape}")
    for name, ids in (("true", truth), ("predicted", labels[truth != IGNORED])):
        if not np.issubdtype(ids.dtype, np.integer):
            raise ValueError(f"{name} labels must be integers, not {ids.dtype}")
        wrong = ids[((ids < 0) | (ids >= classes)) & (ids != IGNORED)]
        if wrong.size:
            raise ValueError(f"{name} label {int(wrong.flat[0])} is out of range: there are {classes} classes")
    return labels, truth


def _near_other(labels: npt.NDArray[np.uint8], distance: int) -> npt.NDArray[np.bool_]:
    """Where a window of 2 * distance + 1 is not all of one class: the boundaries of all classes in two passes."""
    window = np.ones((2 * distance + 1, 2 * distance + 1), np.uint8)
    lowest, highest = (
        np.asarray(filtered(labels, window, borderType=cv2.BORDER_CONSTANT, borderValue=IGNORED))
        for filtered in (cv2.erode, cv2.dilate)
    )
    return np.asarray((lowest != labels) | (highest != labels))


def _by_class(ids: npt.NDArray[np.uint8], classes: int) -> Counts:
    return np.bincount(ids[ids != IGNORED], minlength=classes).astype(np.int64)


def _ratio(part: npt.NDArray[np.int64] | np.int64, whole: npt.NDArray[np.int64] | np.int64) -> Array:
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _mean(values: Array) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")
