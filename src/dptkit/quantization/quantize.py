"""The whole of it: load, calibrate, quantise, score before and after, write."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple, Protocol

from dptkit.config import ModelSpec
from dptkit.errors import ConfigError
from dptkit.evaluation.evaluate import OnPicture
from dptkit.evaluation.machine import machine, versions
from dptkit.image_io.names import printable
from dptkit.model.dpt import DPT
from dptkit.quantization.calibration import DEFAULT_COUNT, read_calibration
from dptkit.quantization.gate import Gate, GateResult
from dptkit.quantization.jobs import Job, ONNXJob, OpenVINOJob, versions_of
from dptkit.runtime import nncf_import, onnx_backend
from dptkit.runtime.card import Card, GraphCard
from dptkit.runtime.exported_files import refuse_existing
from dptkit.weights.load import load_model

Format = Literal["openvino", "onnx"]
_FORMATS: dict[str, Format] = {".xml": "openvino", ".onnx": "onnx"}

KEPT = ("encoder.stem.conv", "encoder.patch_embedding")
"""Modules that stay high unless the user says otherwise: docs/quantize.md has the measurement."""


class Steps(Protocol):
    """What is told of the work while it goes on."""

    def calibrating(self, total: int) -> Callable[[int], None]: ...
    def scoring(self, what: str, total: int) -> OnPicture: ...
    def problem(self, text: str) -> None: ...


class Quantized(NamedTuple):
    """What was written, and the scores if there was a gate. `card.notes` says how it was made, as JSON texts."""

    spec: ModelSpec
    card: Card
    gate: GateResult | None


def target_format(target: Path) -> Format:
    """By the ending. Raises ConfigError for another one, or where the package that quantises is missing."""
    found = _FORMATS.get(target.suffix)
    if found is None:
        raise ConfigError(f"{printable(target)}: name a file that ends in .xml (OpenVINO) or .onnx (ONNX Runtime)")
    if found == "openvino" and not nncf_import.is_nncf_installed():
        raise ConfigError("int8 for OpenVINO needs the package nncf: pip install 'dptkit[quantize]'")
    if found == "onnx" and not onnx_backend.is_onnx_installed():
        raise ConfigError("int8 for ONNX Runtime needs onnx and onnxruntime: pip install 'dptkit[onnx]'")
    return found


def quantize_model(
    model: str | Path,
    target: Path,
    folders: Sequence[Path],
    *,
    weights: Path | None = None,
    count: int = DEFAULT_COUNT,
    keep: Sequence[str] = KEPT,
    gate: Gate | None = None,
    force: bool = False,
    steps: Steps,
) -> Quantized:
    """Write `target`, the model in int8, or raise and write nothing.

    folders: calibration pictures, see `choose_pictures`. keep: modules that stay high, by their names in the network.
    gate: scored before in float32 and after as the file will run, on the engine that the file is for.
    Raises AccuracyLostError where the gate refuses; ConfigError for what cannot work; DataError, WeightsError and
    OutputWriteError as reading and writing do; force: replace what is there.
    """
    wanted = target_format(target)
    refuse_existing(target, force)
    spec, network, sha256 = load_model(model, weights)
    _check_modules(network, keep)
    calibration = read_calibration(folders, spec.preprocess, count, steps.problem)
    with TemporaryDirectory(prefix="dptkit-") as folder:
        job: Job = OpenVINOJob(network) if wanted == "openvino" else ONNXJob(network, Path(folder))
        before = None
        if gate is not None:
            before = gate.score(spec, job.before(), steps.scoring("before", _pictures(gate)))
        job.quantize(calibration.inputs, keep, steps.calibrating(len(calibration.inputs)))
        card = Card(spec, GraphCard("int8", network.encoder.stride, weights_sha256=sha256))
        after = job.after(card)
        result = None
        if gate is not None and before is not None:
            found = gate.score(spec, after, steps.scoring("after", _pictures(gate)))
            result = GateResult(gate, before, found, "float32")
            result.require(spec.name)
        known = {name for name, _ in network.named_modules()}
        notes: dict[str, object] = {
            "method": job.method,
            "calibration": calibration.to_card(),
            "kept_high": [name for name in keep if name in known],
            "gate": None if result is None else result.to_card(),
            "versions": versions() | versions_of(job),
            "machine": machine(),
            "license": spec.license,
        }
        card = replace(card, notes={key: json.dumps(value, ensure_ascii=False) for key, value in notes.items()})
        job.write(target, card, force)
    return Quantized(spec, card, result)


def _pictures(gate: Gate) -> int:
    return min(len(gate.dataset), gate.limit or len(gate.dataset))


def _check_modules(network: DPT, keep: Sequence[str]) -> None:
    """A name mistyped would keep nothing. Those of KEPT that this network lacks are for other networks."""
    known = {name for name, _ in network.named_modules()}
    for name in keep:
        if name not in known and name not in KEPT:
            raise ConfigError(f"the network has no module {printable(name)}: name one as head.conv2 or reassemble")
