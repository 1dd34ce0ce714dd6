"""`dpt ablate`: variants of one network, trained, scored and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def ablate(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file, such as those in configs/ablation/.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Replace values: seeds=[0,1,2] train.steps=1000."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Default: runs/ablation-NAME.")
    ] = None,
    miniature: Annotated[
        bool,
        typer.Option("--miniature", help="Small networks, 64 pixels, few steps, random weights: a trial of the whole."),
    ] = False,
) -> int:
    """Train every variant of CONFIG with every seed, score each on held-out data, print one table.

    Each run has its own folder, DIR/VARIANT/seedN. Given again, the command keeps what is finished and goes on with the
    rest. DIR gets ablation.json and ablation.csv. In brackets: the paper's number. ±: half the 95% interval over seeds.
    A run that fails is named at the end, and the command ends with 1; the others are in the table.
    """
    from dptkit.training.ablation_config import read_ablation

    wanted = read_ablation(config, overrides or [], miniature=miniature)
    folder = output or Path("runs") / f"ablation-{wanted.name}"
    # What follows loads torch; mistakes in the file are said before.
    from dptkit.cli.train import settle_process

    settle_process()
    from dptkit.cli.train_report import print_table
    from dptkit.cli.train_screen import TrainScreen
    from dptkit.training.ablation import run_ablation
    from dptkit.training.ablation_table import difference_rows, text_rows
    from dptkit.training.stopping import StopRequest, TrainingStopped

    stop = StopRequest()
    try:
        with stop.listening():
            table = run_ablation(wanted, folder, announce=typer.echo, screen=TrainScreen, stop=stop)
    except TrainingStopped as stopped:
        typer.echo(f"dpt: {stopped}; the same command goes on from there, in {folder}", err=True)
        return 128 + stopped.signal
    size = ", in miniature" if miniature else ""
    typer.echo(f"\n{table.title}{size}: {table.metric}, over {_count(len(wanted.seeds), 'seed')}")
    print_table(text_rows(table))
    if table.differences:
        typer.echo("\nDifferences: ± over seeds, [95% interval] over pictures")
        print_table(difference_rows(table))
    for run in table.failed:
        typer.echo(f"dpt: {run.variant}, seed {run.seed}: {run.problem}", err=True)
    return 1 if table.failed else 0


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
