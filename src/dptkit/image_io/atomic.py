"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dptkit.errors import OutputWriteError
from dptkit.image_io.names import printable

_LONGEST_NAME = 255  # bytes, the limit of nearly every file system


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary file in the folder of `path`; it becomes `path` when the block ends without an error.

    The temporary file exists, is empty, and is removed on any failure, KeyboardInterrupt included; an older file
    at `path` then stays as it was. Missing folders are created. A symbolic link is followed, not replaced. The
    new file has the mode of the one it replaces, or what the umask leaves. Its name does not end like `path`, so
    tell a writer the format. Whole after a killed process; no promise is made for a power failure.

    Raises OutputWriteError `cannot write PATH: <reason>` when the system refuses (disk full, no permission, a
    folder in the way). Errors of the block that are not about this file, such as those of a network connection,
    pass unchanged.
    """
    try:
        final = Path(os.path.realpath(path))
    except ValueError as error:  # a NUL byte in the name
        raise OutputWriteError(f"cannot write {printable(path)}: not a file name ({error})") from None
    temporary: Path | None = None
    try:
        mode = _mode_to_keep(final)
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = _create_beside(final)
        yield temporary
        if mode is not None:
            temporary.chmod(mode)
        temporary.replace(final)
    except BaseException as error:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and _is_about(error, final, temporary):
            raise OutputWriteError(f"cannot write {printable(path)}: {_reason(error)}") from error
        raise


def write_bytes(path: str | os.PathLike[str], data: bytes | memoryview) -> None:
    """Write `data` to `path`, whole or not at all. Raises OutputWriteError."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def _mode_to_keep(final: Path) -> int | None:
    """The permission bits of the file to be replaced; None without one. Anything but a file is an error."""
    try:
        mode = final.stat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        # Replacing a device such as /dev/null, which root may, would break the machine.
        raise OSError(0, "is a directory" if stat.S_ISDIR(mode) else "is not a regular file")
    return stat.S_IMODE(mode)


def _create_beside(final: Path) -> Path:
    """A new empty file next to `final`: hidden, and unique among processes and threads."""
    ending = f".{os.getpid()}-{secrets.token_hex(4)}.part"
    name = final.name
    if len(os.fsencode(name)) + len(ending) + 1 > _LONGEST_NAME:
        # "ignore" drops a character cut in half, which some file systems refuse.
        name = os.fsencode(name)[: _LONGEST_NAME - len(ending) - 1].decode("utf-8", "ignore")
    temporary = final.with_name(f".{name}{ending}")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    return temporary


def _is_about(error: OSError, final: Path, temporary: Path | None) -> bool:
    """Whether the system refused this file, rather than a connection or another file used in the block."""
    if error.errno is None or isinstance(error, (ConnectionError, TimeoutError)):
        return False
    if temporary is None or error.filename is None:
        return True
    return os.fspath(error.filename) in (os.fspath(temporary), os.fspath(final))


def _reason(error: OSError) -> str:
    return printable(error.strerror or str(error))
