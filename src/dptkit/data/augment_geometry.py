"""Augmentation that moves pixels: picture, target, validity and intrinsics together.

Pictures are resized by area averaging (smaller) or cubic (larger); targets and validity always by nearest pixel, so
that no depth appears between an object and what is behind it. Pixel centres are at whole numbers, as in intrinsics.

H W picture · h w result
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from dptkit.data.sample import IGNORED, Sample

Size = tuple[int, int]
"""(height, width)."""


def resize(sample: Sample, size: Size) -> Sample:
    """The sample at `size`. Depth is not changed: zooming is a longer focal length, not a nearer scene."""
    height, width = sample.image.shape[:2]
    if size == (height, width):
        return sample
    if min(size) < 1:
        raise ValueError(f"{sample.name}: cannot resize to {size}")
    smaller = size[0] * size[1] < height * width
    image = cv2.resize(sample.image, size[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    rows, columns = _nearest(height, size[0]), _nearest(width, size[1])
    intrinsics = sample.intrinsics
    if intrinsics is not None:
        fx, fy, cx, cy = intrinsics
        x, y = size[1] / width, size[0] / height
        intrinsics = (fx * x, fy * y, (cx + 0.5) * x - 0.5, (cy + 0.5) * y - 0.5)
    return replace(
        sample,
        image=np.asarray(image, np.uint8),
        target=sample.target[rows][:, columns],
        valid=sample.valid[rows][:, columns],
        intrinsics=intrinsics,
    )


def crop(sample: Sample, top: int, left: int, size: Size) -> Sample:
    """The rectangle of `size` whose corner is at (top, left); what is outside the picture is padded.

    Padding is black, invalid, and 255 for labels (0 for depth).
    """
    height, width = sample.image.shape[:2]
    pad_top, pad_left = max(0, -top), max(0, -left)
    pad_bottom, pad_right = max(0, top + size[0] - height), max(0, left + size[1] - width)
    rows = slice(max(0, top), max(0, min(height, top + size[0])))
    columns = slice(max(0, left), max(0, min(width, left + size[1])))
    planes: list[npt.NDArray[Any]] = [array[rows, columns] for array in (sample.image, sample.target, sample.valid)]
    if pad_top or pad_left or pad_bottom or pad_right:
        border = ((pad_top, pad_bottom), (pad_left, pad_right))
        fills = (0, _empty(sample), False)
        planes = [
            np.pad(plane, (*border, (0, 0))[: plane.ndim], constant_values=fill)
            for plane, fill in zip(planes, fills, strict=True)
        ]
    intrinsics = sample.intrinsics
    if intrinsics is not None:
        fx, fy, cx, cy = intrinsics
        intrinsics = (fx, fy, cx - left, cy - top)
    image, target, valid = (np.ascontiguousarray(plane) for plane in planes)
    return replace(sample, image=image, target=target, valid=valid, intrinsics=intrinsics)


def flip(sample: Sample) -> Sample:
    """Left and right exchanged."""
    intrinsics = sample.intrinsics
    if intrinsics is not None:
        fx, fy, cx, cy = intrinsics
        intrinsics = (fx, fy, sample.image.shape[1] - 1 - cx, cy)
    image, target, valid = (
        np.ascontiguousarray(array[:, ::-1]) for array in (sample.image, sample.target, sample.valid)
    )
    return replace(sample, image=image, target=target, valid=valid, intrinsics=intrinsics)


def rotate(sample: Sample, degrees: float) -> Sample:
    """Turned about the centre, anticlockwise, size kept. Corners that come in are mirrored picture, invalid.

    Intrinsics stay exact for square pixels (fx = fy); the principal point turns with the picture.
    """
    height, width = sample.image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    size = (width, height)
    image = cv2.warpAffine(sample.image, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    nearest: dict[str, Any] = {"flags": cv2.INTER_NEAREST, "borderMode": cv2.BORDER_CONSTANT}
    target = cv2.warpAffine(sample.target, matrix, size, borderValue=_empty(sample), **nearest)
    valid = cv2.warpAffine(sample.valid.astype(np.uint8), matrix, size, borderValue=0, **nearest) > 0
    intrinsics = sample.intrinsics
    if intrinsics is not None:
        fx, fy, cx, cy = intrinsics
        cx, cy = (float(number) for number in matrix @ np.array([cx, cy, 1.0]))
        intrinsics = (fx, fy, cx, cy)
    return replace(
        sample,
        image=np.asarray(image, np.uint8),
        target=np.asarray(target, sample.target.dtype),
        valid=np.asarray(valid, np.bool_),
        intrinsics=intrinsics,
    )


@dataclass(frozen=True)
class CutBorder:
    """So many pixels cut off at (top, right, bottom, left), where pictures have a blank frame."""

    border: tuple[int, int, int, int]

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        top, right, bottom, left = self.border
        height, width = sample.valid.shape
        if min(height - top - bottom, width - left - right) < 1:
            raise ValueError(f"{sample.name}: nothing of {width}x{height} pixels is left within {self.border}")
        return crop(sample, top, left, (height - top - bottom, width - left - right))


@dataclass(frozen=True)
class ResizeLongSide:
    """Longer side to one of `sizes`, drawn at random; the aspect ratio is kept to the pixel.

    at_least: the shorter side becomes no shorter than this, so that a crop fits after resizing once.
    """

    sizes: tuple[int, ...] = (384,)
    at_least: int = 1

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        side = self.sizes[math.floor(rng.random() * len(self.sizes))]
        return _scaled(sample, side / max(sample.valid.shape), self.at_least)


@dataclass(frozen=True)
class ResizeShortSide:
    """Shorter side to one of `sizes`, drawn at random; the aspect ratio is kept to the pixel."""

    sizes: tuple[int, ...] = (520,)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        side = self.sizes[math.floor(rng.random() * len(self.sizes))]
        return _scaled(sample, side / min(sample.valid.shape))


@dataclass(frozen=True)
class ResizeToHold:
    """The smallest size of the same aspect ratio that holds a rectangle of `size`."""

    size: Size = (384, 384)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        height, width = sample.valid.shape
        return _scaled(sample, max(self.size[0] / height, self.size[1] / width))


@dataclass(frozen=True)
class RandomLongSide:
    """Longer side to a length uniform in [low, high]."""

    low: int = 260
    high: int = 1040

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        side = self.low + math.floor(rng.random() * (self.high - self.low + 1))
        return _scaled(sample, side / max(sample.valid.shape))


@dataclass(frozen=True)
class RandomScale:
    """Both sides by one factor, uniform in [low, high]."""

    low: float = 0.5
    high: float = 2.0

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        return _scaled(sample, float(rng.uniform(self.low, self.high)))


@dataclass(frozen=True)
class RandomCrop:
    """A rectangle of exactly `size`, anywhere in the picture.

    small: what to do with a picture that is smaller: "enlarge" it until both sides fit, or "pad" it at a random
    place (black and invalid; 255 for labels).
    """

    size: Size = (384, 384)
    small: Literal["enlarge", "pad"] = "enlarge"

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        height, width = sample.image.shape[:2]
        if self.small == "enlarge":
            factor = max(self.size[0] / height, self.size[1] / width)
            if factor > 1:
                height, width = max(self.size[0], round(height * factor)), max(self.size[1], round(width * factor))
                sample = resize(sample, (height, width))
        top, left = _offset(height - self.size[0], rng), _offset(width - self.size[1], rng)
        return crop(sample, top, left, self.size)


@dataclass(frozen=True)
class RandomFlip:
    """Left and right exchanged with this probability."""

    probability: float = 0.5

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        return flip(sample) if rng.random() < self.probability else sample


@dataclass(frozen=True)
class RandomRotation:
    """Turned by an angle uniform in [-degrees, degrees], with this probability."""

    degrees: float = 2.5
    probability: float = 0.5

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        wanted, angle = rng.random() < self.probability, float(rng.uniform(-self.degrees, self.degrees))
        return rotate(sample, angle) if wanted else sample


def _nearest(old: int, new: int) -> npt.NDArray[np.intp]:
    """Index of the old pixel that holds each new pixel's centre."""
    return np.minimum(((np.arange(new) + 0.5) * (old / new)).astype(np.intp), old - 1)


def _empty(sample: Sample) -> int:
    return IGNORED if sample.quantity == "labels" else 0


def _scaled(sample: Sample, factor: float, at_least: int = 1) -> Sample:
    """Both sides times `factor`, or a larger one that makes them at least `at_least`."""
    height, width = sample.valid.shape
    factor = max(factor, at_least / min(height, width))
    return resize(sample, (max(at_least, round(height * factor)), max(at_least, round(width * factor))))


def _offset(slack: int, rng: np.random.Generator) -> int:
    """Uniform in 0..slack; in slack..0 where the picture is smaller and gets padded."""
    drawn = math.floor(rng.random() * (abs(slack) + 1))
    return drawn if slack >= 0 else -drawn
