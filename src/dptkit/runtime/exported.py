"""Files that `dpt export` and `dpt quantize` wrote, opened again. torch only for a .pt2."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from dptkit.config import ModelSpec
from dptkit.errors import ConfigError, WeightsError
from dptkit.runtime import onnx_backend, openvino_backend
from dptkit.runtime.backend import Backend, Engine, EngineChoice, PrecisionChoice, first_line, require_stride
from dptkit.runtime.card import Card, read_texts
from dptkit.runtime.choice import choose
from dptkit.runtime.exported_files import BIN_KEY, sha256_of_file
from dptkit.runtime.openvino_import import openvino_core

ENGINE_OF_SUFFIX: dict[str, Engine] = {".onnx": "onnx", ".xml": "openvino", ".pt2": "torch"}


class ExportedModel(NamedTuple):
    """What a file is, and ready to predict."""

    spec: ModelSpec
    backend: Backend
    card: Card


def is_exported(path: Path) -> bool:
    """Whether a file of this name would be an exported graph."""
    return path.suffix in ENGINE_OF_SUFFIX


def open_exported(
    path: Path, engine: EngineChoice = "auto", device: str = "auto", precision: PrecisionChoice = "auto"
) -> ExportedModel:
    """Bring an exported file (.xml with its .bin, .onnx, .pt2) onto the engine that it is for.

    precision: an IR of float32 or float16 is computed in whatever the engine can, by default as `choose` says; what an
    ONNX file or a .pt2 computes in is fixed in it, and so are the quantised layers of any int8 file, whose backend
    says "int8". Raises ConfigError for another engine or precision, WeightsError for a file that is broken or foreign.
    """
    own = ENGINE_OF_SUFFIX[path.suffix]
    if engine not in ("auto", own):
        raise ConfigError(f"{path}: runs on the engine {own} only: use engine {own} or auto")
    if not path.is_file():
        raise WeightsError(f"{path}: no such model file")
    open_file = {"openvino": _open_openvino, "onnx": _open_onnx, "torch": _open_torch}[own]
    card, backend = open_file(path, device, precision)
    return ExportedModel(card.spec, backend, card)


def _open_openvino(path: Path, device: str, precision: PrecisionChoice) -> tuple[Card, Backend]:
    choice = choose("openvino", device, precision)
    binary = path.with_suffix(".bin")
    if not binary.is_file():
        raise WeightsError(f"{path}: an IR is two files, and {binary.name} is not beside it")
    try:
        model = openvino_core().read_model(str(path), str(binary))
    except RuntimeError as error:
        raise WeightsError(f"{path}: not a readable IR of OpenVINO ({_cause(error)})") from None
    texts = {key: str(model.get_rt_info([key]).value) for key in model.get_rt_info()}
    card = read_texts(texts, str(path))
    if sha256_of_file(binary) != texts.get(BIN_KEY):
        raise WeightsError(f"{binary}: is not what was written with {path.name}: damaged, or of another model")
    compiled = openvino_backend.compile_graph(model, choice.precision)
    return card, ExportedBackend(openvino_backend.OpenVINOBackend(compiled, choice.precision, card.graph.stride), card)


def _open_onnx(path: Path, device: str, precision: PrecisionChoice) -> tuple[Card, Backend]:
    choice = choose("onnx", device, "auto")
    card = read_texts(_metadata_of_onnx(path), str(path))
    _require_precision(card, precision, path)
    computed = "float32" if card.graph.precision == "int8" else card.graph.precision
    try:
        backend = onnx_backend.ONNXBackend(path, choice.device, card.graph.stride, computed)
    except RuntimeError as error:
        raise WeightsError(f"{path}: not a readable ONNX file ({_cause(error)})") from None
    return card, ExportedBackend(backend, card)


def _open_torch(path: Path, device: str, precision: PrecisionChoice) -> tuple[Card, Backend]:
    from dptkit.runtime.exported_program import open_program

    card, backend = open_program(path, device)
    _require_precision(card, precision, path)
    return card, ExportedBackend(backend, card)


def _require_precision(card: Card, precision: PrecisionChoice, path: Path) -> None:
    own = card.graph.precision
    if precision not in ("auto", own) and own != "int8":
        raise ConfigError(f"{path}: computes in {own}: use precision {own} or auto")


class _Computes(Protocol):
    @property
    def engine(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def device(self) -> str: ...

    def compute(self, inputs: npt.NDArray[Any]) -> npt.NDArray[np.float32]: ...


class ExportedBackend:
    """A Backend on a graph of any card: takes normalised pictures, and hands on what the graph wants.

    A graph for one picture of one size gets them one by one. One that normalises inside gets the pixels again, rounded
    to the 256 values that it takes, which is where its results differ from those of the other graphs.
    """

    def __init__(self, engine: _Computes, card: Card) -> None:
        self._engine = engine
        self._graph = card.graph
        self._mean = np.array(card.spec.preprocess.mean, np.float32)
        self._std = np.array(card.spec.preprocess.std, np.float32)
        self.engine = engine.engine
        self.device = engine.device
        self.precision = "int8" if card.graph.precision == "int8" else engine.precision

    def predict(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Normalised images float32 [B, 3, h, w] -> raw output float32 [B, K, h, w].

        Raises ConfigError for a size that the graph does not take, as test-time augmentation may ask for.
        """
        inputs: npt.NDArray[Any] = images
        size = images.shape[2:]
        if self._graph.size is None:
            require_stride(images, self._graph.stride)
            if self._graph.smallest is not None and min(size) < min(self._graph.smallest):
                raise ConfigError(
                    f"network input {_x(size)}: this file's graph takes {_x(self._graph.smallest)} and more"
                )
        elif size != self._graph.size:
            raise ConfigError(f"network input {_x(size)}: this file's graph takes {_x(self._graph.size)} alone")
        if self._graph.input == "pixels":
            values = (images.transpose(0, 2, 3, 1) * self._std + self._mean) * 255
            inputs = np.clip(np.rint(values), 0, 255).astype(np.uint8)
        if self._graph.size is None or len(inputs) == 1:
            return self._engine.compute(inputs)
        return np.concatenate([self._engine.compute(inputs[index : index + 1]) for index in range(len(inputs))])


def _x(size: Sequence[int]) -> str:
    return f"{size[0]}x{size[1]}"


def _metadata_of_onnx(path: Path) -> dict[str, str]:
    """metadata_props of an ONNX file, by walking over its outermost fields, without reading what they hold.

    It needs no package, and says of a file that was cut short, or is something else, that it is.
    """
    texts: dict[str, str] = {}
    size = path.stat().st_size
    broken = WeightsError(f"{path}: not an ONNX file, or not all of it")
    with path.open("rb") as file:
        try:
            while file.tell() < size:
                key = _varint(file)
                if key & 7 == 0:
                    _varint(file)
                    continue
                if key & 7 != 2:
                    raise broken
                length = _varint(file)
                if file.tell() + length > size:
                    raise broken
                if key >> 3 == _METADATA_PROPS:
                    name, text = _string_pair(file.read(length))
                    texts[name] = text
                else:
                    file.seek(length, 1)
        except (EOFError, ValueError):
            raise broken from None
    return texts


_METADATA_PROPS = 14  # onnx.proto, message ModelProto; its entries: key = 1, value = 2


def _string_pair(data: bytes) -> tuple[str, str]:
    file, parts = BytesIO(data), {1: "", 2: ""}
    while file.tell() < len(data):
        key, length = _varint(file), _varint(file)
        parts[key >> 3] = file.read(length).decode()
    return parts[1], parts[2]


def _varint(file: Any) -> int:
    """A number of protobuf: seven bits a byte, lowest first."""
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise EOFError
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
    raise ValueError("too long")


def _cause(error: BaseException) -> str:
    """What of an engine's message tells a user something: OpenVINO begins with the places in its own source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return (telling[-1] if telling else first_line(error)).split(" Please check")[0]
