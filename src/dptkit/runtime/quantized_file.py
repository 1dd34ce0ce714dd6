"""Quantised models as files: what they are and how they were made lies in them, so that one file is a whole model.

OpenVINO: OUT.xml and OUT.bin; the card is the XML's rt_info `dptkit`, and holds the SHA-256 of OUT.bin.
ONNX: OUT.onnx; the card is its metadata entry `dptkit`.
The card is JSON: `spec` (as in our weight files), `stride`, `weights_sha256`, `quantization`, `license`. No torch here.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

from dptkit.config import ModelSpec, from_json, to_json
from dptkit.errors import ConfigError, OutputWriteError, WeightsError
from dptkit.image_io.names import printable
from dptkit.runtime import onnx_backend, openvino_backend
from dptkit.runtime.backend import Backend, Precision, first_line
from dptkit.runtime.openvino_import import import_openvino

KEY = "dptkit"
SUFFIXES = (".xml", ".onnx")


class QuantizedFile(NamedTuple):
    """An opened file. card: the whole of it, JSON values."""

    spec: ModelSpec
    backend: Backend
    card: dict[str, Any]


def make_card(spec: ModelSpec, stride: int, weights_sha256: str, quantization: dict[str, Any]) -> dict[str, Any]:
    """The card of a quantised model."""
    return {
        "spec": json.loads(to_json(spec)),
        "stride": stride,
        "weights_sha256": weights_sha256,
        "license": spec.license,
        "quantization": quantization,
    }


def write_openvino(target: Path, model: Any, card: dict[str, Any]) -> None:
    """openvino.Model -> `target` (.xml) and the .bin beside it, or neither. Raises OutputWriteError."""
    openvino = import_openvino()
    weights = target.with_suffix(".bin")
    draft: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(mkdtemp(prefix=f".{target.stem}-", dir=target.parent))
        xml, part = draft / "model.xml", draft / "model.bin"
        openvino.save_model(model, str(xml), compress_to_fp16=False)
        model.set_rt_info(json.dumps(card | {"bin_sha256": _sha256(part)}), [KEY])
        openvino.save_model(model, str(xml), compress_to_fp16=False)
        part.replace(weights)
        xml.replace(target)
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else first_line(error)
        raise OutputWriteError(f"cannot write {printable(target)}: {reason}") from error
    finally:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)


def write_onnx(target: Path, source: Path, card: dict[str, Any]) -> None:
    """ONNX file -> `target` with the card, or nothing. Raises OutputWriteError."""
    import onnx

    from dptkit.image_io.atomic import write_bytes

    model = onnx.load(str(source))
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, json.dumps(card)
    write_bytes(target, model.SerializeToString())


def open_quantized(path: Path, precision: Precision, device: str = "cpu") -> QuantizedFile:
    """A quantised file, ready to predict; what is not in int8 is computed in `precision`.

    Raises WeightsError for a file that is broken, has no card, or whose .bin is another's; ConfigError where the
    engine that it is for is missing.
    """
    try:
        return _open_onnx(path, device) if path.suffix == ".onnx" else _open_openvino(path, precision)
    except (RuntimeError, OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, MemoryError):
            raise
        raise WeightsError(f"{printable(path)}: is broken or no model of dptkit ({first_line(error)})") from error


def _open_openvino(path: Path, precision: Precision) -> QuantizedFile:
    try:
        openvino = import_openvino()
    except ImportError as error:
        raise ConfigError(
            f"{printable(path)} is for OpenVINO, which does not work here ({first_line(error)})"
        ) from None
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise WeightsError(f"{printable(path)}: {printable(weights.name)}, which belongs to it, is not beside it")
    model = openvino.Core().read_model(str(path))
    if not model.has_rt_info([KEY]):
        raise WeightsError(f"{printable(path)}: has no card of dptkit, so nobody knows what its numbers mean")
    card = json.loads(model.get_rt_info([KEY]).astype(str))
    if _sha256(weights) != card["bin_sha256"]:
        raise WeightsError(f"{printable(path)}: {printable(weights.name)} is not what was written with it")
    compiled = openvino_backend.compile_graph(model, precision)
    backend = openvino_backend.OpenVINOBackend(compiled, precision, int(card["stride"]), int8=True)
    return QuantizedFile(_spec(card, path), backend, card)


def _open_onnx(path: Path, device: str) -> QuantizedFile:
    if not onnx_backend.is_onnx_installed():
        raise ConfigError(f"{printable(path)} is for ONNX Runtime: pip install 'dptkit[onnx]'")
    card = onnx_backend.read_metadata(path).get(KEY)
    if card is None:
        raise WeightsError(f"{printable(path)}: has no card of dptkit, so nobody knows what its numbers mean")
    values = json.loads(card)
    backend = onnx_backend.ONNXBackend(path, device, int(values["stride"]), int8=True)
    return QuantizedFile(_spec(values, path), backend, values)


def _spec(card: dict[str, Any], path: Path) -> ModelSpec:
    return from_json(json.dumps(card["spec"]), printable(path))


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
