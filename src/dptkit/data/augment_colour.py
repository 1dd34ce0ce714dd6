"""Augmentation that changes colours and leaves every pixel where it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dptkit.data.sample import Sample

Image = npt.NDArray[np.uint8]
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class ColourJitter:
    """Brightness, contrast, saturation and hue, in random order, with this probability.

    brightness, contrast, saturation: a factor uniform in [1 - x, 1 + x]. hue: a turn uniform in [-x, x], 0.5 is half
    the colour circle. 0 leaves a property alone.
    """

    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.05
    probability: float = 0.8

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        wanted = rng.random() < self.probability
        strengths = (self.brightness, self.contrast, self.saturation)
        factors = [float(rng.uniform(max(0.0, 1 - x), 1 + x)) for x in strengths]
        turn = float(rng.uniform(-self.hue, self.hue))
        order = rng.permutation(4)
        if not wanted:
            return sample
        image = sample.image.astype(np.float32)
        for step in order:
            image = _turned(image, turn) if step == 3 else _blended(image, int(step), factors[step])
        return replace(sample, image=_to_bytes(image))


@dataclass(frozen=True)
class RandomGrey:
    """Luma in all three channels, with this probability."""

    probability: float = 0.1

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if rng.random() >= self.probability:
            return sample
        grey = _to_bytes(sample.image.astype(np.float32) @ _LUMA)
        return replace(sample, image=np.repeat(grey[:, :, None], 3, axis=2))


@dataclass(frozen=True)
class RandomBlur:
    """Gaussian blur of a width uniform in [low, high] pixels, with this probability."""

    low: float = 0.1
    high: float = 2.0
    probability: float = 0.2

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        wanted, sigma = rng.random() < self.probability, float(rng.uniform(self.low, self.high))
        if not wanted:
            return sample
        return replace(sample, image=np.asarray(cv2.GaussianBlur(sample.image, (0, 0), sigma), np.uint8))


@dataclass(frozen=True)
class RandomJpeg:
    """JPEG compression of a quality uniform in [low, high], with this probability."""

    low: int = 40
    high: int = 95
    probability: float = 0.2

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        wanted, quality = rng.random() < self.probability, round(float(rng.uniform(self.low, self.high)))
        if not wanted:
            return sample
        encoded = cv2.imencode(".jpg", sample.image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        decoded: Any = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
        return replace(sample, image=np.ascontiguousarray(decoded[:, :, ::-1]))


def _blended(image: npt.NDArray[np.float32], step: int, factor: float) -> npt.NDArray[np.float32]:
    """Step 0 brightness: towards black; 1 contrast: towards the mean grey; 2 saturation: towards each pixel's grey."""
    towards: Callable[[], Any] = (
        lambda: 0.0,
        lambda: float((image @ _LUMA).mean()),
        lambda: (image @ _LUMA)[..., None],
    )[step]
    return np.asarray(np.clip(image * factor + towards() * (1 - factor), 0, 255), np.float32)


def _turned(image: npt.NDArray[np.float32], turn: float) -> npt.NDArray[np.float32]:
    if turn == 0:
        return image
    hsv = np.asarray(cv2.cvtColor(image / 255, cv2.COLOR_RGB2HSV), np.float32)
    hsv[:, :, 0] = (hsv[:, :, 0] + turn * 360) % 360
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255, np.float32)


def _to_bytes(image: npt.NDArray[np.float32]) -> Image:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
