"""What our scripts share: sides timed in turn, ratios with an interval, a header, rows as lines and as JSON.

    results = Results.from_options(__doc__)      # understands --json FILE
    seconds = alternate({"ours": ours, "theirs": theirs}, rounds)
    results.ratio("dpt-lite 256x256 against ...", seconds["theirs"], seconds["ours"], at_least=3.5)
    results.write()

JSON, which performance.py collects: {"script", "command", "machine", "versions", ..., "results": [{"what", "value",
"unit", "target", "at_most", "low", "high", "count", "note"}]}. unit: "x" for a ratio, "%", "points", "MB",
"images/s", "s".
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dptkit.benchmarking.alternating import alternate
from dptkit.benchmarking.statistics import Median, median, median_of_ratios
from dptkit.benchmarking.surroundings import surroundings

__all__ = ["Results", "alternate", "median", "median_of_ratios", "medians"]


class Results:
    """Rows of figures: printed as they come, and written as JSON if a file was named."""

    def __init__(self, out: Path | None = None, facts: Mapping[str, Any] | None = None) -> None:
        """facts: what else took part, such as versions of other packages."""
        self._out = out
        around = surroundings()
        command = " ".join(["python", *map(shlex.quote, _without_json(sys.argv))])
        self._facts = {"script": Path(sys.argv[0]).name, "command": command, **around.to_json(), **(facts or {})}
        self._rows: list[dict[str, Any]] = []
        versions = ", ".join(f"{name} {number}" for name, number in around.versions.items())
        print(f"{around.machine}; {versions}", flush=True)
        if around.warning:
            print(f"warning: {around.warning}", file=sys.stderr, flush=True)

    @classmethod
    def from_options(cls, description: str | None, parser: argparse.ArgumentParser | None = None) -> Results:
        """For a script without options, or with those of `parser`, which must not know --json."""
        parser = parser or argparse.ArgumentParser(description=description)
        parser.add_argument("--json", type=Path, metavar="FILE")
        return cls(parser.parse_args().json)

    def ratio(
        self,
        what: str,
        over: Sequence[float],
        under: Sequence[float],
        *,
        at_least: float | None = None,
        at_most: float | None = None,
        note: str = "",
    ) -> Median:
        """The median of over[n] / under[n], which ran beside each other."""
        found = median_of_ratios(over, under)
        self.add(what, found, "x", at_least=at_least, at_most=at_most, note=note)
        return found

    def add(
        self,
        what: str,
        value: float | Median,
        unit: str,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
        interval: tuple[float, float] | None = None,
        note: str = "",
    ) -> None:
        """interval: of a figure that is no median."""
        row: dict[str, Any] = {"what": what, "unit": unit, "note": note}
        if interval is not None:
            row |= {"low": interval[0], "high": interval[1]}
        if isinstance(value, Median):
            row |= {"low": value.low, "high": value.high, "confidence": value.confidence, "count": value.count}
            value = value.value
        asked = at_least if at_least is not None else at_most
        row |= {"value": value, "target": asked, "at_most": asked is not None and at_least is None}
        self._rows.append(row)
        count = f", {row['count']}" if "count" in row else ""
        shown = f" ({row['low']:.3g} to {row['high']:.3g}{count})" if "low" in row else ""
        aim = ""
        if asked is not None:
            reached = value <= asked if row["at_most"] else value >= asked
            bound = "at most" if row["at_most"] else "at least"
            aim = f", {bound} {asked:g} {unit}: {'reached' if reached else 'MISSED'}"
        print(f"{what}: {value:.4g} {unit}{shown}{aim}{'; ' + note if note else ''}", flush=True)

    def write(self) -> None:
        if self._out is not None:
            self._out.write_text(json.dumps({**self._facts, "results": self._rows}, indent=1) + os.linesep, "utf-8")


def medians(seconds: Mapping[str, Sequence[float]], *names: str) -> str:
    """Of the sides named, as a note beside a ratio."""
    return ", ".join(f"{name} {1e3 * median(seconds[name]).value:.1f} ms" for name in names)


def _without_json(arguments: Sequence[str]) -> list[str]:
    """The command as one would type it, from the project's folder."""
    words, skip = [], False
    for word in arguments:
        if not skip and not word.startswith("--json"):
            words.append(word)
        skip = word == "--json"
    return [f"benchmarks/{Path(words[0]).name}", *words[1:]]
