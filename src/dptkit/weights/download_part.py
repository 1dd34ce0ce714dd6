"""An unfinished download on disk: `NAME.part`, and in `NAME.part.json` what tells whether it may be continued."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path

from dptkit.errors import DownloadError
from dptkit.weights.cache import sync_directory, write_atomically


@dataclass(frozen=True)
class Version:
    """Which version of the remote file the bytes belong to, as the server named it."""

    etag: str | None
    last_modified: str | None
    total: int | None

    @property
    def if_range(self) -> str | None:
        """The value for If-Range. A weak ETag does not promise equal bytes, so HTTP forbids it here."""
        if self.etag is not None and self.etag.startswith('"'):
            return self.etag
        return self.last_modified


class PartFile:
    """The bytes that have arrived so far of the file to lie at `final`. Every failure is a DownloadError."""

    def __init__(self, final: Path) -> None:
        self.final = final
        self.path = final.with_name(final.name + ".part")
        self._version_path = final.with_name(final.name + ".part.json")

    def size(self) -> int:
        """Bytes that have arrived; 0 if there is no file."""
        with disk_errors(self.path):
            try:
                return self.path.stat().st_size
            except FileNotFoundError:
                return 0

    def version(self) -> Version | None:
        """What was noted when the part was begun; None if nothing readable was."""
        try:
            fields = json.loads(self._version_path.read_text("utf-8"))
            version = Version(fields["etag"], fields["last_modified"], fields["total"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        texts = all(isinstance(text, str | None) for text in (version.etag, version.last_modified))
        return version if texts and isinstance(version.total, int | None) else None

    def discard(self) -> None:
        """Forget what has arrived."""
        with disk_errors(self.path):
            # The bytes go first: bytes without a note are never continued, a note alone does no harm.
            self.path.unlink(missing_ok=True)
            self._version_path.unlink(missing_ok=True)

    def begin(self, version: Version) -> None:
        """Start from zero with `version`."""
        self.discard()
        with disk_errors(self.path):
            write_atomically(self._version_path, json.dumps(asdict(version)) + "\n")

    @contextmanager
    def appending(self) -> Iterator[FileIO]:
        """The file, open at its end and unbuffered, so that what is written counts even if the process is killed."""
        with disk_errors(self.path):
            file = self.path.open("ab", buffering=0)
        with file:
            yield file

    def append(self, file: FileIO, chunk: bytes) -> None:
        """Write all of `chunk`; a single unbuffered write may stop short of it."""
        rest = memoryview(chunk)
        with disk_errors(self.path):
            while rest:
                rest = rest[file.write(rest) :]

    def finish(self) -> None:
        """Move the whole, checked file under its final name."""
        with disk_errors(self.final):
            with self.path.open("rb+") as file:
                os.fsync(file.fileno())
            self.path.replace(self.final)
            sync_directory(self.final.parent)
            self._version_path.unlink(missing_ok=True)


def require_space(folder: Path, needed: int) -> None:
    """Raises DownloadError if the disk that holds `folder` has less than `needed` bytes free."""
    with disk_errors(folder):
        free = shutil.disk_usage(folder).free
    if needed > free:
        raise DownloadError(
            f"{folder}: needs {megabytes(needed)}, {megabytes(free)} free; make room or move DPTKIT_CACHE"
        )


def megabytes(count: int) -> str:
    """Bytes as people read them, rounded up so that a shortage of a few bytes shows."""
    return f"{-(-count // 100_000) / 10:.1f} MB"


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into one line. Network errors must not pass here: they are OSErrors too."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            text = "the disk is full; what has arrived is kept, so make room and try again"
        else:
            text = error.strerror or str(error)
        raise DownloadError(f"{path}: {text}") from error
