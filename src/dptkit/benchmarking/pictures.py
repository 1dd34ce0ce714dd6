"""What is predicted in a measurement: a made picture, or the user's own, in batches of one network size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np

from dptkit.config import PreprocessConfig
from dptkit.errors import ConfigError
from dptkit.image_io import SUPPORTED_SUFFIXES, read_image
from dptkit.image_io.atomic import write_bytes
from dptkit.image_io.names import printable
from dptkit.preprocess import network_size

MOST_PICTURES = 32
"""Of a folder: the first ones by name. More would not change a median, and each is read before the measurement."""

MADE_SIZE = (480, 640)


@dataclass(frozen=True)
class Batch:
    """Files that run through the network together, at (height, width) there."""

    paths: tuple[Path, ...]
    network_size: tuple[int, int]


def make_picture(path: Path) -> Path:
    """A JPEG of 640x480 with smooth and fine detail, about as hard to decode as a photo; always the same."""
    generator = np.random.default_rng(0)
    height, width = MADE_SIZE
    picture = np.zeros((height, width, 3))
    for cells, strength in ((4, 90.0), (24, 40.0), (120, 15.0)):
        noise = generator.uniform(-1, 1, (cells * height // width + 1, cells, 3))
        picture += strength * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    pixels = np.clip(picture + 128, 0, 255).astype(np.uint8)
    write_bytes(path, cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].data)
    return path


def pictures_in(folder: Path) -> list[Path]:
    """The first `MOST_PICTURES` by name. Raises ConfigError if it is no folder, or holds none."""
    if not folder.is_dir():
        raise ConfigError(f"--images {printable(folder)}: no such folder")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUPPORTED_SUFFIXES and path.is_file())
    if not found:
        raise ConfigError(f"--images {printable(folder)}: no pictures in this folder")
    return found[:MOST_PICTURES]


def batches_of(paths: list[Path], size: int, config: PreprocessConfig) -> list[Batch]:
    """Every picture in some batch of exactly `size`; pictures of one network size together, repeated to fill the last.

    Raises ImageReadError for a picture that cannot be read.
    """
    groups: dict[tuple[int, int], list[Path]] = {}
    for path in paths:
        height, width = read_image(path).shape[:2]
        groups.setdefault(network_size(height, width, config), []).append(path)
    return [Batch(part, shape) for shape, group in groups.items() for part in _filled(group, size)]


def _filled(group: list[Path], size: int) -> Iterator[tuple[Path, ...]]:
    endless = cycle(group)
    for _ in range(-(-len(group) // size)):
        yield tuple(islice(endless, size))
