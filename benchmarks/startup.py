"""How long `dpt --version` and `dpt --help` take beside `python -c "import torch"`.

Sides alternate within one run; the figure is the median of the ratios. Run: python benchmarks/startup.py
"""

from __future__ import annotations

import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

ROUNDS = 9
DPT = str(Path(sys.executable).with_name("dpt"))
COMMANDS = {"dpt --version": [DPT, "--version"], "dpt --help": [DPT, "--help"]}
BASELINE = [sys.executable, "-c", "import torch"]


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    print(f"{platform.machine()}, Python {platform.python_version()}, torch {version('torch')}, {ROUNDS} rounds")
    for command in (BASELINE, *COMMANDS.values()):
        seconds(command)  # fill the file cache
    for name, command in COMMANDS.items():
        pairs = [(seconds(command), seconds(BASELINE)) for _ in range(ROUNDS)]
        ratio = statistics.median(ours / baseline for ours, baseline in pairs)
        ours, baseline = (statistics.median(side) for side in zip(*pairs, strict=True))
        print(f"{name}: {ours:.3f} s, import torch: {baseline:.3f} s, ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
