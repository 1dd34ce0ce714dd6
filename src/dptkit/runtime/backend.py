"""What an engine is."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from dptkit.errors import NonFiniteOutputError

Precision = Literal["float32", "bfloat16", "float16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "float16")

PrecisionChoice = Literal["auto", "float32", "bfloat16", "float16"]
PRECISION_CHOICES: tuple[PrecisionChoice, ...] = ("auto", *PRECISIONS)

Engine = Literal["torch", "openvino", "onnx"]
ENGINES: tuple[Engine, ...] = ("torch", "openvino", "onnx")

EngineChoice = Literal["auto", "torch", "openvino", "onnx"]
ENGINE_CHOICES: tuple[EngineChoice, ...] = ("auto", *ENGINES)


class Backend(Protocol):
    """Normalised images float32 [B, 3, h, w] -> raw head output float32 [B, K, h, w].

    Safe to call from several threads. Raises NonFiniteOutputError if the output holds NaN or infinity, MemoryError if
    the batch does not fit, ValueError for a size that the network's stride does not divide.
    """

    @property
    def engine(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def device(self) -> str: ...

    def predict(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]: ...


def require_stride(images: npt.NDArray[np.float32], stride: int) -> None:
    """Raises ValueError unless height and width are multiples of `stride`, in the words of `DPT.forward`.

    A compiled graph has no such check of its own, and would compute something else.
    """
    height, width = images.shape[2:]
    if height % stride or width % stride:
        raise ValueError(f"image size {height}x{width} must be a multiple of {stride} in both directions")


def require_finite(raw: npt.NDArray[np.float32], precision: str, device: str) -> npt.NDArray[np.float32]:
    """`raw` itself. Raises NonFiniteOutputError if it holds NaN or infinity."""
    if not np.isfinite(raw).all():
        lower = precision != "float32"
        advice = "use precision float32" if lower else "the weights hold NaN, infinity or huge values"
        raise NonFiniteOutputError(f"the output is not finite in {precision} on {device}: {advice}")
    return raw


def require_near(found: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32], precision: str) -> None:
    """Raises RuntimeError unless two graphs of one network gave the same but for rounding.

    Bounds, shares of the largest number, are for what is broken.
    """
    largest = float(np.abs(wanted).max()) or 1.0  # all zero: a depth head's last ReLU may give nothing else
    difference = float(np.abs(found - wanted).max()) / largest
    if not difference < (1e-3 if precision == "float32" else 0.25):
        raise RuntimeError(f"its numbers differ by {difference:.2g} of the largest")


_MEMORY_WORDS = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "bad_alloc",
    "failed to allocate",
    "status_alloc_failed",
)


def is_about_memory(error: BaseException) -> bool:
    """Whether an engine's RuntimeError means that memory ran out, which each engine says in its own words."""
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    return any(words in text for words in _MEMORY_WORDS)


def first_line(error: BaseException) -> str:
    """What an engine's error says, fit for a message of one line."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip() if lines else type(error).__name__
