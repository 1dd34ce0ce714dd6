"""What `dpt eval` shows: progress and skipped pictures on standard error, tables on standard output."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from dptkit.cli.progress import PictureScreen

if TYPE_CHECKING:
    from dptkit.evaluation.result import ImageResult
    from dptkit.evaluation.tables import Table


class EvaluationScreen:
    """Counts pictures: a bar on a terminal, a line every tenth elsewhere. `done`: how many there were so far."""

    def __init__(self, name: str, total: int) -> None:
        self._name, self._total = name, total
        self._pictures = PictureScreen(total)
        self.done = 0

    def __enter__(self) -> EvaluationScreen:
        self._pictures.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._pictures.__exit__()

    def picture(self, image: ImageResult) -> None:
        """One more is done; says so of a skipped one, and why."""
        if image.state == "skipped":
            self._pictures.problem(f"dpt: skipped: {image.problem}")
        before, self.done = self.done, self.done + 1
        self._pictures.advance()
        if not sys.stderr.isatty() and 10 * self.done // self._total > 10 * before // self._total:
            self._pictures.problem(f"{self._name}: {self.done} of {self._total} pictures")


def print_table(table: Table) -> None:
    """Ruled on a terminal that is wide enough, plain elsewhere."""
    from dptkit.evaluation.tables import plain_text

    if not sys.stdout.isatty():
        typer.echo(plain_text(table))
        return
    from rich.console import Console
    from rich.table import Table as RuledTable
    from rich.text import Text

    console = Console()
    ruled = RuledTable(show_edge=False)
    for name in table.header:
        ruled.add_column(Text(name), overflow="fold")
    for row in table.rows:
        ruled.add_row(*map(Text, row))
    for line in table.title:
        console.print(Text(line, style="bold"))
    console.print(ruled)
    for line in table.notes:
        console.print(Text(line))
