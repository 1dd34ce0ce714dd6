"""An ablation's table: means over seeds with their intervals, the paper's numbers beside; as JSON, CSV and text."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from dptkit.evaluation.machine import machine, versions
from dptkit.image_io.atomic import write_bytes
from dptkit.training.ablation_config import MEAN, Ablation, Variant
from dptkit.training.ablation_score import Score

FORMAT = 1
"""Of `ablation.json`."""

_T_975 = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788, 2.1604, 2.1448,
    2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860, 2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484,
    2.0452, 2.0423,
)  # fmt: skip
"""Quantiles of Student's t at 0.975 for 1 to 30 degrees of freedom; for more, the last is a little too wide."""


@dataclass(frozen=True)
class Cell:
    """mean: over `runs` seeds; None before the first. low, high: its 95% interval, Student's t; None for one seed.

    paper: the paper's number, where it has one.
    """

    mean: float | None
    low: float | None
    high: float | None
    runs: int
    paper: float | None

    def __str__(self) -> str:
        """As in "0.0801 ±0.0012 (.0793)"."""
        text = "-" if self.mean is None else f"{self.mean:.4f}"
        if self.mean is not None and self.high is not None:
            text += f" ±{self.high - self.mean:.4f}"
        return text if self.paper is None else f"{text} ({self.paper:.4f})"


@dataclass(frozen=True)
class Row:
    """A variant: cells by data set, then `MEAN`. note: why it is not built, or that seeds are missing."""

    variant: str
    cells: dict[str, Cell]
    note: str = ""


@dataclass(frozen=True)
class Difference:
    """mean: over `runs` seeds. low, high: its 95% interval over seeds, Student's t; None for one seed.
    pictures_low, pictures_high: the same over pictures, by paired bootstrap, with the seeds that were had; None for one
    picture."""

    mean: float
    low: float | None
    high: float | None
    pictures_low: float | None
    pictures_high: float | None
    runs: int

    def __str__(self) -> str:
        """As in "-0.0021 ±0.0040 [-0.0035, -0.0008]"."""
        seeds = "" if self.high is None else f" ±{self.high - self.mean:.4f}"
        if self.pictures_low is None or self.pictures_high is None:
            return f"{self.mean:+.4f}{seeds}"
        return f"{self.mean:+.4f}{seeds} [{self.pictures_low:+.4f}, {self.pictures_high:+.4f}]"


@dataclass(frozen=True)
class DifferenceRow:
    """`variant` minus `against`, by data set, then `MEAN`."""

    variant: str
    against: str
    cells: dict[str, Difference]


@dataclass(frozen=True)
class FailedRun:
    """problem: why there is no model of this variant and seed."""

    variant: str
    seed: int
    problem: str


@dataclass(frozen=True)
class Table:
    """columns: data sets, then `MEAN`. metric: what the numbers are. failed: runs that are in no number."""

    title: str
    metric: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    differences: tuple[DifferenceRow, ...] = ()
    failed: tuple[FailedRun, ...] = ()


def build_table(
    ablation: Ablation,
    found: Mapping[str, Mapping[int, Mapping[str, Score]]],
    differences: Sequence[DifferenceRow] = (),
    failed: Sequence[FailedRun] = (),
) -> Table:
    """found: scores by variant, seed and data set. The mean over data sets is taken for each seed, then over seeds."""
    columns = (*ablation.scoring.data, MEAN)
    rows = []
    for name, variant in ablation.variants.items():
        runs = found.get(name, {}).values()
        values = {column: [run[column].value for run in runs] for column in ablation.scoring.data}
        values[MEAN] = [fmean(score.value for score in run.values()) for run in runs]
        cells = {column: summarise(values[column], variant.paper.get(column)) for column in columns}
        rows.append(Row(name, cells, _note(variant, cells[MEAN].runs, len(ablation.seeds))))
    return Table(ablation.title, ablation.scoring.metric, columns, tuple(rows), tuple(differences), tuple(failed))


def summarise(values: Sequence[float], paper: float | None = None) -> Cell:
    """Mean and 95% interval of runs that differ in their seeds alone."""
    count = len(values)
    if not count:
        return Cell(None, None, None, 0, paper)
    mean = fmean(values)
    if count == 1:
        return Cell(mean, None, None, 1, paper)
    half = _T_975[min(count - 1, len(_T_975)) - 1] * stdev(values) / sqrt(count)
    return Cell(mean, mean - half, mean + half, count, paper)


def text_rows(table: Table) -> list[tuple[str, ...]]:
    """Header and rows for a table of plain text; a variant's note comes last."""
    header = ("variant", *table.columns, "")
    return [header, *((row.variant, *(str(row.cells[c]) for c in table.columns), row.note) for row in table.rows)]


def difference_rows(table: Table) -> list[tuple[str, ...]]:
    """Header and rows for a table of plain text."""
    rows = ((row.variant, row.against, *(str(row.cells[c]) for c in table.columns)) for row in table.differences)
    return [("variant", "minus", *table.columns), *rows]


def _note(variant: Variant, runs: int, seeds: int) -> str:
    if variant.not_built:
        return f"not built: {variant.not_built}"
    return "" if runs == seeds else f"{runs} of {seeds} seeds"


def write_table(folder: Path, ablation: Ablation, table: Table, runs: Sequence[Mapping[str, Any]]) -> None:
    """`ablation.json` (all of it, with each run's scores and configuration) and `ablation.csv` (a row a variant)."""
    content = {
        "format": FORMAT,
        "name": ablation.name,
        "miniature": ablation.miniature,
        "seeds": list(ablation.seeds),
        "scoring": asdict(ablation.scoring),
        "table": asdict(table),
        "runs": list(runs),
        "versions": versions(),
        "machine": machine(),
    }
    write_bytes(folder / "ablation.json", json.dumps(content, indent=1, allow_nan=False).encode())
    parts = ("mean", "low", "high", "paper")
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["variant", "runs", *(f"{column}_{part}" for column in table.columns for part in parts), "note"])
    for row in table.rows:
        numbers = [getattr(row.cells[column], part) for column in table.columns for part in parts]
        shown = ["" if number is None else f"{number:.6g}" for number in numbers]
        writer.writerow([row.variant, row.cells[MEAN].runs, *shown, row.note])
    write_bytes(folder / "ablation.csv", text.getvalue().encode())
