"""What the user sees while work goes on: a bar on a terminal, plain lines elsewhere. Always on standard error."""

from __future__ import annotations

import sys

import typer
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


class _Rate(ProgressColumn):
    """Pictures per second."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.1f}/s", style="progress.data.speed")


class PictureScreen:
    """Results and problems of a run, and on a terminal a bar with rate and time left below them.

    Results go to standard output, problems and the bar to standard error. While the bar is on the terminal, a result's
    plain line is left out there, and all else is written above the bar.
    """

    def __init__(self, total: int) -> None:
        console = Console(stderr=True)
        self._bar: Progress | None = None
        if console.is_terminal:
            columns = (BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
            # Rich would send standard output to the terminal, even if it is a file.
            self._bar = Progress(
                *columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._bar.add_task("pictures", total=total)

    def __enter__(self) -> PictureScreen:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self) -> None:
        """One more picture is done with."""
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0])

    def result(self, line: str, *, always: bool = False) -> None:
        """A line on standard output; beside a bar on the same terminal only if `always`."""
        if self._bar is None or not sys.stdout.isatty():
            typer.echo(line)
        elif always:
            self._above_bar(line)

    def problem(self, line: str) -> None:
        """A line on standard error."""
        if self._bar is None:
            typer.echo(line, err=True)
        else:
            self._above_bar(line)

    def _above_bar(self, line: str) -> None:
        assert self._bar is not None
        self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)


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
            typer.echo(f"{self._name}: {done / 1e6:.0f}{of} MB", err=True)
