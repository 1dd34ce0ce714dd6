"""Numbers from repeated timings: percentiles, and medians with an interval, whatever the distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


def percentile(values: Sequence[float], percent: float) -> float:
    """Linear between the two nearest of the sorted values, as numpy's default. Raises ValueError without values."""
    if not values:
        raise ValueError("no values")
    if not 0 <= percent <= 100:
        raise ValueError(f"percent {percent:g} is not in 0..100")
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


@dataclass(frozen=True)
class Median:
    """The median of `count` values. low, high: an interval that holds the true one with probability `confidence`.

    confidence is at least 0.95 from six values on; below, the interval is all there is: least and greatest value.
    """

    value: float
    low: float
    high: float
    confidence: float
    count: int


def median(values: Sequence[float], confidence: float = 0.95) -> Median:
    """With the narrowest symmetric interval of order statistics of at least that confidence.

    The k-th least of n independent values lies above the true median only if fewer than k lie below it, which a fair
    coin tells: confidence = 1 - 2 P(Binomial(n, 1/2) < k). Source: David and Nagaraja, Order Statistics, section 7.1.
    Raises ValueError without values.
    """
    middle = percentile(values, 50)
    ordered, count = sorted(values), len(values)
    chosen, outside = 1, 2 * 0.5**count
    tail = outside
    for rank in range(2, count // 2 + 1):
        tail += 2 * math.comb(count, rank - 1) * 0.5**count
        if 1 - tail < confidence:
            break
        chosen, outside = rank, tail
    return Median(middle, ordered[chosen - 1], ordered[count - chosen], max(0.0, 1 - outside), count)


def median_of_ratios(over: Sequence[float], under: Sequence[float], confidence: float = 0.95) -> Median:
    """Of over[n] / under[n], where the n-th of both ran beside each other: what slowed one slowed the other.

    Raises ValueError for sides of different length, or none.
    """
    return median([a / b for a, b in zip(over, under, strict=True)], confidence)


@dataclass(frozen=True)
class Latency:
    """Of `count` calls, in seconds."""

    p50: float
    p90: float
    p99: float
    mean: float
    count: int


def latency(seconds: Sequence[float]) -> Latency:
    """Raises ValueError without values."""
    p50, p90, p99 = (percentile(seconds, percent) for percent in (50, 90, 99))
    return Latency(p50, p90, p99, math.fsum(seconds) / len(seconds), len(seconds))
