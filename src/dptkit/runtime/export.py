"""A network with its weights to a file that other programs run: written, read back, and compared with PyTorch.

B batch · K output channels · H W network resolution
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from dptkit.config import ModelSpec, PreprocessConfig
from dptkit.errors import ConfigError, DptkitError, OutputWriteError
from dptkit.image_io.atomic import atomic_write
from dptkit.model.dpt import DPT
from dptkit.model.encoders.transformer import PositionEmbedding
from dptkit.runtime.backend import PrecisionChoice, first_line
from dptkit.runtime.card import IMAGE, PIXELS, Card, GraphCard, StoredPrecision
from dptkit.runtime.conversion import IMAGE_AXES, ONNX_OPSET, Shape, example_picture, to_onnx, to_openvino
from dptkit.runtime.exported import open_exported
from dptkit.runtime.exported_files import refuse_existing, write_onnx, write_openvino

Format = Literal["onnx", "openvino", "torch-export"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "openvino": ".xml", "torch-export": ".pt2"}
_PACKAGES: dict[Format, tuple[str, ...]] = {
    "onnx": ("onnx", "onnxruntime"),
    "openvino": ("openvino",),
    "torch-export": (),
}
PRECISIONS: dict[Format, tuple[StoredPrecision, ...]] = {
    "onnx": ("float32", "float16"),
    "openvino": ("float32", "float16"),
    "torch-export": ("float32", "float16", "bfloat16"),
}

ALLOWED: dict[str, float] = {"float32": 2e-5, "float16": 0.0125, "bfloat16": 0.1}
"""Largest difference from PyTorch in float32, as a share of the output's largest value.

float32: sums in another order, see docs/engines.md. bfloat16 has 8 bits of significand and 0.1 there; float16 has three
more, and an eighth of that.
"""

_CONTROL_FLOW = {"If", "Loop", "Scan", "SequenceMap", "TensorIterator"}


class Wanted(NamedTuple):
    """What to write. size: (height, width) of a graph for one picture of that size; None for any batch and size."""

    format: Format
    precision: StoredPrecision = "float32"
    size: tuple[int, int] | None = None
    with_preprocess: bool = False


def export_model(
    spec: ModelSpec, network: DPT, path: Path, wanted: Wanted, *, weights_sha256: str | None = None, force: bool = False
) -> Card:
    """Write `network` (float32, on the CPU) to `path` for others to run, and return what the file says of itself.

    The file is opened again as a user would and compared with the network on several shapes before it gets its name.
    Raises ConfigError for what cannot be written so, OutputWriteError if its numbers are not the network's, it holds
    control flow, or the system refuses; nothing is left behind then.
    """
    check_wanted(spec, network.encoder.stride, path, wanted)
    refuse_existing(path, force)
    stride = network.encoder.stride
    if wanted.size is not None:
        preprocess = replace(spec.preprocess, size=wanted.size, policy="exact", long_side_limit=None)
        spec = replace(spec, preprocess=preprocess)
    # torch.export takes a side of one token for another graph.
    patches = 2 if wanted.format == "torch-export" else 1
    smallest = max(patches * stride, spec.preprocess.multiple_of)
    graph = GraphCard(
        wanted.precision,
        stride,
        input="pixels" if wanted.with_preprocess else "image",
        size=wanted.size,
        smallest=(smallest, smallest) if wanted.size is None else None,
        weights_sha256=weights_sha256,
        opset=ONNX_OPSET if wanted.format == "onnx" else None,
    )
    card = Card(spec, graph)
    network.eval()
    try:
        write = _WRITERS[wanted.format](_graph(network, spec, wanted), _shape(network, wanted), card)
    except DptkitError:
        raise
    except Exception as error:  # converters fail in as many ways as there are networks
        reason = f"{wanted.format} cannot take {spec.name} ({first_line(error)})"
        raise OutputWriteError(f"cannot write {path}: {reason}") from error
    with TemporaryDirectory(prefix="dptkit-") as folder:
        draft = Path(folder) / f"draft{path.suffix}"
        write(draft, card, False)
        difference = _compare(draft, network, card)
    if not difference <= ALLOWED[wanted.precision]:
        raise OutputWriteError(
            f"cannot write {path}: its numbers differ from PyTorch's by {difference:.2g} of the largest, and "
            f"{ALLOWED[wanted.precision]:g} is allowed for {wanted.precision}"
        )
    card = Card(spec, replace(graph, difference=float(f"{difference:.3g}")))
    write(path, card, force)
    return card


def check_wanted(spec: ModelSpec, stride: int, path: Path, wanted: Wanted) -> None:
    """Raises ConfigError for a file name, precision or size that the format or the network does not go with.

    And where a package is missing that writes the file or, since the file is tried, runs it.
    """
    suffix = SUFFIXES[wanted.format]
    missing = [name for name in _PACKAGES[wanted.format] if not _is_installed(name)]
    if missing:
        extra = " 'dptkit[onnx]'" if wanted.format == "onnx" else f" {missing[0]}"
        raise ConfigError(f"format {wanted.format} needs {' and '.join(missing)}: pip install{extra}")
    if path.suffix != suffix:
        raise ConfigError(f"{path}: a file of the format {wanted.format} must end in {suffix}")
    able = PRECISIONS[wanted.format]
    if wanted.precision not in able:
        more = "; --precision bfloat16 computes in it when the file is used" if wanted.format == "openvino" else ""
        raise ConfigError(f"{wanted.format} files hold {' or '.join(able)}, not {wanted.precision}{more}")
    if wanted.size is not None:
        multiple = max(stride, spec.preprocess.multiple_of)
        if any(side < multiple or side % multiple for side in wanted.size):
            height, width = wanted.size
            raise ConfigError(f"size {height}x{width}: both sides must be positive multiples of {multiple}")


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):  # as of a package that is hidden
        return False


class _ExportedGraph(nn.Module):
    """float32 or uint8 in, float32 out, whatever is computed in between."""

    def __init__(self, network: DPT, dtype: torch.dtype, preprocess: PreprocessConfig | None) -> None:
        super().__init__()
        self.network = network
        self.dtype = dtype
        self.with_preprocess = preprocess is not None
        mean, std = (preprocess.mean, preprocess.std) if preprocess is not None else ((0.0,), (1.0,))
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        if self.with_preprocess:
            image = (image.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
        raw: Tensor = self.network(image.to(self.dtype))
        return raw.float()


def _graph(network: DPT, spec: ModelSpec, wanted: Wanted) -> nn.Module:
    # OpenVINO keeps halves as weights and chooses what it computes in when the file is loaded.
    dtype = torch.float32 if wanted.format == "openvino" else getattr(torch, wanted.precision)
    computing = network if dtype is torch.float32 else copy.deepcopy(network).to(dtype)
    for module in computing.modules():
        if isinstance(module, PositionEmbedding):
            module.keep_resized(False)  # a kept one would become a constant
    return _ExportedGraph(computing, dtype, spec.preprocess if wanted.with_preprocess else None).eval()


def _shape(network: DPT, wanted: Wanted) -> Shape:
    example = example_picture(network) if wanted.size is None else torch.zeros(1, 3, *wanted.size)
    free = IMAGE_AXES if wanted.size is None else {}
    if wanted.with_preprocess:
        pixels = example.permute(0, 2, 3, 1).to(torch.uint8).contiguous()
        return Shape(pixels, {axis - (axis > 0): name for axis, name in free.items()}, PIXELS)
    return Shape(example, free, IMAGE)


_Write = Callable[[Path, Card, bool], None]


def _to_openvino(graph: nn.Module, shape: Shape, card: Card) -> _Write:
    model = to_openvino(graph, shape)
    if card.graph.precision == "float16":
        from openvino._offline_transformations import compress_model_transformation

        compress_model_transformation(model)
    _refuse_control_flow(op.get_type_name() for op in model.get_ops())
    return lambda path, card, force: write_openvino(model, path, card, force)


def _to_onnx(graph: nn.Module, shape: Shape, card: Card) -> _Write:
    import onnx

    from dptkit.version import __version__

    with TemporaryDirectory(prefix="dptkit-") as folder:
        to_onnx(graph, Path(folder) / "graph.onnx", shape)
        model = onnx.load(Path(folder) / "graph.onnx")
    _refuse_control_flow(node.op_type for node in model.graph.node)
    model.producer_name, model.producer_version = "dptkit", __version__
    model.doc_string = f"{card.spec.name}. Licence: {card.spec.license}. Trained on: {card.spec.trained_on}."
    return lambda path, card, force: write_onnx(model, path, card, force)


def _to_program(graph: nn.Module, shape: Shape, card: Card) -> _Write:
    sides: dict[int, Any] = {}
    for axis, name in shape.free.items():
        dim = torch.export.Dim(name, min=1 if name == "batch" else 2)
        sides[axis] = dim if name == "batch" else card.graph.stride * dim
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(graph, (shape.example,), dynamic_shapes={"image": sides or None}, strict=False)
    _refuse_control_flow(
        "If" for node in program.graph.nodes if isinstance(node.target, torch._ops.HigherOrderOperator)
    )

    def write(path: Path, card: Card, force: bool) -> None:
        refuse_existing(path, force)
        with atomic_write(path) as temporary, temporary.open("wb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.export.save(program, file, extra_files=card.to_texts())

    return write


_WRITERS: dict[Format, Callable[[nn.Module, Shape, Card], _Write]] = {
    "openvino": _to_openvino,
    "onnx": _to_onnx,
    "torch-export": _to_program,
}


def _refuse_control_flow(operators: Any) -> None:
    found = sorted(_CONTROL_FLOW.intersection(operators))
    if found:
        raise RuntimeError(f"the graph holds control flow: {', '.join(found)}")


def _compare(path: Path, network: DPT, card: Card) -> float:
    """The largest difference between the file and the network in float32, as a share of the output's largest value."""
    stored = card.graph.precision
    precision: PrecisionChoice = "float32" if path.suffix == ".xml" else "auto"
    backend = open_exported(path, device="cpu", precision=precision).backend
    worst = 0.0
    generator = np.random.default_rng(0)
    mean, std = np.array(card.spec.preprocess.mean), np.array(card.spec.preprocess.std)
    for batch, height, width in check_shapes(network, card):
        pixels = generator.integers(0, 256, (batch, height, width, 3), dtype=np.uint8)
        pictures = ((pixels / 255.0 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32)
        with torch.inference_mode():
            wanted = network(torch.from_numpy(pictures.copy())).numpy()
        if not np.isfinite(wanted).all():
            raise OutputWriteError("the weights hold NaN, infinity or huge values: nothing to export")
        try:
            found = backend.predict(pictures)
        except (RuntimeError, ValueError, DptkitError) as error:
            raise OutputWriteError(f"the {stored} graph fails at {height}x{width}: {first_line(error)}") from None
        worst = max(worst, float(np.abs(found - wanted).max() / np.abs(wanted).max()))
    return worst


def check_shapes(network: DPT, card: Card) -> list[tuple[int, int, int]]:
    """(batch, height, width) to check an export on: the trained token grid, wide, tall, the smallest, a batch."""
    if card.graph.size is not None:
        return [(1, *card.graph.size)]
    assert card.graph.smallest is not None
    low, unit = card.graph.smallest[0], max(card.graph.stride, card.spec.preprocess.multiple_of)
    grid = next(module.grid for module in network.modules() if isinstance(module, PositionEmbedding))
    height, width = (max(low, side * 16 // unit * unit) for side in grid)
    return [
        (1, height, width),
        (1, low, low + 3 * unit),
        (1, low + 4 * unit, low),
        (1, low, low),
        (2, low + unit, low + 2 * unit),
    ]
