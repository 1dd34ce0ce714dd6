"""The weight cache: where files lie, and that no file is used unless it is the one expected.

Beside `NAME` lie `NAME.sha256` (the recorded hash, in sha256sum's format), `NAME.lock`, and while a download is
unfinished `NAME.part` and `NAME.part.json`. `NAME.broken` is a file that failed its check while its replacement is
being fetched.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from dptkit.errors import WeightsError
from dptkit.image_io.atomic import atomic_write
from dptkit.source import WeightSource

_CHUNK = 1 << 20
_DIGITS = 64


class Progress(Protocol):
    """Called with the bytes done so far and their total, None while unknown. May go back when work starts again."""

    def __call__(self, done: int, total: int | None, /) -> None: ...


def cache_directory() -> Path:
    """The folder for weights; not created here.

    DPTKIT_CACHE if set, else $XDG_CACHE_HOME/dptkit or ~/.cache/dptkit on Linux, ~/Library/Caches/dptkit on macOS,
    %LOCALAPPDATA%\\dptkit\\Cache on Windows. Raises WeightsError if there is no home folder to put it in.
    """
    chosen = os.environ.get("DPTKIT_CACHE")
    try:
        if chosen:
            return Path(chosen).expanduser().absolute()
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "dptkit" / "Cache"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "dptkit"
        # The XDG specification: a relative path is invalid and must be ignored.
        xdg = Path(os.environ.get("XDG_CACHE_HOME") or "")
        return (xdg if xdg.is_absolute() else Path.home() / ".cache") / "dptkit"
    except RuntimeError:
        raise WeightsError("no home folder for the weight cache; set DPTKIT_CACHE to a folder") from None


def cached_path(source: WeightSource) -> Path:
    """Where the file lies, or will lie."""
    return cache_directory() / source.filename


def is_cached(source: WeightSource) -> bool:
    """Whether a file lies under the final name. Cheap, so it does not read the file; `verify` does."""
    return cached_path(source).is_file()


def sha256_of(path: Path, progress: Progress | None = None) -> str:
    """The file's SHA-256 as 64 hexadecimal digits. Raises WeightsError if the file cannot be read."""
    digest, done = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            total = os.fstat(file.fileno()).st_size
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def verify(path: Path, source: WeightSource) -> str:
    """Check the file against its published hash and the recorded one; returns its SHA-256.

    Where nothing is published and nothing recorded there is nothing to compare with, and the file passes: `record`
    what is returned, and every later use is checked. Raises WeightsError naming the file, the expected and the found
    hash, or the record if that is unreadable.
    """
    expected = expected_hashes(path, source)
    found = sha256_of(path)
    for origin, digits in expected:
        if not found.startswith(digits):
            raise WeightsError(f"{path}: SHA-256 should be {digits} ({origin}) but is {found}")
    return found


def expected_hashes(path: Path, source: WeightSource) -> list[tuple[str, str]]:
    """What the file at `path` must hash to, as (who says so, digits); empty if nobody says anything.

    A published prefix is too short to stop a deliberate forgery, so the recorded hash counts beside it. Raises
    WeightsError for an unreadable record.
    """
    published = source.sha256
    if published is None:
        recorded = recorded_hash(path)
        return [] if recorded is None else [(_recorded_in(path), recorded)]
    expected = [("published", published)]
    if len(published) < _DIGITS:
        recorded = recorded_hash(path)
        # A record of another release than the published one is out of date, not evidence.
        if recorded is not None and recorded.startswith(published):
            expected.append((_recorded_in(path), recorded))
    return expected


def recorded_hash(path: Path) -> str | None:
    """The hash in `NAME.sha256`, None if there is no such file. Raises WeightsError if it holds no hash."""
    record = _record_path(path)
    try:
        text = record.read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeDecodeError:
        text = ""
    except OSError as error:
        raise WeightsError(f"{record}: cannot be read: {error.strerror}") from error
    match = re.match(r"([0-9a-f]{64})[ \t]", text)
    if match is None:
        raise WeightsError(f"{record}: holds no SHA-256; delete it if you trust {path.name} as it is")
    return match[1]


def record(path: Path, source: WeightSource, found: str) -> None:
    """Remember `found` as the file's hash, unless the full one is published. Raises OSError if it cannot be written."""
    if len(source.sha256 or "") < _DIGITS and recorded_hash(path) != found:
        write_atomically(_record_path(path), f"{found}  {path.name}\n")


def write_atomically(path: Path, text: str) -> None:
    """Write a small file so that a reader, or the next start after a crash, sees the whole of it or nothing."""
    with atomic_write(path) as draft, draft.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def sync_directory(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut, where the platform can."""
    with suppress(OSError), _descriptor(folder) as descriptor:
        os.fsync(descriptor)


@contextmanager
def _descriptor(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _recorded_in(path: Path) -> str:
    return f"recorded in {path.name}.sha256 when first used; delete that to accept another"


def _record_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")
