"""Tensors from and to files. Weights are data: nothing here can run code that a file brings along."""

from __future__ import annotations

import json
import pickle
import re
import stat
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dptkit.config import ModelSpec, from_json, to_json
from dptkit.errors import OutputWriteError, WeightsError
from dptkit.image_io.atomic import atomic_write
from dptkit.version import __version__
from dptkit.weights.locate import SPEC_KEY as SPEC_KEY

_FORBIDDEN = re.compile(r"global|reduce|class|instance|build|persistent|unsupported", re.IGNORECASE)
"""Words by which torch says that a pickle asked for more than tensors."""

_WRAPPERS = ("model", "state_dict", "model_state_dict")


class TensorFile(NamedTuple):
    """Tensors by name, and the specification where the file carries one."""

    tensors: dict[str, Tensor]
    spec: ModelSpec | None


def read_tensors(path: Path) -> TensorFile:
    """Read a safetensors file, or a PyTorch file without running code from it.

    A PyTorch file may wrap its state dict, as {"model": ..., "optimizer": ...} does, and may prefix all names
    with "module.", as DataParallel does. Raises WeightsError for a missing, broken or unsafe file.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weight file")
    return _read_safetensors(path) if path.suffix == ".safetensors" else TensorFile(_read_torch(path), None)


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], spec: ModelSpec | None = None, notes: Mapping[str, str] | None = None
) -> None:
    """Write safetensors (or, for a name ending in .pt or .pth, a PyTorch state dict), atomically.

    `spec` goes into the metadata of a safetensors file, which makes it a whole model; `notes` do beside it. The same
    tensors and texts give the same bytes.
    """
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_write(path) as temporary:
        if path.suffix in (".pt", ".pth"):
            torch.save(contiguous, temporary)
            return
        metadata = {**(notes or {}), "format": "pt", "dptkit_version": __version__}
        if spec is not None:
            metadata[SPEC_KEY] = to_json(spec)
        mode = stat.S_IMODE(temporary.stat().st_mode)
        try:
            save_file(contiguous, temporary, metadata=metadata)
        except SafetensorError as error:
            raise OutputWriteError(f"cannot write {path}: {error}") from None
        _sort_metadata(temporary)
        # safetensors makes files that only their owner may read.
        temporary.chmod(mode)


def _sort_metadata(path: Path) -> None:
    """safetensors writes the metadata in an order of chance, so that equal models would have other hashes."""
    with path.open("r+b") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= length:  # as it was written but for the order; the format pads with spaces
            file.seek(8)
            file.write(text.ljust(length))


def _read_safetensors(path: Path) -> TensorFile:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error})") from None
    return TensorFile(tensors, from_json(metadata[SPEC_KEY], str(path)) if SPEC_KEY in metadata else None)


def _read_torch(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        start = file.read(2)
    # A zip archive, or a pickle of protocol 2 or later: everything that torch.save ever wrote.
    if start != b"PK" and start[:1] != pickle.PROTO:
        raise WeightsError(f"{path}: neither a safetensors nor a PyTorch file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of pickle protocols
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damage shows as almost any type of error
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, pickle.UnpicklingError) and _FORBIDDEN.search(str(error)):
            raise WeightsError(
                f"{path}: refused, since reading it could run code that it brings along; only tensors are accepted"
            ) from None
        raise WeightsError(f"{path}: not a readable PyTorch file ({cause})") from None
    tensors = _unwrap(content)
    if not tensors:
        raise WeightsError(f"{path}: holds no state dict")
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return tensors


def _unwrap(content: Any) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        return {}
    for wrapper in _WRAPPERS:
        if isinstance(content.get(wrapper), Mapping):
            return _unwrap(content[wrapper])
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
