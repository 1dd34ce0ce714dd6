"""Random choices of one scene, all from one seeded generator."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")
Colour = tuple[float, float, float]
_BLOCK = 2048


class Draw:
    """Scalars from blocks of uniform numbers (fifty times faster than single calls), arrays from `generator`."""

    def __init__(self, *seed: int) -> None:
        self.generator = np.random.default_rng(seed)
        self._block: list[float] = []

    def unit(self) -> float:
        """A number in [0, 1)."""
        if not self._block:
            self._block = self.generator.random(_BLOCK).tolist()
        return self._block.pop()

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.unit()

    def chance(self, probability: float) -> bool:
        return self.unit() < probability

    def pick(self, *options: T) -> T:
        return options[int(self.unit() * len(options))]

    def weighted(self, options: Mapping[T, float]) -> T:
        """A key, with probability in proportion to its value."""
        left = self.unit() * sum(options.values())
        for option, weight in options.items():
            left -= weight
            if left < 0:
                return option
        return next(iter(options))

    def count(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + int(self.unit() * (high - low + 1))

    def sign(self) -> int:
        return 1 if self.unit() < 0.5 else -1

    def normal(self, deviation: float = 1.0) -> float:
        return deviation * math.sqrt(-2 * math.log(1 - self.unit())) * math.cos(2 * math.pi * self.unit())

    def angle(self) -> float:
        return self.between(0, 2 * math.pi)

    def rotation(self) -> npt.NDArray[np.float64]:
        """A rotation [3, 3], all equally likely."""
        q = np.array([self.normal() for _ in range(4)])
        w, x, y, z = q / np.linalg.norm(q)
        return np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
        )

    # Colours: linear red, green, blue in 0..1.

    def colour(self, saturation: float | None = None, value: float | None = None) -> Colour:
        s = self.generator.beta(1.2, 2.2) if saturation is None else saturation
        v = self.between(0.05, 0.9) ** 1.2 if value is None else value
        hue = self.unit() * 6
        ramps = (min(max(abs((hue + shift) % 6 - 3) - 1, 0), 1) for shift in (0, 4, 2))
        r, g, b = (v * (1 - s + s * ramp) for ramp in ramps)
        return (r, g, b)

    def warm(self, value: float | None = None) -> Colour:
        """Wood, earth, beige."""
        v = self.between(0.08, 0.75) if value is None else value
        return (v, v * self.between(0.6, 0.95), v * self.between(0.3, 0.85))

    def white(self) -> Colour:
        v = self.between(0.5, 0.92)
        return (v, v * self.between(0.93, 1), v * self.between(0.82, 1.02))

    def grey(self, low: float = 0.05, high: float = 0.8) -> Colour:
        v = self.between(low, high)
        return (v, v * self.between(0.95, 1.0), v * self.between(0.9, 1.04))

    def green(self) -> Colour:
        if self.chance(0.1):
            return self.warm()
        v = self.between(0.06, 0.4)
        return (v * self.between(0.35, 1.0), v, v * self.between(0.1, 0.5))

    def skin(self) -> Colour:
        v = self.between(0.25, 1.1)
        return (0.75 * v, 0.5 * v, 0.38 * v)


def scaled(colour: Colour, factor: float) -> Colour:
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)
