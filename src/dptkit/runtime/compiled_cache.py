"""Networks as engines want them, kept on disk, so that only the first use of a model pays for the conversion.

One folder per entry, named by a digest of all that the entry depends on (`facts`): weights, network, engine and its
version, dptkit and its code, precision, processor. In it lie the parts and `entry.json`, which repeats the facts and
holds each part's size and SHA-256. An entry is used only if the facts are the same and every part is what was written;
anything else is removed and made anew. This guards against damage and old versions, not against somebody who may
write to the folder: nor could the weights beside it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from dptkit.runtime.backend import first_line

_log = logging.getLogger("dptkit")

Kept = TypeVar("Kept")

_RECORD = "entry.json"
_CHUNK = 1 << 20
_ABANDONED_S = 3600.0
DEFAULT_LIMIT_MB = 8192


class CompiledCache:
    """Entries below `folder`, the least recently used of which are removed above `limit` bytes.

    Safe to use from several threads and processes at once. No failure of the disk is an error: without a cache a
    prediction only starts more slowly.
    """

    def __init__(self, folder: Path, limit: int = DEFAULT_LIMIT_MB << 20) -> None:
        self.folder = folder
        self.limit = limit

    def find(self, facts: Mapping[str, str]) -> Path | None:
        """The folder of the checked entry; None if there is none. What fails its check is removed."""
        entry = self._place(facts)
        if not entry.is_dir():
            return None
        fault = _fault(entry, facts)
        if fault is not None:
            _log.warning("compiled model in %s: %s; making it anew", entry, fault)
            self.discard(entry)
            return None
        with suppress(OSError):
            os.utime(entry / _RECORD)  # just used
        return entry

    def has(self, facts: Mapping[str, str]) -> bool:
        """Whether there is an entry, which `find` may yet find to be damaged."""
        return (self._place(facts) / _RECORD).is_file()

    def read(self, facts: Mapping[str, str], read: Callable[[Path], Kept]) -> Kept | None:
        """What `read` makes of the checked entry; None if there is none. One that it refuses is removed.

        It refuses by RuntimeError, OSError or ValueError.
        """
        entry = self.find(facts)
        if entry is None:
            return None
        try:
            return read(entry)
        except (RuntimeError, OSError, ValueError) as error:
            _log.warning("compiled model in %s: %s; making it anew", entry, first_line(error))
            self.discard(entry)
            return None

    def store(self, facts: Mapping[str, str], write: Callable[[Path], None]) -> Path | None:
        """Let `write` put the parts into a folder, which becomes the entry once it is whole.

        Returns the entry; None if it was not kept, because the disk refused or it alone is above the limit.
        """
        entry = self._place(facts)
        draft = self.folder / f".{entry.name}.{os.getpid()}-{secrets.token_hex(4)}"
        try:
            draft.mkdir(parents=True)
            write(draft)
            parts = {path.name: _describe(path) for path in sorted(draft.iterdir())}
            if sum(part["size"] for part in parts.values()) > self.limit:
                return None
            (draft / _RECORD).write_text(json.dumps({"facts": dict(facts), "parts": parts}, indent=1), "utf-8")
            for path in draft.iterdir():
                _sync(path)
            if entry.is_dir():
                self.discard(entry)
            draft.rename(entry)
        except OSError as error:
            _log.info("no compiled model was kept in %s: %s", self.folder, error.strerror or error)
            return entry if entry.is_dir() and _fault(entry, facts) is None else None  # another process was first
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        self._prune(entry)
        return entry

    def discard(self, entry: Path) -> None:
        """Remove an entry. Renamed first, so that no other process finds half of it."""
        doomed = entry.with_name(f".{entry.name}.{os.getpid()}-{secrets.token_hex(4)}")
        with suppress(OSError):
            entry.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)

    def _place(self, facts: Mapping[str, str]) -> Path:
        text = json.dumps(dict(facts), sort_keys=True)
        return self.folder / hashlib.sha256(text.encode()).hexdigest()[:40]

    def _prune(self, newest: Path) -> None:
        """Remove the entries used longest ago, never `newest`, and what killed processes left."""
        entries, total = [], 0
        try:
            for folder in self.folder.iterdir():
                if folder.name.startswith("."):
                    if time.time() - folder.stat().st_mtime > _ABANDONED_S:
                        shutil.rmtree(folder, ignore_errors=True)
                elif folder.is_dir():
                    size = sum(path.stat().st_size for path in folder.iterdir())
                    total += size
                    if folder != newest:
                        entries.append((_last_use(folder), size, folder))
        except OSError:
            return  # another process is at work here
        for _, size, folder in sorted(entries):
            if total <= self.limit:
                return
            self.discard(folder)
            total -= size


def _fault(entry: Path, facts: Mapping[str, str]) -> str | None:
    """What is wrong with an entry; None if nothing is."""
    try:
        record = json.loads((entry / _RECORD).read_text("utf-8"))
        if record["facts"] != dict(facts):
            return "is for something else"
        parts: dict[str, Any] = record["parts"]
        if {path.name for path in entry.iterdir()} != {*parts, _RECORD}:
            return "parts are missing or were added"
        for name, wanted in parts.items():
            if (entry / name).stat().st_size != wanted["size"] or _describe(entry / name) != wanted:
                return f"{name} is not what was written"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{_RECORD} is broken"
    return None


def _describe(path: Path) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return {"size": size, "sha256": digest.hexdigest()}


def _last_use(entry: Path) -> float:
    try:
        return (entry / _RECORD).stat().st_mtime
    except OSError:
        return 0.0


def _sync(path: Path) -> None:
    """To the disk, so that a power cut leaves no entry whose record is newer than its parts."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
