"""`dpt train`: training by a configuration."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from dptkit.training.config import TrainConfig


def train(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="A YAML file, such as those in configs/, or a run.json.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Replace values: optimiser.decoder_lr=1e-3."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="The run's folder. Default: runs/NAME.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Try every data set and a step of every phase, estimate time, and stop.")
    ] = False,
    accept_changed_data: Annotated[
        bool,
        typer.Option("--accept-changed-data", help="Go on where the data are not what they were: after a repair."),
    ] = False,
) -> int:
    """Train as CONFIG says. Run again with the same folder, it goes on exactly where it stopped.

    The folder holds run.json (configuration, versions, data), log.csv, checkpoints/ and, at the end, model.safetensors,
    which `dpt depth --model` takes. Under torchrun, every process of devices x nodes runs this command.
    Ctrl-C and SIGTERM finish the step, save it and end with 130 or 143; a second one stops at once.
    """
    from dptkit.training.config import read_config

    wanted = read_config(config, overrides or [])
    folder = output or Path("runs") / wanted.name
    for doubt in wanted.doubts():
        typer.echo(f"dpt: {doubt}", err=True)
    settle_process()
    return _check(wanted, folder) if check else _train(wanted, folder, accept_changed_data)


def settle_process() -> None:
    """Settings that belong to a process, which a library leaves alone."""
    # Every shape of crops needs hundreds of oneDNN's kernels. It keeps 1024, so that with three shapes it compiles them
    # anew in every step: 6 to 9 images/s in place of 18 to 21, measured on two cores.
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, "16384")
    _keep_freed_memory()
    import torch

    # Values near zero take a CPU a hundred times as long, and mean nothing in training.
    torch.set_flush_denormal(True)


def _keep_freed_memory() -> None:
    """Let glibc keep what a step frees for the next one: a kernel that takes it back hands it out again page by page.

    No effect elsewhere than on Linux with glibc; MALLOC_... variables that are set stay as they are.
    """
    # mallopt's M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD (malloc.h): no memory of its own for large tensors, nothing
    # given back below 2 GiB, growth in large pieces.
    settings = {"MALLOC_MMAP_MAX_": (-4, 0), "MALLOC_TRIM_THRESHOLD_": (-1, 2**31 - 1), "MALLOC_TOP_PAD_": (-2, 2**28)}
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            for name, (option, value) in settings.items():
                if name not in os.environ:
                    mallopt(option, value)


def _train(config: TrainConfig, folder: Path, accept_changed_data: bool) -> int:
    from dptkit.cli.train_screen import TrainScreen
    from dptkit.training.loop import Trainer
    from dptkit.training.stopping import StopRequest, TrainingStopped

    stop = StopRequest()
    try:
        with stop.listening(), TrainScreen() as screen:
            trainer = Trainer(config, folder, screen, stop, accept_changed_data=accept_changed_data)
            path = trainer.train()
    except TrainingStopped as stopped:
        if trainer.fabric.global_rank == 0:
            where = "there" if stopped.saved == stopped.step else f"step {stopped.saved}, the last that was saved"
            typer.echo(f"dpt: {stopped}; the same command goes on from {where}, in {folder}", err=True)
        return 128 + stopped.signal
    if trainer.fabric.global_rank == 0 and not screen.gone:
        typer.echo(f"{path}: {config.name}, {config.steps} steps")
        best = trainer.folder.best_validation()
        if best is not None:
            typer.echo(f"{trainer.folder.best}: the smallest validation loss, {best[1]:.4g}, after step {best[0]}")
    return 0


def _check(config: TrainConfig, folder: Path) -> int:
    from dptkit.cli.train_report import print_report
    from dptkit.training.check import check_run

    report = check_run(config, folder)
    if report is not None:
        print_report(report)
    return 0
