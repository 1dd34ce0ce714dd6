"""`dpt bench`: how fast a model is on this machine, and in how much memory."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from dptkit.cli import options
from dptkit.errors import ConfigError

_DEFAULT_SECONDS = 10.0
_INTERRUPTED = 130


def bench(
    model: Annotated[str, typer.Argument(metavar="[MODEL]", help="A published model (see dpt models), or a file.")] = (
        "dpt-lite"
    ),
    engine: options.Engine = "auto",
    device: options.Device = "auto",
    precision: options.PrecisionOption = "auto",
    size: options.Size = None,
    batch: Annotated[int, typer.Option(metavar="N", min=1, help="Pictures that go through together.")] = 1,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Your own pictures. Default: a made JPEG of 640x480.")
    ] = None,
    runs: Annotated[int | None, typer.Option(metavar="N", min=1, help="Batches to time.")] = None,
    seconds: Annotated[
        float | None, typer.Option(metavar="S", help="Time to spend on each setting. Default: 10.")
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(metavar="ENGINE[:PRECISION]", help="Another setting, timed in turn with the first. Repeatable."),
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="OUT", help="Write all numbers, every batch's.")
    ] = None,
) -> int:
    """Time a model stage by stage; show start-up and peak memory, measured in a process of their own.

    Times are of one batch after the other, without the overlap of stages that dpt depth has for folders. Predictions
    come after a warm-up. After Ctrl-C what was measured so far is printed, and written, and the command ends with 130.
    """
    if runs is not None and seconds is not None:
        raise ConfigError("--runs and --seconds exclude each other")
    if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
        raise ConfigError(f"--seconds {seconds:g} is not a time above 0")
    if json is not None and json.is_dir():
        raise ConfigError(f"--json {json} is a folder: name a file in it")
    wanted = [(engine, precision), *map(_parse, compare or [])]

    from dptkit.cli.bench_run import BenchRun

    if runs is None and seconds is None:
        seconds = _DEFAULT_SECONDS
    return _INTERRUPTED if BenchRun(model, wanted, device, size, batch, images, runs, seconds, json).start() else 0


def _parse(text: str) -> tuple[str, str]:
    """ "ENGINE:PRECISION" or "ENGINE"."""
    engine, _, precision = text.partition(":")
    return engine, precision or "auto"
