"""Exported graphs to files: an IR of OpenVINO, which is two files, or an ONNX file. No torch here.

What is written is whole, or it is not there; an older file stays until then.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dptkit.errors import OutputWriteError
from dptkit.image_io.atomic import atomic_write
from dptkit.runtime.card import Card
from dptkit.runtime.openvino_import import import_openvino

BIN_KEY = "dptkit_bin_sha256"
"""In an IR's rt_info: the SHA-256 of its .bin, since nothing else says that the two belong together."""

_UNKNOWN = "0" * 64


def refuse_existing(path: Path, force: bool) -> None:
    """Raises OutputWriteError if a file that would be written is there and `force` is not given."""
    for file in (path, path.with_suffix(".bin")) if path.suffix == ".xml" else (path,):
        if file.exists() and not force:
            raise OutputWriteError(f"{file}: is there already; --force replaces it")


def write_openvino(model: Any, path: Path, card: Card, force: bool = False) -> None:
    """openvino.Model -> `path` (.xml) and the .bin beside it, both or none.

    The model's rt_info gets the card. Weights are stored in the types that the model has. The .xml holds the hash of
    the .bin. Raises OutputWriteError.
    """
    refuse_existing(path, force)
    binary = path.with_suffix(".bin")
    for key, text in {**card.to_texts(), BIN_KEY: _UNKNOWN}.items():
        model.set_rt_info(text, [key])
    # The .bin first: a reader looks for the .xml, and one that is new finds its .bin in place.
    with (
        _kept(binary),
        atomic_write(path) as new_xml,
        atomic_write(binary) as new_binary,
        TemporaryDirectory(dir=new_binary.parent, prefix=".dptkit-") as folder,
    ):
        drafts = Path(folder) / "model.xml", Path(folder) / "model.bin"
        try:
            import_openvino().serialize(model, str(drafts[0]), str(drafts[1]))
        except RuntimeError as error:
            raise OutputWriteError(f"cannot write {path}: {str(error).splitlines()[-1]}") from None
        xml = drafts[0].read_bytes()
        new_xml.write_bytes(xml.replace(_UNKNOWN.encode(), sha256_of_file(drafts[1]).encode()))
        drafts[1].replace(new_binary)


def write_onnx(model: Any, path: Path, card: Card, force: bool = False) -> None:
    """onnx.ModelProto -> `path`, with the card in its metadata_props; checked by onnx.checker.

    Raises OutputWriteError, also for a model above protobuf's 2 GB, and onnx.checker.ValidationError for one that is
    none.
    """
    import onnx

    refuse_existing(path, force)
    for key, text in card.to_texts().items():
        for entry in [entry for entry in model.metadata_props if entry.key == key]:
            model.metadata_props.remove(entry)
        model.metadata_props.add(key=key, value=text)
    if model.ByteSize() >= 1 << 31:
        raise OutputWriteError(f"cannot write {path}: above 2 GB, the limit of an ONNX file; use float16 or openvino")
    onnx.checker.check_model(model, full_check=True)
    with atomic_write(path) as temporary:
        temporary.write_bytes(model.SerializeToString())


def sha256_of_file(path: Path) -> str:
    """64 hexadecimal digits. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _kept(path: Path) -> Iterator[None]:
    """If the block fails, `path` is as it was: the older file, or none."""
    older = path.with_name(f".{path.name[:100]}.{os.getpid()}-{secrets.token_hex(4)}.old")
    existed = path.exists()
    if existed:
        with suppress(OSError):  # a file system without links: then the hash tells that the two do not fit
            os.link(path, older)
    try:
        yield
    except BaseException:
        with suppress(OSError):
            if older.exists():
                older.replace(path)
            elif not existed:
                path.unlink()
        raise
    finally:
        older.unlink(missing_ok=True)
