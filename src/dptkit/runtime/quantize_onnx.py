"""float32 ONNX file -> int8 ONNX file, by ONNX Runtime's static quantisation. No torch here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from dptkit.errors import ConfigError
from dptkit.runtime.backend import first_line

Input = npt.NDArray[np.float32]
_QUANTIZED = ("Conv", "MatMul", "Gemm")


def quantize_onnx(
    source: Path,
    target: Path,
    inputs: Sequence[Input],
    keep: Sequence[str] = (),
    on_input: Callable[[int], None] | None = None,
) -> Any:
    """Convolutions and products with weights in int8, one scale per output channel; activations uint8, min to max.

    source: of `dptkit.runtime.conversion.to_onnx`. inputs: normalised float32 [1, 3, h, w]. keep: modules that stay
    float32, by the network's names. Products of two activations (attention) stay float32 too.
    Returns what `target` holds, an onnx.ModelProto. Raises ConfigError if onnx or onnxruntime is missing.
    """
    try:
        import onnx
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise ConfigError(
            f"int8 for ONNX Runtime needs onnx and onnxruntime ({first_line(error)}): pip install 'dptkit[onnx]'"
        ) from None
    with TemporaryDirectory(prefix="dptkit-") as folder, _quiet():
        prepared = Path(folder) / "prepared.onnx"
        # Norms and constants folded; shapes are not inferred, since they are free.
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        names = [node.name for node in onnx.load(str(prepared)).graph.node if _is_kept(node, keep)]
        names += _without_weights(onnx.load(str(prepared)).graph)
        quantization.quantize_static(
            str(prepared),
            str(target),
            _Reader(inputs, on_input),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(_QUANTIZED),
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=names,
            calibrate_method=quantization.CalibrationMethod.MinMax,
        )
        return onnx.load(str(target))


def _is_kept(node: Any, keep: Sequence[str]) -> bool:
    """A node of the module head.conv2 is called /head/conv2/Conv; of blocks.0, /blocks.0/ or /blocks/blocks.0/."""
    name = node.name.strip("/").replace("/", ".") + "."
    return any(f".{name}".find(f".{module}.") >= 0 for module in keep)


def _without_weights(graph: Any) -> list[str]:
    weights = {tensor.name for tensor in graph.initializer}
    return [
        node.name for node in graph.node if node.op_type in _QUANTIZED and not any(i in weights for i in node.input)
    ]


class _Reader:
    """What ONNX Runtime calibrates with: an input a call, then None."""

    def __init__(self, inputs: Sequence[Input], on_input: Callable[[int], None] | None) -> None:
        self._inputs, self._on_input, self._next = inputs, on_input, 0

    def get_next(self) -> dict[str, Input] | None:
        if self._next == len(self._inputs):
            return None
        self._next += 1
        if self._on_input is not None:
            self._on_input(self._next)
        return {"image": self._inputs[self._next - 1]}


@contextmanager
def _quiet() -> Iterator[None]:
    """It advises what is done here already, by the root logger."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
