"""Which file a model's weights are in, what they are and their hash, without reading a tensor. No torch here."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from dptkit.config import ModelSpec, from_json
from dptkit.errors import DptkitError, WeightsError
from dptkit.image_io.atomic import write_bytes
from dptkit.presets import Preset, find_preset
from dptkit.weights.cache import Progress, cached_path, expected_hashes, is_cached, sha256_of
from dptkit.weights.published import model_file, published_weights

SPEC_KEY = "dptkit"
"""Metadata key under which a safetensors file of ours carries its specification as JSON."""

PRUNING_KEY = "dptkit_pruning"
"""Metadata key under which a pruned file says, as JSON, of which file it was made, and how."""

_LONGEST_HEADER = 100_000_000  # safetensors' own limit, in bytes
_SETTLED_NS = 2_000_000_000
"""A file changed this recently may change again within the clock's resolution, and its hash is not remembered."""


class LocatedModel(NamedTuple):
    """What `load_model` would give, but for the network."""

    spec: ModelSpec
    path: Path
    sha256: str


def locate_model(
    model: str | Path,
    weights: str | Path | None = None,
    progress: Progress | None = None,
    *,
    hashes: Path | None = None,
) -> LocatedModel | None:
    """As `dptkit.weights.load.load_model`, without a network, and so without torch.

    hashes: a folder in which the hashes of files are remembered, see `remembered_sha256`.
    None where only reading the tensors can tell whether they fit, or what is wrong: `load_model` then says so.
    Raises UnknownModelError or DownloadError as it does. That the tensors fit the specification is not checked here.
    """
    path = model_file(model)
    if path is not None:
        spec = read_spec(path) if weights is None else None
    else:
        preset = find_preset(str(model))
        path = Path(weights) if weights is not None else _published(preset, progress, hashes)
        own = read_spec(path)
        spec = preset.spec if own is None or own.model == preset.spec.model else None
    if spec is None or not path.is_file():
        return None
    return LocatedModel(spec, path, sha256_of(path) if hashes is None else remembered_sha256(path, hashes))


def read_spec(path: Path) -> ModelSpec | None:
    """The specification in a safetensors file's header; None if it has none, or is another or a broken file."""
    try:
        return from_json(read_metadata(path)[SPEC_KEY], str(path))
    except (KeyError, TypeError, DptkitError):
        return None


def read_metadata(path: Path) -> dict[str, str]:
    """The texts in a safetensors file's header; none if it has none, or is another or a broken file."""
    if path.suffix != ".safetensors":
        return {}
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            return {} if length > _LONGEST_HEADER else dict(json.loads(file.read(length))["__metadata__"])
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return {}


def remembered_sha256(path: Path, hashes: Path) -> str:
    """The file's SHA-256; read from the folder `hashes` where the very same file, unchanged, was hashed before.

    The same means: path, device, inode, size, and times of the last change of content and of inode.
    Raises WeightsError if the file cannot be read.
    """
    try:
        identity = _identity(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from error
    known = _recall(identity, hashes)
    if known is not None:
        return known
    found = sha256_of(path)
    changed = max(identity["mtime_ns"], identity["ctime_ns"])
    with suppress(OSError, DptkitError):  # a cache that is read-only, or full
        if _identity(path) == identity and time.time_ns() - changed > _SETTLED_NS:
            write_bytes(_memory(identity, hashes), json.dumps({"file": identity, "sha256": found}).encode())
    return found


def _published(preset: Preset, progress: Progress | None, hashes: Path | None) -> Path:
    """As `published_weights`, which hashes the file: spared where the unchanged file's hash is known and as expected.

    Nothing is read from the file on the strength of this: whoever reads its tensors, as `load_model` does, checks it.
    """
    cached = next((source for source in preset.sources if is_cached(source)), None)
    if hashes is not None and preset.bundled is None and cached is not None:
        path = cached_path(cached)
        with suppress(OSError):
            known, expected = _recall(_identity(path), hashes), expected_hashes(path, cached)
            if known is not None and expected and all(known.startswith(digits) for _, digits in expected):
                return path
    return published_weights(preset, progress)


def _recall(identity: dict[str, Any], hashes: Path) -> str | None:
    with suppress(OSError, ValueError, KeyError, TypeError):
        record = json.loads(_memory(identity, hashes).read_text("utf-8"))
        if record["file"] == identity and len(record["sha256"]) == 64:
            return str(record["sha256"])
    return None


def _memory(identity: dict[str, Any], hashes: Path) -> Path:
    return hashes / f"{hashlib.sha256(os.fsencode(identity['path'])).hexdigest()[:32]}.json"


def _identity(path: Path) -> dict[str, Any]:
    status = path.stat()
    return {
        "path": os.path.realpath(path),
        "device": status.st_dev,
        "inode": status.st_ino,
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "ctime_ns": status.st_ctime_ns,
    }
