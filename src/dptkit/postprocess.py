"""Stage 6, raw head output to results: invert, scale and shift, resize back, argmax. EVERY unit conversion is here.

K channels · h w network resolution · H W picture
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from dptkit.config import DepthDecoding, SegmentationDecoding
from dptkit.errors import NonFiniteOutputError
from dptkit.outputs import DepthMap, Provenance, SegmentationMap

SMALLEST_INVERSE_DEPTH = 1e-8
"""Bound of the metric inversion, 1/m (isl-org/DPT `dpt/models.py`)."""

Array = npt.NDArray[np.float32]


def decode_depth(raw: Array, size: tuple[int, int], decoding: DepthDecoding, provenance: Provenance) -> DepthMap:
    """Raw output float32 [1, h, w] -> DepthMap of `size` (H, W).

    As the original: metres are computed at network resolution, then either quantity is resized bicubically.
    Interpolation may overshoot, so that relative values can dip below zero.
    Metric pixels outside (0, cap] are marked invalid and keep their value.
    """
    values = raw[0]
    if decoding.quantity == "depth_m":
        values = 1 / np.maximum(decoding.scale * values + decoding.shift, SMALLEST_INVERSE_DEPTH)
    values = resize_map(values, size)
    if not np.isfinite(values).all():
        raise NonFiniteOutputError("the output overflows when it is resized: the weights hold huge values")
    return DepthMap(values, decoding.quantity, valid_depth(values, decoding), provenance)


def valid_depth(values: Array, decoding: DepthDecoding) -> npt.NDArray[np.bool_]:
    """Where decoded values [H, W] mean something: metres in (0, cap], relative ones everywhere."""
    if decoding.quantity != "depth_m":
        return np.ones(values.shape, np.bool_)
    return np.asarray((values > 0) & (values <= (np.inf if decoding.cap_m is None else decoding.cap_m)))


def decode_segmentation(
    raw: Array,
    size: tuple[int, int],
    decoding: SegmentationDecoding,
    provenance: Provenance,
    scores: bool = False,
) -> SegmentationMap:
    """Logits float32 [K, h, w] -> SegmentationMap of `size` (H, W): logits resized bicubically, then argmax.

    Classes are taken one after the other, so memory does not grow with their number. `scores`: also the softmax
    probability of the chosen class.
    """
    labels = np.zeros(size, np.uint8)
    best = resize_map(raw[0], size)
    total = np.ones(size, np.float32) if scores else None
    for index in range(1, raw.shape[0]):
        logit = resize_map(raw[index], size)
        higher = logit > best
        if total is not None:
            # total = sum of exp(logit - best) so far, kept relative to the running maximum.
            difference = np.exp(-np.abs(logit - best))
            total = np.where(higher, total * difference + 1, total + difference)
        labels[higher] = index
        np.maximum(best, logit, out=best)
    probability = None if total is None else np.reciprocal(total)
    return SegmentationMap(labels, decoding.class_names, decoding.palette, provenance, probability)


def resize_map(values: Array, size: tuple[int, int]) -> Array:
    """Bicubic (a = -0.75) without aligned corners or antialiasing, float32 [h, w] -> [H, W].

    The original's `torch.nn.functional.interpolate(mode="bicubic", align_corners=False)` up to rounding.
    """
    height, width = size
    if values.shape == size:
        return np.array(values, np.float32)
    resized = cv2.resize(np.ascontiguousarray(values, np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(resized, np.float32)
