"""Sides of a comparison, timed in turn within one run; results as lines, and as JSON for other programs."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from dptkit.evaluation.machine import machine

PAUSE_S = 0.05
"""Before each side: threads of the one before go on waiting for work for some milliseconds, at its successor's cost."""


def alternate(sides: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Seconds of each side, round by round: the n-th of one side ran beside the n-th of the others."""
    for side in sides.values():
        for _ in range(warm_up):
            side()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            time.sleep(PAUSE_S)
            started = time.perf_counter()
            side()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def median_ratio(over: list[float], under: list[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def product_rate(dtype: torch.dtype) -> tuple[Callable[[], object], float]:
    """A large matrix product as a side, and its floating point operations: 2048 x 4096 by 4096 x 4096."""
    left, right = torch.randn(2048, 4096).to(dtype), torch.randn(4096, 4096).to(dtype)
    return lambda: left @ right.t(), 2.0 * 2048 * 4096 * 4096


class Results:
    """Rows of a comparison: printed as they come, and written as JSON if a file was named."""

    def __init__(self, packages: tuple[str, ...], out: Path | None) -> None:
        """`packages`: those whose versions take part."""
        self._out = out
        self._facts: dict[str, Any] = {
            "machine": machine(),
            "threads": torch.get_num_threads(),
            "python": platform.python_version(),
            **{name: version(name) for name in packages},
        }
        self._rows: list[dict[str, Any]] = []
        print(", ".join(f"{name} {value}" for name, value in self._facts.items()), flush=True)

    def add(self, what: str, value: float, unit: str, target: float | None, seconds: Mapping[str, list[float]]) -> None:
        """unit: "x" for a ratio, "%" for a share in percent, "MB". seconds: the sides the figure is from."""
        medians = {name: statistics.median(times) for name, times in seconds.items()}
        self._rows.append({"what": what, "value": value, "unit": unit, "target": target, "median_s": medians})
        aim = "" if target is None else f" (at least {target:g}{unit}: {'reached' if value >= target else 'MISSED'})"
        sides = ", ".join(f"{name} {1e3 * median:.1f} ms" for name, median in medians.items())
        print(f"{what}: {value:.2f}{unit}{aim}; {sides}", flush=True)

    def write(self) -> None:
        if self._out is not None:
            self._out.write_text(json.dumps({**self._facts, "results": self._rows}, indent=1) + os.linesep, "utf-8")
