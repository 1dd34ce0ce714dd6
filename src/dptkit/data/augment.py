"""Augmentation: what may happen to a sample before training, as frozen steps `(sample, rng) -> sample`.

Steps are pure: the same sample and the same generator state give the same result. `paper_depth` and
`paper_segmentation` are the recipes of the DPT paper; put further steps into an `Augment` of your own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from dptkit.data.augment_colour import ColourJitter, RandomBlur, RandomGrey, RandomJpeg
from dptkit.data.augment_geometry import (
    CutBorder,
    RandomCrop,
    RandomFlip,
    RandomLongSide,
    RandomRotation,
    RandomScale,
    ResizeLongSide,
    ResizeShortSide,
    ResizeToHold,
    crop,
    flip,
    resize,
    rotate,
)
from dptkit.data.sample import Sample

__all__ = [
    "Augment",
    "Augmentation",
    "ColourJitter",
    "CutBorder",
    "CutMixed",
    "RandomBlur",
    "RandomCrop",
    "RandomFlip",
    "RandomGrey",
    "RandomJpeg",
    "RandomLongSide",
    "RandomRotation",
    "RandomScale",
    "ResizeLongSide",
    "ResizeShortSide",
    "ResizeToHold",
    "ToInverseDepth",
    "crop",
    "cutmix",
    "flip",
    "paper_depth",
    "paper_segmentation",
    "resize",
    "rotate",
    "to_inverse_depth",
]


class Augmentation(Protocol):
    """One step: a sample and a source of randomness -> a sample."""

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample: ...


@dataclass(frozen=True)
class Augment:
    """Steps one after the other."""

    steps: tuple[Augmentation, ...]

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        for step in self.steps:
            sample = step(sample, rng)
        return sample


@dataclass(frozen=True)
class ToInverseDepth:
    """`to_inverse_depth` as a step, for mixing data sets of metres and of disparity."""

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        return to_inverse_depth(sample)


def paper_depth(sizes: tuple[int, ...] = (384,), crop_size: int = 384) -> Augment:
    """The DPT paper's for depth: longer side to 384, random square crop of 384, flip. Metres become inverse depth.

    A picture that is not square has a shorter side below the crop then. It is made larger until the crop fits, in the
    same step, so that it is resampled once; the paper says no more than that the crop is square.
    """
    crop_step = RandomCrop((crop_size, crop_size))
    return Augment((ToInverseDepth(), ResizeLongSide(sizes, at_least=crop_size), crop_step, RandomFlip()))


def paper_segmentation(base: int = 520, crop_size: int = 480) -> Augment:
    """The DPT paper's for segmentation: 520 times 0.5 to 2, random crop of 480 padded with 255, flip.

    The paper names the protocol of PyTorch-Encoding, whose encoding/datasets/base.py makes the longer side 260 to
    1040 pixels in one step and pads small pictures. It pads below and right; here the place is random.
    """
    crop_step = RandomCrop((crop_size, crop_size), "pad")
    return Augment((RandomLongSide(base // 2, base * 2), crop_step, RandomFlip()))


def to_inverse_depth(sample: Sample) -> Sample:
    """Metres -> 1 / metres, invalid where depth is 0. Inverse depth stays. Raises ValueError for labels."""
    if sample.quantity == "inverse_depth":
        return sample
    if sample.quantity == "labels":
        raise ValueError(f"{sample.name}: class labels are no depth")
    valid = sample.valid & (sample.target > 0)
    inverse = np.divide(1, sample.target, out=np.zeros_like(sample.target), where=valid)
    return replace(sample, target=inverse, valid=valid & np.isfinite(inverse), quantity="inverse_depth", unit="1/m")


class CutMixed(NamedTuple):
    """A sample with a rectangle of another. from_other: bool [H, W], True inside the rectangle.

    Relative inverse depth of the two has different scale and shift, so losses must treat the parts apart.
    """

    sample: Sample
    from_other: npt.NDArray[np.bool_]


def cutmix(sample: Sample, other: Sample, rng: np.random.Generator) -> CutMixed:
    """Put a random rectangle of `other` into `sample` at the same place; its share of the area is uniform in [0, 1].

    The aspect ratio is the picture's, as in CutMix. Intrinsics are dropped. Raises ValueError if the two differ in
    size, quantity or unit.
    """
    if sample.image.shape != other.image.shape:
        raise ValueError(f"{sample.name} and {other.name} differ in size: {sample.image.shape}, {other.image.shape}")
    if (sample.quantity, sample.unit) != (other.quantity, other.unit):
        raise ValueError(f"{sample.name} is {sample.quantity} in {sample.unit}, {other.name} {other.quantity}")
    height, width = sample.image.shape[:2]
    side = math.sqrt(float(rng.random()))
    h, w = round(height * side), round(width * side)
    top, left = math.floor(rng.random() * (height - h + 1)), math.floor(rng.random() * (width - w + 1))
    from_other = np.zeros((height, width), np.bool_)
    from_other[top : top + h, left : left + w] = True
    mixed = replace(
        sample,
        image=np.where(from_other[:, :, None], other.image, sample.image),
        target=np.where(from_other, other.target, sample.target),
        valid=np.where(from_other, other.valid, sample.valid),
        intrinsics=None,
    )
    return CutMixed(mixed, from_other)
