"""What `dpt ablate` says at the end: the table, the differences, runs that failed. What it trains: unit/training."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runner import dpt

from dptkit.cli import train
from dptkit.training import ablation
from dptkit.training.ablation_table import Cell, Difference, DifferenceRow, FailedRun, Row, Table

CONFIG = Path(__file__).parents[3] / "configs" / "ablation" / "readout.yaml"
ROWS = (
    Row("ignore", {"hrwsi": Cell(0.08, 0.07, 0.09, 2, 0.0793)}),
    Row("add", {"hrwsi": Cell(0.082, None, None, 1, None)}, "1 of 2 seeds"),
)
PAIR = DifferenceRow("add", "ignore", {"hrwsi": Difference(0.002, None, None, 0.001, 0.003, 1)})


@pytest.mark.parametrize(
    ("pairs", "failed", "code"),
    [((PAIR,), (), 0), ((PAIR,), (FailedRun("add", 1, "the loss is not finite at step 3"),), 1), ((), (), 0)],
)
def test_the_end_of_an_ablation(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pairs: tuple[DifferenceRow, ...],
    failed: tuple[FailedRun, ...],
    code: int,
) -> None:
    table = Table("Readout", "abs_rel", ("hrwsi",), ROWS, pairs, failed)
    monkeypatch.setattr(train, "settle_process", lambda: None)
    monkeypatch.setattr(ablation, "run_ablation", lambda *_, **__: table)
    ended = dpt("ablate", CONFIG, "-o", tmp_path)
    assert ended.code == code
    assert ended.lines[1:5] == [
        "Readout: abs_rel, over 1 seed",
        "variant  hrwsi",
        "ignore   0.0800 ±0.0100 (0.0793)",
        "add      0.0820                   1 of 2 seeds",
    ]
    said = ["variant  minus   hrwsi", "add      ignore  +0.0020 [+0.0010, +0.0030]"] if pairs else []
    assert ended.lines[7:] == said
    assert ended.errors == [f"dpt: {run.variant}, seed {run.seed}: {run.problem}" for run in failed]
