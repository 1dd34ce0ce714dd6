"""Ctrl-C and SIGTERM during training: the step in progress is finished and saved. A second one stops at once."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SAME_REQUEST = 1.0
"""Seconds within which a signal repeats the one before: `timeout` and terminals deliver theirs twice."""


class TrainingStopped(Exception):  # noqa: N818 - asked for, not an error
    """A run that was asked to stop, and did after `step` steps.

    signal: the number of the signal that asked; a command that ends by it exits with 128 more. saved: the steps that
    are in a checkpoint, fewer than `step` where the disk was full.
    """

    def __init__(self, step: int, steps: int, signal_number: int, saved: int) -> None:
        super().__init__(f"stopped after step {step} of {steps}")
        self.step, self.steps, self.signal, self.saved = step, steps, signal_number, saved


class StopRequest:
    """Whether somebody asked, by `signal`: the signal's number, 0 as long as nobody has."""

    def __init__(self) -> None:
        self.signal = 0
        self._asked = 0.0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM as requests inside the block; only in the main thread of a process.

        A second one raises KeyboardInterrupt (SIGINT) or SystemExit(143) at once, wherever the program is.
        """
        before = {number: signal.signal(number, self._take) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.signal:
            self.signal, self._asked = number, now
        elif now - self._asked > _SAME_REQUEST:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
