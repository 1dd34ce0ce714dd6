"""Rendered pictures per second: by kind, and of the mix with one and two processes. `python benchmarks/rendering.py`"""

from __future__ import annotations

import argparse
import importlib.metadata
import multiprocessing
import os
import platform
import time
from pathlib import Path

from dptkit.data.procedural import KINDS, render_scene

FIRST_SEED = 5000


def render_range(first: int, count: int, kind: str | None, size: tuple[int, int]) -> tuple[float, float]:
    """Seconds, and seconds of processor time, for `count` pictures, after one that compiles and fills the caches.

    The two differ on a busy machine: the second says what an idle one would need.
    """
    import cv2

    cv2.setNumThreads(1)
    render_scene(0, size=size, kind=kind)
    start, busy = time.perf_counter(), time.process_time()
    for seed in range(first, first + count):
        render_scene(seed, size=size, kind=kind)
    return time.perf_counter() - start, time.process_time() - busy


def together(processes: int, count: int, size: tuple[int, int]) -> tuple[float, float]:
    """Pictures per second of all processes together, each rendering `count` of the mix; and by processor time."""
    jobs = [(FIRST_SEED + k * count, count, None, size) for k in range(processes)]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        times = pool.starmap(render_range, jobs, chunksize=1)
    wall, busy = (processes * count / max(column) for column in zip(*times, strict=True))
    return wall, busy


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=40, help="pictures per measurement and process")
    parser.add_argument("--size", type=int, nargs=2, default=(240, 320), metavar=("HEIGHT", "WIDTH"))
    asked = parser.parse_args()
    size = (asked.size[0], asked.size[1])
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("embreex", "numba", "numpy"))
    load = os.getloadavg()[0]
    print(
        f"{cpu_name()}, {os.cpu_count()} cores, load {load:.1f} before; Python {platform.python_version()}, {versions}"
    )
    print(f"{size[0]}x{size[1]}, {asked.count} pictures per measurement")
    print(f"{'':10} {'processes':>9} {'per second':>10} {'by CPU time':>11}")
    for processes in (1, 2):
        wall, busy = together(processes, asked.count, size)
        print(f"{'mix':10} {processes:9} {wall:10.1f} {busy:11.1f}")
    for kind in KINDS:
        seconds, busy = render_range(FIRST_SEED, asked.count, kind, size)
        print(f"{kind:10} {1:9} {asked.count / seconds:10.1f} {asked.count / busy:11.1f}")


if __name__ == "__main__":
    main()
