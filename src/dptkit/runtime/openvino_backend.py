"""The OpenVINO engine, on CPUs. No torch here: a compiled model needs none."""

from __future__ import annotations

from collections import deque
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dptkit.errors import ConfigError
from dptkit.runtime.backend import Precision, is_about_memory, require_finite, require_stride
from dptkit.runtime.mapped_file import MappedFile
from dptkit.runtime.openvino_import import import_openvino, openvino_core

_DEVICE = "CPU"
_IR, _IR_WEIGHTS = "model.xml", "model.bin"
_HINTS: dict[Precision, str] = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
_CAPABILITIES: dict[Precision, str] = {"float32": "FP32", "bfloat16": "BF16", "float16": "FP16"}


class OpenVINOBackend:
    """Runs a compiled model. Threads may call it together: each call takes an infer request of its own."""

    engine = "openvino"
    device = "cpu"

    def __init__(self, compiled: Any, precision: Precision, stride: int, file: MappedFile | None = None) -> None:
        """`compiled`: an openvino.CompiledModel; `file`: what it reads its weights from, which it does not keep itself.

        Raises ConfigError if it was compiled for another precision.
        """
        actual = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if actual != _HINTS[precision]:
            raise ConfigError(f"OpenVINO computes in {actual} on this machine, not in {precision}")
        self.precision = precision
        self._stride = stride
        self._compiled = compiled
        self._idle: deque[Any] = deque()
        self._file = file

    def predict(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Normalised images float32 [B, 3, h, w] -> raw output float32 [B, K, h, w]."""
        require_stride(images, self._stride)
        return self.compute(images)

    def compute(self, inputs: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """As `predict`, for whatever type and layout of input the graph takes."""
        try:
            first: AbstractContextManager[None] = nullcontext()
            try:
                request = self._idle.pop()
            except IndexError:
                request = self._compiled.create_infer_request()
                # Its first inference brings weights into the kernels' layout, after which few are read from the file.
                if self._file is not None:
                    first = self._file.read_once()
            with first:
                outputs = request.infer([np.ascontiguousarray(inputs)], share_inputs=True, share_outputs=True)
            raw = outputs[0].copy()  # the request's own is overwritten by its next call
        except RuntimeError as error:
            if is_about_memory(error):
                raise MemoryError("OpenVINO: not enough memory") from error
            raise
        self._idle.append(request)  # not after an error, when nobody knows its state
        return require_finite(raw, self.precision, self.device)


def precisions() -> tuple[Precision, ...]:
    """What this machine's CPU computes in, by OpenVINO's word; the quickest of good accuracy first."""
    able = openvino_core().get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
    order: tuple[Precision, ...] = ("bfloat16", "float32", "float16")
    return tuple(precision for precision in order if _CAPABILITIES[precision] in able)


def identity() -> dict[str, str]:
    """What a compiled model depends on beside the network: a change makes it worthless."""
    openvino = import_openvino()
    core = openvino_core()
    return {
        "engine": "openvino",
        "version": openvino.get_version(),
        "cpu": core.get_property(_DEVICE, "FULL_DEVICE_NAME"),
        "capabilities": " ".join(sorted(core.get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES"))),
    }


def compile_graph(model: Any, precision: Precision, streams: int = 1) -> Any:
    """openvino.Model -> openvino.CompiledModel, for `streams` predictions side by side.

    For bfloat16 the model's weights become float16, which halves them: of float16's 11 bits of significand bfloat16
    takes 8. Weights that float16 cannot hold stay as they are.
    """
    if precision == "bfloat16":
        from openvino._offline_transformations import compress_model_transformation

        compress_model_transformation(model)
    return openvino_core().compile_model(model, _DEVICE, _settings(precision, streams))


def write_compiled(compiled: Any, path: Path) -> None:
    """Keep a compiled model for `read_compiled`."""
    stream = compiled.export_model()
    path.write_bytes(stream if isinstance(stream, bytes) else stream.getbuffer())


def write_graph(graph: Any, folder: Path) -> None:
    """Keep an openvino.Model for `read_graph`, with weights as it has them."""
    import_openvino().serialize(graph, str(folder / _IR), str(folder / _IR_WEIGHTS))


def read_graph(folder: Path) -> Any:
    """The openvino.Model that `write_graph` kept. Raises RuntimeError if OpenVINO refuses it."""
    return openvino_core().read_model(str(folder / _IR), str(folder / _IR_WEIGHTS))


def read_compiled(path: Path, precision: Precision, stride: int, streams: int = 1) -> OpenVINOBackend:
    """What `write_compiled` wrote on a machine of the same `identity`. Raises RuntimeError if OpenVINO refuses it.

    `streams` need not be those it was compiled for. The file is mapped, not read, since the first inference makes
    another copy of the weights: see MappedFile for what may happen to the file.
    """
    openvino = import_openvino()
    file = MappedFile(path)
    blob = openvino.Tensor(file.bytes, shared_memory=True)
    compiled = openvino_core().import_model(blob, _DEVICE, _settings(precision, streams))
    file.let_go()
    return OpenVINOBackend(compiled, precision, stride, file)


def _settings(precision: Precision, streams: int) -> dict[str, str]:
    common = {"INFERENCE_PRECISION_HINT": _HINTS[precision]}
    return common | ({"PERFORMANCE_HINT": "LATENCY"} if streams == 1 else {"NUM_STREAMS": str(streams)})
