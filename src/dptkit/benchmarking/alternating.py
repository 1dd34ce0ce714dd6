"""Sides of a comparison, timed in turn within one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

PAUSE_S = 0.05
"""Before each side of several: the threads of the one before look for more work for a while, at the next one's cost."""

Measured = TypeVar("Measured")


def rounds_of(
    sides: Mapping[str, Callable[[int], Measured]],
    *,
    runs: int | None = None,
    seconds: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[dict[str, Measured]]:
    """Round by round what each side returned; a side is called with the round's number.

    Each round starts with the next side, so that none always follows the same one. Ends after `runs` rounds, or with
    the first round that ends `seconds` after the start: at least one. Raises ValueError unless exactly one is given.
    """
    if (runs is None) == (seconds is None):
        raise ValueError("give either runs or seconds")
    names, started, done = list(sides), clock(), 0
    while (done < runs) if runs is not None else (done == 0 or clock() - started < (seconds or 0)):
        first = done % len(names)
        measured: dict[str, Measured] = {}
        for name in names[first:] + names[:first]:
            if len(names) > 1:
                pause(PAUSE_S)
            measured[name] = sides[name](done)
        yield {name: measured[name] for name in names}
        done += 1


def alternate(sides: Mapping[str, Callable[[], object]], runs: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Seconds of each side, round by round: the n-th of one side ran beside the n-th of the others."""
    for side in sides.values():
        for _ in range(warm_up):
            side()

    def timed(side: Callable[[], object]) -> Callable[[int], float]:
        def call(_: int) -> float:
            started = time.perf_counter()
            side()
            return time.perf_counter() - started

        return call

    taken: dict[str, list[float]] = {name: [] for name in sides}
    for measured in rounds_of({name: timed(side) for name, side in sides.items()}, runs=runs):
        for name, value in measured.items():
            taken[name].append(value)
    return taken
