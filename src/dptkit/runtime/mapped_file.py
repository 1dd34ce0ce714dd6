"""A file whose bytes come into memory as they are read, and leave it again once they are not needed."""

from __future__ import annotations

import mmap
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

_INTERVAL_S = 0.02
"""Between letting go and letting go: at 1 GB/s, 20 MB of the file lie in memory at a time."""


class MappedFile:
    """A mapped file, for a reader that makes its own copy of nearly all of it: without this, both lie in memory.

    bytes: uint8 [size]. Nobody may write to them: what is let go of comes back as the file has it.
    The file must not be cut short while it is mapped; it may be removed, or replaced by another.
    Raises OSError, ValueError for an empty file.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            # A private copy, since OpenVINO takes no array that may not be written to.
            self._mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self.bytes: npt.NDArray[np.uint8] = np.frombuffer(self._mapping, np.uint8)

    def let_go(self) -> None:
        """Out of memory with it all; what is read again comes back. On Linux: elsewhere the call is a mere hint."""
        if sys.platform == "linux":
            self._mapping.madvise(mmap.MADV_DONTNEED)

    @contextmanager
    def read_once(self) -> Iterator[None]:
        """While the block reads the file, let go of what it has read."""
        done = threading.Event()

        def let_go() -> None:
            while not done.wait(_INTERVAL_S):
                self.let_go()

        thread = threading.Thread(target=let_go, name="dptkit-let-go", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self.let_go()
