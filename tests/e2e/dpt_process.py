"""`dpt` as a process of its own, as a user starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

COMMAND = (sys.executable, "-m", "dptkit.cli.main")
SMALL = ("--size", "32", "--device", "cpu", "--engine", "torch")


def environment(**more: str) -> dict[str, str]:
    """Ours, with one thread a process, no network, and buffered output as users have it."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONUNBUFFERED", "COLUMNS")}
    return {**env, "OMP_NUM_THREADS": "1", "DPTKIT_OFFLINE": "1", **more}


def dpt(*arguments: str | os.PathLike[str], env: dict[str, str] | None = None, **options: Any) -> Any:
    """Run to the end; standard output and error are captured as text unless `options` say otherwise."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8", "timeout": 120, **options}
    if "input" not in options:
        options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run([*COMMAND, *arguments], env=environment(**(env or {})), **options)


def save_pictures(folder: Path, count: int, size: tuple[int, int] = (40, 30)) -> Path:
    """`count` small pictures of (width, height)."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:04}.png")
    return folder
