"""A PyTorch network to other engines' graphs, for any batch, height and width.

Both go through a TorchScript trace. torch.export gives the same graphs, to the same rounding, at about ten times the
cost (dpt-lite to OpenVINO: 25 s of processor time against 2.3 s), which every first use of a model would pay.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from dptkit.model.dpt import DPT
from dptkit.model.encoders.transformer import PositionEmbedding
from dptkit.runtime.backend import Backend, require_near
from dptkit.runtime.card import IMAGE
from dptkit.runtime.card import OUTPUT as RAW
from dptkit.runtime.openvino_import import import_openvino

ONNX_OPSET = 18
INPUT, OUTPUT = IMAGE, RAW
IMAGE_AXES = {0: "batch", 2: "height", 3: "width"}


class Shape(NamedTuple):
    """What a graph is traced with, where that is not a DPT for any size.

    example: an input. free: its axes that stay free, by name. name: of the input.
    """

    example: torch.Tensor
    free: dict[int, str]
    name: str = INPUT


def to_openvino(network: nn.Module, shape: Shape | None = None) -> Any:
    """Network in evaluation mode -> openvino.Model, [B, 3, H, W] -> [B, K, H, W], all but 3 and K free.

    shape: for another module than a DPT, or another input.
    By the frontend's own interface: `openvino.convert_model` reports every use to its makers' servers.
    Raises RuntimeError if OpenVINO cannot take the network, ModuleNotFoundError if it is not installed.
    """
    openvino = import_openvino()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    shape = shape or _any_size(network)
    with _quiet(), torch.no_grad():
        example = shape.example
        traced = torch.jit.trace(network, example, check_trace=False)
        decoder = TorchScriptPythonDecoder(traced, example_input=example)
        frontend = FrontEndManager().load_by_framework("pytorch")
        loaded = frontend.load(decoder)
        sides = [-1 if axis in shape.free else side for axis, side in enumerate(example.shape)]
        loaded.set_partial_shape(loaded.get_inputs()[-1], openvino.PartialShape(sides))
        model = frontend.convert(loaded)
    # The names through which readers find them, whatever the trace called them.
    model.inputs[0].set_names({shape.name})
    model.outputs[0].set_names({OUTPUT})
    return model


def to_onnx(network: nn.Module, path: Path, shape: Shape | None = None) -> None:
    """Network in evaluation mode -> ONNX file, [B, 3, H, W] -> [B, K, H, W], all but 3 and K free.

    shape: as for `to_openvino`. Raises ModuleNotFoundError if the package onnx is not installed.
    """
    shape = shape or _any_size(network)
    free_output = {axis: name for axis, name in IMAGE_AXES.items() if name in shape.free.values()}
    with _quiet(), torch.no_grad():
        torch.onnx.export(
            network,
            (shape.example,),
            str(path),
            dynamo=False,
            opset_version=ONNX_OPSET,
            input_names=[shape.name],
            output_names=[OUTPUT],
            dynamic_axes={shape.name: shape.free, OUTPUT: free_output},
        )


def require_agreement(backend: Backend, network: DPT) -> None:
    """Raises RuntimeError unless the backend computes what the network does, NaN and infinity included.

    Some engines' ReLU turns NaN into zero, so that weights which hold it would give a picture instead of an error. One
    small picture, of another size than was traced.
    """
    height, width = example_picture(network).shape[2:]
    picture = torch.randn(1, 3, width, height, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted = network(picture).numpy()
    if not np.isfinite(wanted).all():
        raise RuntimeError("the weights hold NaN, infinity or huge values")
    require_near(backend.predict(picture.numpy()), wanted, backend.precision)


def _any_size(network: nn.Module) -> Shape:
    assert isinstance(network, DPT)
    return Shape(example_picture(network), IMAGE_AXES)


def example_picture(network: DPT) -> torch.Tensor:
    """A small picture whose token grid is not the trained one, for which a trace would leave the resizing out."""
    stride = max(network.encoder.stride, 32)
    embeddings = [module for module in network.modules() if isinstance(module, PositionEmbedding)]
    for embedding in embeddings:
        embedding.keep_resized(False)  # a kept one would become a constant
    rows = next(n for n in range(3, 9) if all(n * stride // 16 != embedding.grid[0] for embedding in embeddings))
    return torch.zeros(2, 3, rows * stride, (rows + 1) * stride)


@contextmanager
def _quiet() -> Iterator[None]:
    """Tracing warns that it is old, and of the check of the picture's size, which backends make themselves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
