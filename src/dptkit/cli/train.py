"""`dpt train`: training by a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file, such as those in configs/.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Replace values: optimiser.decoder_lr=1e-3."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="The run's folder. Default: runs/NAME.")
    ] = None,
) -> int:
    """Train as CONFIG says. Run again with the same folder, it goes on exactly where it stopped.

    The folder holds run.json (configuration, versions, data), log.csv, checkpoints/ and, at the end, model.safetensors,
    which `dpt depth --model` takes. Under torchrun, every process of devices x nodes runs this command.
    """
    from dptkit.training.config import read_config

    wanted = read_config(config, overrides or [])
    folder = output or Path("runs") / wanted.name

    from dptkit.training.loop import Progress, Trainer

    def report(progress: Progress) -> None:
        values = ", ".join(f"{name} {value:.4g}" for name, value in progress.values.items())
        if not progress.images_per_second:
            typer.echo(f"step {progress.step}/{progress.steps}: {values}")
            return
        rate = f"{progress.images_per_second:.1f} images/s, {progress.waiting:.0%} waiting"
        typer.echo(f"step {progress.step}/{progress.steps}: {values}, {rate}")

    path = Trainer(wanted, folder, report).train()
    typer.echo(f"{path}: {wanted.name}, {wanted.steps} steps")
    return 0
