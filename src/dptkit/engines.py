"""Models ready to run: from the cache of compiled models, or made now and kept there.

torch is imported only where it is needed: not for a model whose compiled form is at hand.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from dptkit.config import ModelSpec, model_to_plain
from dptkit.errors import ConfigError, WeightsError
from dptkit.runtime import onnx_backend, openvino_backend
from dptkit.runtime.backend import Backend, EngineChoice, PrecisionChoice, first_line
from dptkit.runtime.choice import Choice, check_token_merge, choose
from dptkit.runtime.compiled_cache import DEFAULT_LIMIT_MB, CompiledCache
from dptkit.runtime.exported import is_exported, open_exported
from dptkit.version import __version__
from dptkit.weights.cache import Progress, cache_directory
from dptkit.weights.locate import locate_model
from dptkit.weights.published import model_file

if TYPE_CHECKING:
    from dptkit.model.dpt import DPT

_log = logging.getLogger("dptkit")

_BLOB, _ONNX, _STRIDE = "model.blob", "model.onnx", "stride.json"


class ReadyModel(NamedTuple):
    """A model that can predict, what it is, and the hash of its weight file, where that is known."""

    spec: ModelSpec
    backend: Backend
    sha256: str | None


def open_model(
    model: str | Path,
    weights: str | Path | None = None,
    *,
    engine: EngineChoice = "auto",
    device: str = "auto",
    precision: PrecisionChoice = "auto",
    token_merge: float = 0.0,
    progress: Progress | None = None,
    streams: int = 1,
) -> ReadyModel:
    """Bring a model onto an engine. Arguments and errors are those of `dptkit.load`."""
    token_merge = check_token_merge(token_merge)
    path = model_file(model)
    if path is not None and is_exported(path):
        if weights is not None:
            raise WeightsError(f"{path}: is a whole model already; give either a model file or a preset with weights")
        if token_merge:
            raise ConfigError(
                f"{path}: its graph is fixed; merge tokens in the model that it came from, and export that"
            )
        exported = open_exported(path, engine, device, precision)
        return ReadyModel(exported.spec, exported.backend, exported.card.graph.weights_sha256)
    choice = choose(engine, device, precision)._replace(streams=streams)
    if choice.engine != "torch":
        try:
            return _open_compiled(model, weights, choice, token_merge, progress)
        except _EngineFailedError as error:
            if not choice.replaceable:
                raise ConfigError(f"{error}: use engine torch") from error
            _log.warning("%s: computing with torch", error)
            choice = choose("torch", device, precision)
    from dptkit.runtime.torch_backend import TorchBackend, find_device
    from dptkit.weights.load import load_model

    find_device(choice.device)  # before weights are downloaded for nothing
    spec, network, sha256 = load_model(model, weights, progress)
    network.set_token_merging(token_merge)
    return ReadyModel(spec, TorchBackend(network, choice.device, choice.precision), sha256)


class CompiledModels(NamedTuple):
    """Where compiled models are kept, and the folder in which hashes of weight files are remembered."""

    models: CompiledCache
    hashes: Path


def compiled_models() -> CompiledModels | None:
    """The cache of compiled models; None if there is no place for one, or none is wanted.

    DPTKIT_COMPILED_CACHE is its folder, by default `compiled` in the weight cache, which DPTKIT_CACHE moves;
    DPTKIT_COMPILED_CACHE_MB its size, 0 for none. Raises ConfigError if that is no number.
    """
    limit = os.environ.get("DPTKIT_COMPILED_CACHE_MB") or str(DEFAULT_LIMIT_MB)
    if not (limit.isascii() and limit.isdecimal()):
        raise ConfigError(f"DPTKIT_COMPILED_CACHE_MB: {limit!r} is not a number of megabytes")
    if not int(limit):
        return None
    chosen = os.environ.get("DPTKIT_COMPILED_CACHE")
    try:
        folder = Path(chosen).expanduser().absolute() if chosen else cache_directory() / "compiled"
    except (WeightsError, RuntimeError):
        return None
    return CompiledModels(CompiledCache(folder / "models", int(limit) << 20), folder / "hashes")


class _EngineFailedError(Exception):
    """The engine could not take a network that is in order."""


def _open_compiled(
    model: str | Path, weights: str | Path | None, choice: Choice, token_merge: float, progress: Progress | None
) -> ReadyModel:
    kept = compiled_models()
    cache = kept.models if kept is not None else None
    located = locate_model(model, weights, progress, hashes=kept.hashes if kept is not None else None)
    if located is not None and cache is not None:
        entry = cache.find(_facts(located.spec, located.sha256, choice, token_merge))
        if entry is not None:
            try:
                return ReadyModel(located.spec, _read(entry, choice), located.sha256)
            except (RuntimeError, OSError, ValueError) as error:
                _log.warning("compiled model in %s: %s; making it anew", entry, first_line(error))
                cache.discard(entry)
    from dptkit.weights.load import load_model

    spec, network, sha256 = load_model(model, weights, progress)
    network.set_token_merging(token_merge)
    try:
        backend = _compile(network, choice, cache, _facts(spec, sha256, choice, token_merge))
    except MemoryError:
        raise
    except Exception as error:  # converters fail in as many ways as there are networks
        raise _EngineFailedError(f"engine {choice.engine} cannot take {spec.name} ({first_line(error)})") from error
    return ReadyModel(spec, backend, sha256)


def _read(entry: Path, choice: Choice) -> Backend:
    stride = int((entry / _STRIDE).read_text("utf-8"))
    if choice.engine == "onnx":
        return onnx_backend.ONNXBackend(entry / _ONNX, choice.device, stride)
    return openvino_backend.read_compiled(entry / _BLOB, choice.precision, stride, choice.streams)


def _compile(network: DPT, choice: Choice, cache: CompiledCache | None, facts: dict[str, str]) -> Backend:
    from dptkit.runtime.conversion import require_agreement, to_onnx, to_openvino

    stride = network.encoder.stride
    compiled = None
    if choice.engine == "openvino":
        compiled = openvino_backend.compile_graph(to_openvino(network), choice.precision, choice.streams)

    def write(folder: Path) -> None:
        (folder / _STRIDE).write_text(str(stride), "utf-8")
        if compiled is not None:
            openvino_backend.write_compiled(compiled, folder / _BLOB)
        else:
            to_onnx(network, folder / _ONNX)

    if compiled is not None:
        # Checked before it is kept.
        backend: Backend = openvino_backend.OpenVINOBackend(compiled, choice.precision, stride)
        require_agreement(backend, network)
        if cache is not None:
            cache.store(facts, write)
        return backend
    with TemporaryDirectory(prefix="dptkit-") as folder:
        write(Path(folder))
        backend = _read(Path(folder), choice)
        require_agreement(backend, network)
        if cache is not None:
            cache.store(facts, lambda entry: _copy(Path(folder), entry))
        return backend


def _copy(folder: Path, entry: Path) -> None:
    shutil.copytree(folder, entry, dirs_exist_ok=True)


def _facts(spec: ModelSpec, sha256: str, choice: Choice, token_merge: float) -> dict[str, str]:
    """All that a compiled model depends on. Of the specification only the network: sizes are free in the graph."""
    engine = onnx_backend.identity() if choice.engine == "onnx" else openvino_backend.identity()
    return {
        "weights": sha256,
        "network": hashlib.sha256(json.dumps(model_to_plain(spec.model), sort_keys=True).encode()).hexdigest(),
        "precision": choice.precision,
        "token_merge": f"{token_merge:.3f}",
        "dptkit": __version__,
        "code": _code_digest(),
        **engine,
    }


@lru_cache
def _code_digest() -> str:
    """Of the files that say what a network computes, since a working copy changes without a new version."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    files = (*(package / "model").rglob("*.py"), *(package / "runtime").glob("*.py"))
    for path in sorted(files):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
