"""Records in a JSON file beside the data, for formats that have no room for text; a hash ties the two together."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dptkit.errors import ImageReadError
from dptkit.image_io.atomic import atomic_write
from dptkit.image_io.names import printable
from dptkit.image_io.record import NoRecordError, parse_record, to_text


def sidecar_path(path: str | os.PathLike[str]) -> Path:
    """Where the record of an NPY or PFM file is: its name with `.json` added."""
    return Path(path).with_name(Path(path).name + ".json")


def write_with_sidecar(path: Path, data: bytes, record: Mapping[str, Any]) -> Path:
    """Write data and sidecar; returns the sidecar's path. Raises OutputWriteError.

    Both are complete before either takes its name, so a full disk leaves an older pair alone. A crash between the
    two renames leaves a pair that does not fit, which the hash shows to the reader.
    """
    sidecar = sidecar_path(path)
    text = to_text({**record, "sha256": hashlib.sha256(data).hexdigest()})
    with atomic_write(sidecar) as record_part, atomic_write(path) as data_part:
        data_part.write_bytes(data)
        record_part.write_text(text + "\n", "ascii")
    return sidecar


def read_sidecar(path: Path, data: bytes, contents: tuple[str, ...]) -> dict[str, Any]:
    """The record of `data`, which was read from `path`.

    Raises ImageReadError, the reason alone; NoRecordError without a sidecar.
    """
    sidecar = sidecar_path(path)
    name = printable(sidecar.name)
    try:
        text = sidecar.read_text("utf-8")
    except FileNotFoundError:
        raise NoRecordError(f"its sidecar {name} is missing, so nothing says what its numbers mean") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ImageReadError(f"its sidecar {name} cannot be read ({printable(str(error))})") from error
    record = parse_record(text, contents)
    if record.get("sha256") != hashlib.sha256(data).hexdigest():
        raise ImageReadError(f"it does not fit its sidecar {name} (the sha256 differs)")
    return record
