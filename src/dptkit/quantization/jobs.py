"""What each format does at each step: the model before, its quantisation, the model after, and the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dptkit.model.dpt import DPT
from dptkit.runtime import openvino_backend
from dptkit.runtime.backend import Backend
from dptkit.runtime.card import Card
from dptkit.runtime.conversion import to_onnx, to_openvino
from dptkit.runtime.exported import ExportedBackend
from dptkit.runtime.exported_files import write_onnx, write_openvino
from dptkit.runtime.onnx_backend import ONNXBackend
from dptkit.runtime.quantize_onnx import quantize_onnx
from dptkit.runtime.quantize_openvino import quantize_openvino

Inputs = Sequence[npt.NDArray[np.float32]]
OnInput = Callable[[int], None]


class Job(Protocol):
    """Called in this order: before (or not), quantize, after, write."""

    method: str
    packages: tuple[str, ...]

    def before(self) -> Backend: ...
    def quantize(self, inputs: Inputs, keep: Sequence[str], on_input: OnInput) -> None: ...
    def after(self, card: Card) -> Backend: ...
    def write(self, target: Path, card: Card, force: bool) -> None: ...


class OpenVINOJob:
    """By NNCF, for OpenVINO on CPUs."""

    method = "NNCF post-training quantisation"
    packages: tuple[str, ...] = ("nncf", "openvino")

    def __init__(self, network: DPT) -> None:
        self._stride = network.encoder.stride
        self._model = to_openvino(network)

    def before(self) -> Backend:
        compiled = openvino_backend.compile_graph(self._model, "float32")
        return openvino_backend.OpenVINOBackend(compiled, "float32", self._stride)

    def quantize(self, inputs: Inputs, keep: Sequence[str], on_input: OnInput) -> None:
        self._model = quantize_openvino(self._model, inputs, keep, on_input)

    def after(self, card: Card) -> Backend:
        rest = openvino_backend.precisions()[0]
        compiled = openvino_backend.compile_graph(self._model, rest)
        return ExportedBackend(openvino_backend.OpenVINOBackend(compiled, rest, self._stride), card)

    def write(self, target: Path, card: Card, force: bool) -> None:
        write_openvino(self._model, target, card, force)


class ONNXJob:
    """By ONNX Runtime, for itself. folder: for files between the steps."""

    method = "ONNX Runtime static quantisation"
    packages: tuple[str, ...] = ("onnx", "onnxruntime")

    def __init__(self, network: DPT, folder: Path) -> None:
        self._stride = network.encoder.stride
        self._source, self._quantized = folder / "float32.onnx", folder / "int8.onnx"
        self._model: Any = None
        to_onnx(network, self._source)

    def before(self) -> Backend:
        return ONNXBackend(self._source, "cpu", self._stride)

    def quantize(self, inputs: Inputs, keep: Sequence[str], on_input: OnInput) -> None:
        self._model = quantize_onnx(self._source, self._quantized, inputs, keep, on_input)

    def after(self, card: Card) -> Backend:
        return ExportedBackend(ONNXBackend(self._quantized, "cpu", self._stride), card)

    def write(self, target: Path, card: Card, force: bool) -> None:
        write_onnx(self._model, target, card, force)


def versions_of(job: Job) -> dict[str, str]:
    """Of the packages that quantised."""
    return {name: version(name) for name in job.packages}
