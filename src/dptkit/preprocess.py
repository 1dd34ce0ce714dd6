"""Stage 1, image to network input: resize policy, interpolation, normalisation. numpy and OpenCV only.

H W picture · h w network input
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dptkit.config import PreprocessConfig
from dptkit.errors import ConfigError

_UNIT = np.arange(256) / 255.0
"""A channel's value in 0..1, float64, by its byte."""

_AT_ONCE = 1 << 20
"""Pixels of a picture whose three channels are resized together: 24 MB in float64."""

_IN_CACHE = 1 << 15
"""Pixels of a strip of such a picture: 768 kB in float64."""

_COMMON = ((1, 1), (3, 4), (2, 3), (9, 16))
_LARGE = 1000
"""Times which those are (height, width) of pictures larger than any network input."""

_INTERPOLATION = {"cubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}


def network_size(height: int, width: int, config: PreprocessConfig) -> tuple[int, int]:
    """(height, width) that a picture of that size is resized to; both multiples of `config.multiple_of`.

    The aspect ratio is kept up to that rounding. Source: isl-org/DPT `dpt/transforms.py`, class Resize, with
    two departures: a side never rounds to zero, and `long_side_limit` bounds very elongated pictures.
    """
    target_height, target_width = config.size
    if config.policy == "exact":
        return target_height, target_width
    scale_height, scale_width = target_height / height, target_width / width
    if config.policy == "lower_bound":
        scale = max(scale_height, scale_width)
    elif config.policy == "upper_bound":
        scale = min(scale_height, scale_width)
    else:
        scale = scale_width if abs(1 - scale_width) < abs(1 - scale_height) else scale_height
    if config.long_side_limit is not None:
        scale = min(scale, config.long_side_limit / max(height, width))
    bound = {"lower_bound": 1, "upper_bound": -1, "minimal": 0}[config.policy]
    return (
        _to_multiple(scale * height, config.multiple_of, bound * target_height),
        _to_multiple(scale * width, config.multiple_of, bound * target_width),
    )


def common_sizes(config: PreprocessConfig) -> frozenset[tuple[int, int]]:
    """(height, width) that most pictures are resized to: `config.size`, and what 1:1, 4:3, 3:2 and 16:9 become.

    Upright too. Pictures of rounded sides, such as 500 x 333, may become 32 pixels more or less, which is another size.
    """
    pictures = {(_LARGE * sides[0], _LARGE * sides[1]) for ratio in _COMMON for sides in (ratio, ratio[::-1])}
    return frozenset({config.size, *(network_size(*picture, config) for picture in pictures)})


def _to_multiple(side: float, multiple: int, bound: int) -> int:
    """Nearest multiple (ties to even, as the original's np.round); rounded away from a violated bound.

    bound: > 0 the side must not fall below it, < 0 not exceed its absolute value, 0 free.
    """
    rounded = int(np.round(side / multiple)) * multiple
    if bound > 0 and rounded < bound <= side * (1 + 1e-9):  # 100 / 97 * 97 is a hair below 100
        rounded = int(np.ceil(side / multiple)) * multiple
    elif bound < 0 and rounded > -bound:
        rounded = int(np.floor(side / multiple)) * multiple
    return max(rounded, multiple)


def preprocess(
    image: npt.NDArray[np.uint8], config: PreprocessConfig, size: tuple[int, int] | None = None
) -> npt.NDArray[np.float32]:
    """uint8 RGB [H, W, 3] -> normalised float32 [3, h, w], contiguous. size: (h, w) where not what `config` says.

    Computed in float64 as the original does: the stem of DPT-Hybrid magnifies a rounding of the input a hundredfold.
    In large pictures one channel at a time, since one of 100 megapixels would take 2.4 GB at once; the numbers are
    the same.
    """
    height, width = size or network_size(image.shape[0], image.shape[1], config)
    interpolation = _INTERPOLATION[config.interpolation]
    if config.interpolation == "area" and height * width > image.shape[0] * image.shape[1]:
        interpolation = cv2.INTER_CUBIC  # area means nothing when enlarging
    tensor = np.empty((3, height, width), np.float32)
    if image.shape[0] * image.shape[1] <= _AT_ONCE:
        # A whole row at a time is several times as quick as three numbers.
        mean, std = np.tile(config.mean, width), np.tile(config.std, width)
        for taken, given in _strips(image, height, width, interpolation):
            strip = _resize(cv2.LUT(image[taken], _UNIT), given.stop - given.start, width, interpolation)
            rows = (strip.reshape(len(strip), -1) - mean) / std
            tensor[:, given] = np.moveaxis(rows.reshape(strip.shape), 2, 0)
        return tensor
    for channel in range(3):
        plane = _resize(image[:, :, channel] / 255.0, height, width, interpolation)
        tensor[channel] = (plane - config.mean[channel]) / config.std[channel]
    return tensor


def _strips(image: npt.NDArray[np.uint8], height: int, width: int, interpolation: int) -> Iterator[tuple[slice, slice]]:
    """Rows of the picture, and of the network input, that are resized alone and stay in the processor's cache.

    The numbers are the same: by area, a whole number of rows becomes a whole number, as 15 become 7 in 480 to 224.
    Anything else, such as area where one side grows, looks at neighbours and is one strip.
    """
    alone = interpolation == cv2.INTER_AREA and height <= image.shape[0] and width <= image.shape[1]
    pieces = math.gcd(image.shape[0], height) if alone else 1
    taken, given = image.shape[0] // pieces, height // pieces
    together = max(1, _IN_CACHE // (taken * image.shape[1]))
    for first in range(0, pieces, together):
        last = min(first + together, pieces)
        yield slice(first * taken, last * taken), slice(first * given, last * given)


def _resize(values: npt.NDArray[Any], height: int, width: int, interpolation: int) -> npt.NDArray[np.float64]:
    if values.shape[:2] != (height, width):
        values = cv2.resize(values, (width, height), interpolation=interpolation)
    return np.asarray(values, np.float64)


def with_size(config: PreprocessConfig, size: int) -> PreprocessConfig:
    """The same preprocessing for another height; the width keeps its ratio to it.

    Raises ConfigError if `size` is not a positive multiple of what the network needs.
    """
    multiple = config.multiple_of
    if config.policy == "exact":
        raise ConfigError(f"size {size}: this model takes {config.size[0]}x{config.size[1]} (height x width) only")
    if size < multiple or size % multiple:
        raise ConfigError(f"size {size} is not a positive multiple of {multiple}")
    height, width = config.size
    wider = max(1, round(size * width / height / multiple)) * multiple
    limit = config.long_side_limit
    return replace(
        config,
        size=(size, wider),
        long_side_limit=None if limit is None else max(limit * size // height // multiple * multiple, size),
    )
