"""What a run has found so far, a line a picture: a run that was killed goes on after the last whole line.

JSON lines. The first says what is being measured; a run of anything else is refused. A last line that was cut off is
dropped. Skipped pictures are written for the reader, but tried again: their files may have been mended since.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from dptkit.errors import DataError, OutputWriteError
from dptkit.evaluation.result import ImageResult
from dptkit.image_io.names import printable

_NAMED = 4
"""Differences that a message names."""


@dataclass(frozen=True)
class Entry:
    """One picture. index: in the data set. seconds: by stage."""

    index: int
    image: ImageResult
    seconds: dict[str, float]


class Journal:
    """An open journal. `entries`: what it held when it was opened, by index, without skipped pictures."""

    def __init__(self, path: Path, file: IO[str], entries: dict[int, Entry]) -> None:
        self._path, self._file = path, file
        self.entries = entries

    def add(self, entry: Entry) -> None:
        """Append a picture. After this returns, killing the process does not lose it. Raises OutputWriteError."""
        try:
            self._file.write(_line(asdict(entry)))
            self._file.flush()
        except OSError as error:
            raise _unwritable(self._path, error) from error


@contextmanager
def open_journal(path: Path, header: Mapping[str, Any]) -> Iterator[Journal]:
    """Go on with the journal at `path`, or begin one. header: JSON-ready; what must be the same to go on.

    The file stays when the block ends: remove it once the result is written. Raises DataError if the file is of
    another header (saying what differs), is no journal, or is damaged before its last line; OutputWriteError if it
    cannot be written or another process writes it.
    """
    lock = FileLock(path.with_name(path.name + ".lock"), timeout=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise OutputWriteError(f"{printable(path)}: another run is writing it") from None
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        lines, whole = _whole_lines(path)
        entries = _read_entries(path, lines, json.loads(json.dumps(header)))
        try:
            # Opened to append and cut: a line that a killed run left half written must not get a second half.
            with path.open("a", encoding="utf-8", newline="\n") as file:
                os.truncate(path, whole)
                if not lines:
                    file.write(_line(header))
                    file.flush()
                yield Journal(path, file, entries)
        except OSError as error:
            if error.filename is not None and os.fspath(error.filename) == os.fspath(path):
                raise _unwritable(path, error) from error
            raise
    finally:
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


def _whole_lines(path: Path) -> tuple[list[bytes], int]:
    """Lines that end, and the number of bytes they take together."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        raise DataError(f"{printable(path)}: {error.strerror or error}") from error
    whole = content.rfind(b"\n") + 1
    return content[:whole].splitlines(), whole


def _read_entries(path: Path, lines: list[bytes], header: dict[str, Any]) -> dict[int, Entry]:
    adapter = TypeAdapter(Entry)
    entries: dict[int, Entry] = {}
    for number, line in enumerate(lines, start=1):
        try:
            values = json.loads(line)
            if number == 1:
                _check_header(path, values, header)
                continue
            entry = adapter.validate_python(values)
        except (ValueError, ValidationError, AttributeError) as error:
            raise DataError(
                f"{printable(path)}: line {number} is damaged, so nothing of it can be trusted: "
                "remove the file and start again"
            ) from error
        if entry.image.state == "skipped":
            entries.pop(entry.index, None)
        else:
            entries[entry.index] = entry
    return entries


def _check_header(path: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    ours, theirs = _flat(wanted), _flat(found)
    different = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
    if not different:
        return
    named = ", ".join(f"{key} was {_short(theirs.get(key))}, now {_short(ours.get(key))}" for key in different[:_NAMED])
    more = f" and {len(different) - _NAMED} more" if len(different) > _NAMED else ""
    raise DataError(
        f"{printable(path)} is of an unfinished run that measured something else ({named}{more}): "
        "repeat that run's command, name another output, or remove the file"
    )


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{above}{key}.") if isinstance(value, dict) else {above + key: value}
    return flat


def _short(value: Any) -> str:
    text = printable(value if isinstance(value, str) else json.dumps(value))
    return text if len(text) <= 40 else text[:37] + "..."


def _line(values: Mapping[str, Any]) -> str:
    # ASCII, so that names of undecodable bytes pass.
    return json.dumps(values, allow_nan=False, separators=(",", ":")) + "\n"


def _unwritable(path: Path, error: OSError) -> OutputWriteError:
    return OutputWriteError(f"cannot write {printable(path)}: {printable(error.strerror or str(error))}")
