"""A small data set in memory and something that predicts it, with places to make each go wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from dptkit.data.sample import Sample
from dptkit.errors import DataError
from dptkit.evaluation.subject import SubjectIdentity
from dptkit.outputs import DepthMap, Provenance

SIZE = (12, 16)


@dataclass
class Scenes:
    """Pictures whose first pixel is their number. broken: what reading one of them raises, by index.

    groups: each picture's group; "" for all by default.
    """

    count: int = 8
    size: tuple[int, int] = SIZE
    broken: dict[int, Exception] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    invalid: tuple[int, ...] = ()
    name: str = "scenes"
    read: list[int] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        self.read.append(index)
        self.threads.add(threading.current_thread().name)
        if index in self.broken:
            raise self.broken[index]
        return sample(index, self.size, self.groups[index] if self.groups else "", index not in self.invalid)


def sample(index: int, size: tuple[int, int] = SIZE, group: str = "", valid: bool = True) -> Sample:
    rng = np.random.default_rng(index)
    image = rng.integers(0, 256, (*size, 3), np.uint8)
    image[0, 0] = index
    image[:, :, 1] = np.arange(size[1])  # columns can be told apart
    depth = rng.uniform(1, 9, size).astype(np.float32)
    return Sample(image, depth, "depth_m", "m", np.full(size, valid), "made up", f"{group or 'all'}/{index:03}", group)


@dataclass
class Guess:
    """Predicts depth from the picture's own noise: the same each time, never right.

    calls: numbers of the pictures it has seen. failing: what it raises, by number. hook: called with each number.
    """

    failing: dict[int, Exception] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    calls: list[int] = field(default_factory=list)
    sizes: list[tuple[int, ...]] = field(default_factory=list)
    hook: Callable[[int], None] = lambda number: None

    @property
    def identity(self) -> SubjectIdentity:
        return SubjectIdentity("guess", "ab12", self.details)

    def predict(self, image: npt.NDArray[np.uint8], /) -> DepthMap:
        number = int(image[0, 0, 0])
        self.calls.append(number)
        self.sizes.append(image.shape[:2])
        self.hook(number)
        if number in self.failing:
            raise self.failing[number]
        values = 1 + image.astype(np.float32).mean(axis=2) / 40
        return DepthMap(values, "depth_m", np.ones(values.shape, bool), Provenance("guess", "0"))


def unreadable(name: str) -> DataError:
    return DataError(f"{name}: not a picture")
