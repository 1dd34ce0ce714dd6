"""What the user sees of a training run: a live line on a terminal, plain lines in a file or pipe."""

from __future__ import annotations

from contextlib import suppress

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from dptkit.training.progress import Progress as Said


class TrainScreen:
    """Called with what a run says of itself.

    On a terminal, a bar on standard error with loss, learning rates, speed and time left; validations are lines above
    it. Elsewhere a line on standard output each time. A terminal that was closed, after `disown`, does not end the run;
    a pipe that was closed does.
    """

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self.gone = False  # the terminal

    def __enter__(self) -> TrainScreen:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            with suppress(OSError):
                self._bar.stop()

    def __call__(self, said: Said) -> None:
        if self.gone:
            return
        try:
            self._show(said)
        except BrokenPipeError:
            raise
        except OSError:
            self.gone = True

    def _show(self, said: Said) -> None:
        if not self._console.is_terminal:
            typer.echo(plain_line(said))
            return
        if self._bar is None:
            columns = (BarColumn(20), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
            # Rich would send standard output to the terminal, even if it is a file.
            self._bar = Progress(*columns, console=self._console, redirect_stdout=False, redirect_stderr=False)
            self._task = self._bar.add_task("", total=said.steps)
            self._bar.start()
        if "validation" in said.values:
            self._bar.console.print(plain_line(said), markup=False, highlight=False, soft_wrap=True)
        else:
            self._bar.update(self._task, completed=said.step, description=_short(said))


def plain_line(said: Said) -> str:
    """As in "step 50/2300: loss 0.4217, data 0.3, encoder_lr 0.0002, 32.1 images/s, 1% waiting, 41 min left"."""
    parts = [f"{name} {value:.4g}" for name, value in said.values.items()]
    return f"step {said.step}/{said.steps}: {', '.join(parts + _pace(said))}"


def describe_seconds(seconds: float) -> str:
    """As in "48 s", "7 min", "3 h 20 min", "2 days 5 h"."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} days {hours % 24} h"


def _short(said: Said) -> str:
    rates = sorted({f"{value:.2g}" for name, value in said.values.items() if name.endswith("_lr")})
    return ", ".join([f"loss {said.values['loss']:.4g}", f"lr {' and '.join(rates)}", *_pace(said)])


def _pace(said: Said) -> list[str]:
    if not said.images_per_second:
        return []
    parts = [f"{said.images_per_second:.1f} images/s", f"{said.waiting:.0%} waiting"]
    return parts if said.seconds_left is None else [*parts, f"{describe_seconds(said.seconds_left)} left"]
