"""What an engine is."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

Precision = Literal["float32", "bfloat16", "float16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "float16")


class Backend(Protocol):
    """Normalised images float32 [B, 3, h, w] -> raw head output float32 [B, K, h, w].

    Safe to call from several threads. Raises NonFiniteOutputError if the output holds NaN or infinity.
    """

    @property
    def engine(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def device(self) -> str: ...

    def predict(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]: ...
