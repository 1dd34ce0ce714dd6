"""The ONNX Runtime engine, on CPUs and, with the package onnxruntime-gpu, on CUDA. No torch here."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dptkit.errors import ConfigError
from dptkit.runtime.backend import Precision, first_line, is_about_memory, require_finite, require_stride

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class ONNXBackend:
    """Runs an ONNX file of [B, 3, H, W] -> [B, K, H, W]. Threads may call it together."""

    engine = "onnx"

    def __init__(self, path: Path, device: str, stride: int, precision: Precision = "float32") -> None:
        """`precision`: what the file computes in.

        Raises ConfigError if the device is not there, RuntimeError if the file is no model.
        """
        import onnxruntime

        provider = find_provider(device)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors; they are raised too
        self.device = device
        self.precision = precision
        self._stride = stride
        try:
            self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=[provider])
        except Exception as error:  # they have no common type
            raise RuntimeError(first_line(error)) from error
        # Without a library that CUDA's provider needs, ONNX Runtime goes on with the CPU's and says so in its log only.
        if provider not in self._session.get_providers():
            raise ConfigError(f"device {device!r} does not work with the engine onnx here: use cpu, or engine torch")
        self._input: str = self._session.get_inputs()[0].name

    def predict(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Normalised images float32 [B, 3, h, w] -> raw output float32 [B, K, h, w]."""
        require_stride(images, self._stride)
        return self.compute(images)

    def compute(self, inputs: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """As `predict`, for whatever type and layout of input the graph takes."""
        try:
            raw = self._session.run(None, {self._input: np.ascontiguousarray(inputs)})[0]
        except Exception as error:  # ONNX Runtime's own have no common type
            if is_about_memory(error):
                raise MemoryError("ONNX Runtime: not enough memory") from error
            raise RuntimeError(first_line(error)) from error
        return require_finite(raw, self.precision, self.device)


def is_onnx_installed() -> bool:
    """Cheap: looks for the package and does not import it."""
    return _is_there("onnxruntime")


def can_convert() -> bool:
    """Whether there also is the package that makes ONNX files, which `dptkit[onnx]` brings. Cheap, too."""
    return is_onnx_installed() and _is_there("onnx")


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def find_provider(device: str) -> str:
    """ "cpu" or "cuda" -> ONNX Runtime's name for it. Raises ConfigError if it is not there."""
    import onnxruntime

    provider = _PROVIDERS.get(device)
    if provider is None or provider not in onnxruntime.get_available_providers():
        more = "; cuda needs the package onnxruntime-gpu" if device == "cuda" else ""
        raise ConfigError(f"device {device!r} is not available to the engine onnx here: use auto or cpu{more}")
    return provider


def identity() -> dict[str, str]:
    """What a converted model depends on beside the network."""
    import onnxruntime

    return {"engine": "onnx", "version": onnxruntime.__version__}
