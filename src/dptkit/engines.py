"""Models ready to run: from the cache of compiled models, or made now and kept there.

torch is imported only where it is needed: not for a model whose compiled form is at hand.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from dptkit.config import LiteConfig, ModelSpec, model_to_plain
from dptkit.errors import ConfigError, WeightsError
from dptkit.preprocess import common_sizes, with_size
from dptkit.runtime import onnx_backend, openvino_backend
from dptkit.runtime.backend import Backend, EngineChoice, PrecisionChoice, first_line
from dptkit.runtime.choice import Choice, check_token_merge, choose
from dptkit.runtime.compiled_cache import DEFAULT_LIMIT_MB, CompiledCache
from dptkit.runtime.exported import is_exported, open_exported
from dptkit.runtime.openvino_graphs import OpenVINOGraphs
from dptkit.version import __version__
from dptkit.weights.cache import Progress, cache_directory
from dptkit.weights.locate import locate_model
from dptkit.weights.published import model_file

if TYPE_CHECKING:
    from dptkit.model.dpt import DPT
    from dptkit.weights.load import LoadedModel

_log = logging.getLogger("dptkit")

_ONNX, _STRIDE = "model.onnx", "stride.json"


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
    size: int | None = None,
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
        return ReadyModel(_sized(exported.spec, size), exported.backend, exported.card.graph.weights_sha256)
    choice = choose(engine, device, precision)._replace(streams=streams)
    asked = _Asked(model, weights, token_merge, progress)
    if choice.engine != "torch":
        try:
            return _open_compiled(asked, choice, size)
        except _EngineFailedError as error:
            if not choice.replaceable:
                raise ConfigError(f"{error}: use engine torch") from error
            _log.warning("%s: computing with torch", error)
            choice = choose("torch", device, precision)
    from dptkit.runtime.torch_backend import TorchBackend, find_device

    find_device(choice.device)  # before weights are downloaded for nothing
    spec, network, sha256 = asked.load()
    return ReadyModel(_sized(spec, size), TorchBackend(network, choice.device, choice.precision), sha256)


class _Asked(NamedTuple):
    """The network that is wanted."""

    model: str | Path
    weights: str | Path | None
    token_merge: float
    progress: Progress | None

    def load(self, sha256: str | None = None) -> LoadedModel:
        """With its weights. Raises as `load_model`, and WeightsError if the hash of its file is another by now."""
        from dptkit.weights.load import load_model

        loaded = load_model(self.model, self.weights, self.progress)
        if sha256 not in (None, loaded.sha256):
            raise WeightsError(f"{self.weights or self.model}: its weights are not those that were opened")
        loaded.network.set_token_merging(self.token_merge)
        return loaded


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


def _open_compiled(asked: _Asked, choice: Choice, size: int | None) -> ReadyModel:
    kept = compiled_models()
    cache = kept.models if kept is not None else None
    hashes = kept.hashes if kept is not None else None
    located = locate_model(asked.model, asked.weights, asked.progress, hashes=hashes)
    loaded = asked.load() if located is None else None
    known = located or loaded
    assert known is not None
    spec, sha256 = known.spec, known.sha256
    facts = _facts(spec, sha256, choice, asked.token_merge)
    spec = _sized(spec, size)
    backend: Backend | None
    if choice.engine == "onnx":
        backend = None if cache is None else cache.read(facts, lambda entry: _read_onnx(entry, choice))
    else:
        sizes = _sizes_of_their_own(spec, asked.token_merge)
        graphs = OpenVINOGraphs(
            lambda: asked.load(sha256).network, choice.precision, choice.streams, sizes, cache, facts
        )
        backend = graphs if graphs.is_kept() else None
    if backend is None:
        loaded = loaded or asked.load(sha256)
        try:
            if choice.engine == "onnx":
                backend = _make_onnx(loaded.network, choice, cache, facts)
            else:
                graphs.convert(loaded.network)
                backend = graphs
        except MemoryError:
            raise
        except Exception as error:  # converters fail in as many ways as there are networks
            message = f"engine {choice.engine} cannot take {spec.name} ({first_line(error)})"
            raise _EngineFailedError(message) from error
    return ReadyModel(spec, backend, sha256)


def _sized(spec: ModelSpec, size: int | None) -> ModelSpec:
    return spec if size is None else replace(spec, preprocess=with_size(spec.preprocess, size))


def _sizes_of_their_own(spec: ModelSpec, token_merge: float) -> frozenset[tuple[int, int]]:
    """Network sizes that get a graph of their own on OpenVINO: for dpt-lite's encoder, those of most pictures.

    It is then 1.2 times as fast. Larger networks gain less, and a graph of theirs costs seconds and their weights' size
    on the disk (docs/engines.md). Not where tokens are merged: of two that are as good as equal, rounding chooses, so
    that two graphs cannot be compared.
    """
    worth_it = isinstance(spec.model.encoder, LiteConfig) and not token_merge
    return common_sizes(spec.preprocess) if worth_it else frozenset()


def _read_onnx(entry: Path, choice: Choice) -> Backend:
    return onnx_backend.ONNXBackend(entry / _ONNX, choice.device, int((entry / _STRIDE).read_text("utf-8")))


def _make_onnx(network: DPT, choice: Choice, cache: CompiledCache | None, facts: dict[str, str]) -> Backend:
    from dptkit.runtime.conversion import require_agreement, to_onnx

    with TemporaryDirectory(prefix="dptkit-") as name:
        folder = Path(name)
        (folder / _STRIDE).write_text(str(network.encoder.stride), "utf-8")
        to_onnx(network, folder / _ONNX)
        backend = _read_onnx(folder, choice)
        require_agreement(backend, network)
        if cache is not None:
            cache.store(facts, lambda entry: _copy(folder, entry))
        return backend


def _copy(folder: Path, entry: Path) -> None:
    shutil.copytree(folder, entry, dirs_exist_ok=True)


def _facts(spec: ModelSpec, sha256: str, choice: Choice, token_merge: float) -> dict[str, str]:
    """All that a compiled model depends on beside sizes. Of the specification only the network."""
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
