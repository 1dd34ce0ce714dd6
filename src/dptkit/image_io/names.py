"""Names of files and sources as they appear in messages: one line, always encodable."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import Any

# Control characters, lone surrogates (undecodable bytes of a file name), line and paragraph separators.
_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}


def printable(text: str | os.PathLike[str]) -> str:
    """`text` with control characters and undecodable bytes escaped: one line that UTF-8 can encode."""
    plain = os.fspath(text)
    if plain.isprintable():
        return plain
    return "".join(
        letter.encode("unicode_escape").decode("ascii") if unicodedata.category(letter) in _UNPRINTABLE else letter
        for letter in plain
    )


def is_tensor(source: object) -> bool:
    """True for a torch tensor, without importing torch."""
    return all(hasattr(source, name) for name in ("detach", "cpu", "numpy", "dtype", "shape"))


def describe_source(source: Any) -> str:
    """What messages call `source`: the file's path, or the kind and shape of what was passed in memory.

    Never fails, and the answer is one line that UTF-8 can encode.
    """
    if isinstance(source, (str, os.PathLike)):
        return printable(os.fsdecode(source))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return f"{len(source)} bytes of data"
    shape = getattr(source, "shape", None)
    if shape is not None and hasattr(source, "dtype"):
        kind = "tensor" if is_tensor(source) else "array"
        return printable(f"{kind} {source.dtype} {tuple(shape)}")
    # Pillow images opened from a file have `filename`, file objects have `name` (an integer for a descriptor).
    for attribute in ("filename", "name"):
        name = getattr(source, attribute, None)
        if isinstance(name, (str, bytes, Path)) and name:
            return printable(os.fsdecode(name))
    if hasattr(source, "mode") and hasattr(source, "size"):
        return printable(f"PIL image {source.size} {source.mode}")
    return "file object" if hasattr(source, "read") else type(source).__name__
