"""Photos of a folder as textures: square crops with halved versions, as the kernels read them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from dptkit.data.procedural.draw import Draw
from dptkit.errors import DataError

PHOTO_SIDE = 128
"""Side of a crop in pixels, as `patterns.photo_colour` reads it; its halved versions follow it, down to 4."""
PHOTO_LEVELS = 6
SLOTS = 8
"""Crops per scene."""
_LONGEST = 640
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass(frozen=True)
class PhotoTextures:
    """A folder of photos (JPEG, PNG, WebP; subfolders too). Cheap to pickle: it holds the path, not pixels.

    Raises DataError where the folder holds no picture.
    """

    folder: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))
        if not photo_paths(self.folder):
            raise DataError(f"{self.folder}: no photos there (looked for {', '.join(sorted(_SUFFIXES))})")

    def crops(self, draw: Draw) -> list[npt.NDArray[np.uint8]]:
        """SLOTS squares, uint8 RGB, drawn anew."""
        paths = photo_paths(self.folder)
        return [_square(_read(paths[draw.count(0, len(paths) - 1)]), draw) for _ in range(SLOTS)]


@lru_cache(maxsize=8)
def photo_paths(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file()))


@lru_cache(maxsize=512)
def _read(path: Path) -> npt.NDArray[np.uint8]:
    """uint8 RGB, its longest side at most _LONGEST. Raises DataError."""
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(f"{path}: not a picture that can be read")
    factor = _LONGEST / max(image.shape[:2])
    if factor < 1:
        image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    rgb: npt.NDArray[np.uint8] = np.ascontiguousarray(image[:, :, ::-1])
    return rgb


def _square(image: npt.NDArray[np.uint8], draw: Draw) -> npt.NDArray[np.uint8]:
    shorter = min(image.shape[:2])
    side = max(int(shorter * draw.pick(1, 0.6, 0.35)), min(shorter, 32))
    y, x = draw.count(0, image.shape[0] - side), draw.count(0, image.shape[1] - side)
    return image[y : y + side, x : x + side]


def _linear_levels(square: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Linear colours, float32 [texels of all levels, 3]."""
    crop = cv2.resize(square, (PHOTO_SIDE, PHOTO_SIDE), interpolation=cv2.INTER_AREA)
    linear = _TO_LINEAR[crop]
    levels = [linear]
    for _ in range(PHOTO_LEVELS - 1):
        levels.append(cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    return np.concatenate([level.reshape(-1, 3) for level in levels])


NO_PHOTOS = np.zeros((1, sum((PHOTO_SIDE >> level) ** 2 for level in range(PHOTO_LEVELS)), 3), np.float32)
"""What the kernels take where a scene shows no photos."""
_TO_LINEAR = ((np.arange(256) / 255) ** 2.2).astype(np.float32)


def texels(crops: list[npt.NDArray[np.uint8]], used: Iterable[int]) -> npt.NDArray[np.float32]:
    """What the kernels take, float32 [SLOTS, texels of all levels, 3], of the crops that materials use; a blank where
    none does."""
    slots = set(used)
    if not slots:
        return NO_PHOTOS
    levels = np.zeros((len(crops), *NO_PHOTOS.shape[1:]), np.float32)
    for slot in slots:
        levels[slot] = _linear_levels(crops[slot])
    return levels
