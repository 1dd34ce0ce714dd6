"""What `dpt train --check` found, as tables of plain text."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from dptkit.cli.train_screen import describe_seconds
from dptkit.training.check import RunReport
from dptkit.training.check_sources import SourceReport


def print_report(report: RunReport) -> None:
    """On standard output."""
    header = ("source", "data set", "pictures", "sizes", "holds", "valid", "values")
    print_table([header, *(_source_row(source) for source in report.sources)])
    typer.echo()
    rows = [("phase", "crops", "batch", "steps", "s/step", "loader s/batch", "images/s", "time", "loss now")]
    for number, found in enumerate(report.phases):
        each = found.seconds / found.steps
        rows.append(
            (
                str(number), str(found.phase), str(found.phase.batch_size), str(found.steps),
                f"{found.step_seconds:.3g}", f"{found.loader_seconds:.3g}", f"{found.phase.batch_size / each:.1f}",
                describe_seconds(found.seconds), f"{found.loss:.4g}",
            )
        )  # fmt: skip
    print_table(rows)
    typer.echo()
    where = "on the GPU" if report.on_gpu else "of this process"
    memory = f"{report.memory_bytes / 1e9:.2f} GB at most {where}" if report.memory_bytes else "unknown"
    processes = f", {report.processes} processes" if report.processes > 1 else ""
    typer.echo(f"time    about {describe_seconds(report.seconds)}{processes}; without validation and checkpoints")
    typer.echo(f"memory  {memory}")
    typer.echo(
        f"disk    {report.needed_bytes / 1e9:.2f} GB needed, {report.checkpoint_bytes / 1e9:.2f} GB a checkpoint; "
        f"{report.free_bytes / 1e9:.1f} GB free for {report.folder}"
    )


def _source_row(source: SourceReport) -> tuple[str, ...]:
    sizes = ", ".join(f"{height}x{width}" for height, width in source.sizes[:3])
    more = f" and {len(source.sizes) - 3} more" if len(source.sizes) > 3 else ""
    return (
        source.key, source.name, f"{source.samples} ({source.read} read)", sizes + more,
        f"{source.quantity} [{source.unit}]", f"{source.valid_share:.1%}",
        f"{source.least:.4g} to {source.greatest:.4g}",
    )  # fmt: skip


def print_table(rows: Sequence[tuple[str, ...]]) -> None:
    """Columns in plain text, on standard output."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
