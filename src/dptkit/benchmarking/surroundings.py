"""What a measurement was made with and among: machine, versions, threads, load."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import Any

from dptkit.evaluation.machine import machine, versions

BUSY_SHARE = 0.25
"""Of the cores: a load above makes figures doubtful."""


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_average() -> float | None:
    """Of the last minute; None where the system has none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def busy_warning(load: float | None, number_of_cores: int) -> str | None:
    """One line if others compute on this machine, to judge by its load before the measurement."""
    if load is None or load <= BUSY_SHARE * number_of_cores:
        return None
    return (
        f"the machine is busy (load {load:.1f} on {number_of_cores} core{'s' * (number_of_cores != 1)}): "
        "times are too long; ratios of settings compared here suffer less"
    )


@dataclass(frozen=True)
class Surroundings:
    """Taken before a measurement. threads: by library, of those that are loaded and say so."""

    machine: str
    cores: int
    threads: dict[str, str]
    versions: dict[str, str]
    load: float | None
    started: str

    @property
    def warning(self) -> str | None:
        return busy_warning(self.load, self.cores)

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "warning": self.warning}


def surroundings() -> Surroundings:
    """Call it after the engines are loaded, since their threads and the GPU's name are told by them."""
    threads = {name: os.environ[name] for name in ("OMP_NUM_THREADS",) if name in os.environ}
    torch = sys.modules.get("torch")
    if torch is not None:
        threads["torch"] = str(torch.get_num_threads())
    started = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    return Surroundings(machine(), cores(), threads, versions(), load_average(), started)
