"""What a protocol compares of one picture: prediction and truth at one size, and the pixels that count.

crop -> mask -> domain of the fit -> resize. H W: the truth; h w: the window of it that the crop leaves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from dptkit.data.sample import Sample
from dptkit.errors import ConfigError, DataError
from dptkit.evaluation.alignment import DOMAINS
from dptkit.evaluation.masks import Window, crop_window, evaluation_mask
from dptkit.evaluation.protocol import DepthProtocol, MapInterpolation
from dptkit.outputs import DepthMap

Array = npt.NDArray[np.float64]
Values = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

STRIP = 16_384
"""Pixels that are worked on at a time: arrays of 128 kB stay in the processor's cache, and are made of memory that was
used before. Larger ones the system gives anew for each picture, page by page, which can take longer than the sums."""

Range = tuple[float, float]
"""Least and largest value."""

_SMALLEST = 1e-8
"""Inverse depth below it is taken for it, in 1/m, as where the head inverts (isl-org/DPT `dpt/models.py`)."""


@dataclass(frozen=True, eq=False)
class DepthPixels:
    """One picture before the fit.

    predicted: float32 [h, w], in the domain of the fit, at every pixel. truth: float32 [h, w], as the sample has it;
    inverted: whether it is in the other domain. valid: bool [h, w], pixels that count. window: of the whole truth.
    """

    predicted: npt.NDArray[np.float32]
    truth: npt.NDArray[np.float32]
    inverted: bool
    valid: Mask
    window: Window
    name: str

    @property
    def size(self) -> tuple[int, int]:
        return self.window[2], self.window[3]

    @cached_property
    def counted(self) -> tuple[Values, Values]:
        """Predicted and true values [P] of the pixels that count, as they are, row by row."""
        if self.valid.all():
            return self.predicted.reshape(-1), self.truth.reshape(-1)
        return self.predicted[self.valid], self.truth[self.valid]

    @cached_property
    def ranges(self) -> tuple[Range, Range]:
        """Of predicted and true values that count, in the domain of the fit.

        Raises DataError where one is not finite.
        """
        predicted, truth = ((float(side.min()), float(side.max())) for side in self.counted)
        for name, (low, high) in (("prediction", predicted), ("truth", truth)):
            if not (low > -np.inf and high < np.inf):  # NaN is neither
                raise DataError(f"{self.name}: the {name} has no finite value at some pixels that count")
        return predicted, (1 / truth[1], 1 / truth[0]) if self.inverted else truth

    def strips(self) -> Iterator[tuple[Array, Array]]:
        """Some of `counted` at a time, as float64 that the caller may overwrite: the truth in its own domain."""
        predicted, truth = self.counted
        for start in range(0, len(truth), STRIP):
            part = slice(start, start + STRIP)
            yield predicted[part].astype(np.float64), truth[part].astype(np.float64)

    def strips_to_fit(self) -> Iterator[tuple[Array, Array]]:
        """As `strips`, both in the domain of the fit."""
        for predicted, truth in self.strips():
            yield predicted, np.reciprocal(truth, out=truth) if self.inverted else truth

    def spread(self, values: Array) -> Array:
        """[P], of all strips -> [h, w], 1 where not valid."""
        whole = np.ones(self.size)
        whole[self.valid] = values
        return whole


def depth_pixels(prediction: DepthMap, sample: Sample, protocol: DepthProtocol) -> DepthPixels:
    """What `protocol` compares of a picture.

    Raises DataError for a truth or a prediction that cannot be scored, ConfigError where the protocol does not fit
    what was predicted.
    """
    if sample.quantity == "labels":
        raise DataError(f"{sample.name}: has labels, but {protocol.name} compares depth")
    try:
        window = crop_window(protocol.crop, (sample.target.shape[0], sample.target.shape[1]))
    except ValueError as error:
        raise DataError(f"{sample.name}: {error}") from error
    valid = _valid_truth(sample, protocol, window)
    if not valid.any():
        raise DataError(f"{sample.name}: no pixel of the truth counts")
    inverted = (sample.quantity == "inverse_depth") != (DOMAINS[protocol.alignment] == "inverse_depth")
    predicted = _predicted(prediction, sample, protocol, valid)
    return DepthPixels(predicted, sample.target[_cut(window)], inverted, valid, window, sample.name)


def resize_prediction(
    values: npt.NDArray[np.float32], size: tuple[int, int], interpolation: MapInterpolation
) -> npt.NDArray[np.float32]:
    """float32 [h, w] -> [H, W], as torch.nn.functional.interpolate with the mode that the name says."""
    if values.shape == size:
        return values
    height, width = size
    values = np.ascontiguousarray(values)
    if interpolation == "bilinear_aligned_corners":
        rows = np.linspace(0, values.shape[0] - 1, height, dtype=np.float32)
        columns = np.linspace(0, values.shape[1] - 1, width, dtype=np.float32)
        places = np.meshgrid(columns, rows)
        return np.asarray(cv2.remap(values, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)
    flag = {"nearest": cv2.INTER_NEAREST, "bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}[interpolation]
    return np.asarray(cv2.resize(values, (width, height), interpolation=flag), np.float32)


def _cut(window: Window) -> tuple[slice, slice]:
    top, left, height, width = window
    return slice(top, top + height), slice(left, left + width)


def _valid_truth(sample: Sample, protocol: DepthProtocol, window: Window) -> Mask:
    """[h, w]: measured, in the protocol's range, and under its mask."""
    cut = _cut(window)
    target = sample.target[cut]
    valid: Mask = np.greater(target, 0)  # inverse depth 0 is at infinity: no ratio to it
    valid &= sample.valid[cut]
    if sample.unit != "relative":
        low, high = protocol.truth_range_m
        if sample.quantity == "inverse_depth":
            low, high = 1 / high if high else 0.0, 1 / low if low else None
        if low:
            valid &= target > low
        if high is not None:
            valid &= target < high
    elif protocol.alignment == "none":
        raise DataError(f"{sample.name}: the truth is known up to scale only, and {protocol.name} compares metres")
    if protocol.mask != "none":
        whole = protocol.mask_frame == "whole"
        size = (sample.target.shape[0], sample.target.shape[1]) if whole else (window[2], window[3])
        try:
            mask = evaluation_mask(protocol.mask, size)
        except ValueError as error:
            raise DataError(f"{sample.name}: {error}") from error
        valid &= mask[cut] if whole else mask
    return valid


def _predicted(prediction: DepthMap, sample: Sample, protocol: DepthProtocol, valid: Mask) -> npt.NDArray[np.float32]:
    """The prediction at the truth's size, in the domain of the fit. valid: the pixels of the truth that count."""
    size = (valid.shape[0], valid.shape[1])
    inverse = DOMAINS[protocol.alignment] == "inverse_depth"
    if prediction.quantity == "inverse_depth" and not inverse:
        raise ConfigError(
            f"{protocol.name} needs metres: {prediction.provenance.model} predicts relative inverse depth, whose scale "
            "and shift are unknown; use a protocol that fits both in inverse depth"
        )
    if prediction.size != size and prediction.size == size[::-1]:
        raise DataError(f"{sample.name}: the prediction lies on its side: {prediction.size} for {size}")
    values = prediction.values
    low, high = protocol.prediction_range_m
    if not np.isfinite(values).all():  # as cleinc/bts: infinity is far, no number is near
        if prediction.quantity == "inverse_depth" or low is None or high is None:
            raise DataError(f"{sample.name}: the prediction has pixels without a finite value")
        values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    if prediction.quantity == "depth_m":
        # A fit in depth takes affine-invariant depth, where 0 is a value; a lower bound takes it for that, as BTS.
        if inverse or (low is None and protocol.alignment != "depth_least_squares"):
            _check_positive(values, valid, sample.name)
        if inverse:  # before the resize: cubic weights may leave nothing of a depth beside an edge
            values = (1 / np.maximum(values, _SMALLEST)).astype(np.float32)
    return resize_prediction(values, size, protocol.interpolation)


def _check_positive(values: npt.NDArray[np.float32], valid: Mask, name: str) -> None:
    """Raises DataError for depth of 0 or less where it counts; anywhere, if the map is of another size."""
    empty = values <= 0
    if values.shape == valid.shape:
        empty &= valid
    if empty.any():
        raise DataError(f"{name}: the prediction has {np.count_nonzero(empty)} pixels of depth 0 or less")
