"""Which engine computes, where, and in which precision. torch is imported only to look for a GPU that may be there."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dptkit.errors import ConfigError
from dptkit.runtime import onnx_backend, openvino_backend
from dptkit.runtime.backend import (
    ENGINE_CHOICES,
    PRECISION_CHOICES,
    Engine,
    EngineChoice,
    Precision,
    PrecisionChoice,
    first_line,
)
from dptkit.runtime.openvino_import import is_openvino_installed

_log = logging.getLogger("dptkit")

TOKEN_MERGE_END = 0.9
"""Ratios of token merging end below this."""


class Choice(NamedTuple):
    """What will compute. `replaceable`: nobody named the engine, so torch may take over where it fails.

    `streams`: predictions that run side by side, each by its share of the cores; OpenVINO alone has more than one.
    """

    engine: Engine
    device: str
    precision: Precision
    replaceable: bool = False
    streams: int = 1


def choose(engine: EngineChoice, device: str, precision: PrecisionChoice) -> Choice:
    """Settle "auto". Engine: OpenVINO on a CPU, with a note ONNX Runtime or torch where it is missing; else torch.

    Precision: bfloat16 where OpenVINO computes and says that the CPU does so in bfloat16, else float32.
    Raises ConfigError for what is unknown, not installed, not on this machine, or cannot go together.
    """
    if engine not in ENGINE_CHOICES:
        raise ConfigError(f"unknown engine {engine!r}: use one of {', '.join(ENGINE_CHOICES)}")
    if precision not in PRECISION_CHOICES:
        raise ConfigError(f"unknown precision {precision!r}: use one of {', '.join(PRECISION_CHOICES)}")
    if engine == "onnx":
        return _choose_onnx(device, precision)
    if engine == "torch":
        return _choose_torch(device, precision)
    if engine == "openvino":
        if device not in ("auto", "cpu"):
            raise ConfigError(f"device {device!r} is not available to the engine openvino here: use auto or cpu")
        return _choose_openvino(precision, named=True)
    if device == "cpu" or (device == "auto" and not has_gpu()):
        return _choose_openvino(precision, named=False)
    return _choose_torch(device, precision)


def check_token_merge(ratio: float) -> float:
    """The ratio to a thousandth, which is as fine as it counts. Raises ConfigError outside 0 <= ratio < 0.9."""
    # A NaN fails every comparison.
    if not ratio >= 0 or not round(ratio, 3) < TOKEN_MERGE_END:
        raise ConfigError(f"token merge ratio {ratio:g}: must be at least 0 (off) and below {TOKEN_MERGE_END}")
    return round(float(ratio), 3)


def _choose_torch(device: str, precision: PrecisionChoice) -> Choice:
    return Choice("torch", device, "float32" if precision == "auto" else precision)


def _choose_openvino(precision: PrecisionChoice, named: bool) -> Choice:
    try:
        if not is_openvino_installed():
            raise ModuleNotFoundError("openvino")
        able = openvino_backend.precisions()
    except (ImportError, RuntimeError) as error:
        missing = isinstance(error, ModuleNotFoundError)
        problem = "is not installed" if missing else f"does not work here ({first_line(error)})"
        if named:
            advice = "pip install openvino, or use engine torch" if missing else "use engine torch"
            raise ConfigError(f"engine openvino {problem}: {advice}") from None
        choice = _choose_next_best(precision)
        _log.warning("engine openvino %s: computing with %s, which is slower", problem, choice.engine)
        return choice
    if precision == "auto":
        return Choice("openvino", "cpu", able[0], replaceable=not named)
    if precision in able:
        return Choice("openvino", "cpu", precision, replaceable=not named)
    if named:
        raise ConfigError(f"engine openvino does not compute in {precision} on this CPU: use {' or '.join(able)}")
    return _choose_torch("cpu", precision)


def _choose_next_best(precision: PrecisionChoice) -> Choice:
    """Without OpenVINO, on a CPU: ONNX Runtime, which is quicker than torch and has float32 only, or torch."""
    if precision in ("auto", "float32") and onnx_backend.can_convert():
        with suppress(ConfigError):
            return _choose_onnx("cpu", precision)._replace(replaceable=True)
    return _choose_torch("cpu", precision)


def _choose_onnx(device: str, precision: PrecisionChoice) -> Choice:
    if not onnx_backend.is_onnx_installed():
        raise ConfigError("engine onnx is not installed: pip install 'dptkit[onnx]', or use another engine")
    if precision not in ("auto", "float32"):
        raise ConfigError(f"engine onnx computes in float32, not in {precision}: use engine openvino or torch")
    device = "cpu" if device == "auto" else device
    try:
        onnx_backend.find_provider(device)
    except ImportError as error:
        raise ConfigError(f"engine onnx does not work here ({first_line(error)}): use another engine") from None
    return Choice("onnx", device, "float32")


def has_gpu() -> bool:
    """Whether torch sees a GPU. It is asked only where there may be one, since importing it takes seconds."""
    if sys.platform == "darwin":
        possible = platform.machine() == "arm64"
    else:
        possible = Path("/dev/kfd").exists() or _is_library("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    if not possible:
        return False
    from dptkit.runtime.torch_backend import find_device

    return find_device("auto").type != "cpu"


def _is_library(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
