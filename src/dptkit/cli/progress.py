"""What the user sees while work goes on: a bar on a terminal, plain lines elsewhere. Always on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text


class Advance(Protocol):
    """Say that one more piece of work is done."""

    def __call__(self) -> None: ...


class _Rate(ProgressColumn):
    """Pictures per second."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.1f}/s", style="progress.data.speed")


@contextmanager
def picture_bar(total: int) -> Iterator[Advance]:
    """A bar with rate and time left, on a terminal; nothing elsewhere, where each picture prints its own line."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda: None
        return
    columns = (BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("pictures", total=total)
        yield lambda: progress.advance(task)


class DownloadBar:
    """Called with (bytes so far, bytes in all): a bar on a terminal, a line every tenth elsewhere."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._console = Console(stderr=True)
        self._progress: Progress | None = None
        self._tenth = -1

    def __call__(self, done: int, total: int | None, /) -> None:
        if not self._console.is_terminal:
            self._line(done, total)
            return
        if self._progress is None:
            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
            self._progress = Progress(*columns, TimeRemainingColumn(), console=self._console, transient=True)
            self._progress.add_task(self._name)
            self._progress.start()
        self._progress.update(self._progress.task_ids[0], completed=done, total=total)

    def close(self) -> None:
        """Take the bar away."""
        if self._progress is not None:
            self._progress.stop()

    def _line(self, done: int, total: int | None) -> None:
        tenth = 10 * done // total if total else done // 100_000_000
        if tenth > self._tenth:
            self._tenth = tenth
            of = f" of {total / 1e6:.0f}" if total else ""
            print(f"{self._name}: {done / 1e6:.0f}{of} MB", file=sys.stderr, flush=True)  # noqa: T201
