"""What a run was made with: versions of what takes part in a number, and the machine in words."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dptkit.version import __version__

_PACKAGES = ("numpy", "torch", "opencv-python-headless", "opencv-python", "pillow", "onnxruntime", "openvino")


def versions() -> dict[str, str]:
    """Of dptkit, Python and installed packages that can take part, by name."""
    found = {"dptkit": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine() -> str:
    """The CPU's model, how many of its cores this process may use, and the names of GPUs if it has used any."""
    # Whoever predicted with torch has loaded it; nobody else needs it.
    torch = sys.modules.get("torch")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parts = [_cpu(), f"{cores} core{'' if cores == 1 else 's'}"]
    if torch is not None and torch.cuda.is_initialized():
        parts += dict.fromkeys(torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count()))
    return ", ".join(parts)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or platform.machine() or "unknown processor"
