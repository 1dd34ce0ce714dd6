"""Runs our benchmarks and writes docs/performance.md's table: what, asked, measured, interval, command.

Scripts that are absent, fail or take too long give a row that says so. Run: python benchmarks/performance.py
[--only NAME ...] [--data DIR] [--int8 FILE] [--photos DIR] [--keep FOLDER] [--print]
--keep: the scripts' JSON and output stay in FOLDER, and what is there already is collected and not run again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
BEGIN, END = "<!-- table: written by benchmarks/performance.py -->", "<!-- end of table -->"
TIMEOUT_S = 1800
HEADER = "| what | asked | measured | interval | command |\n|---|---|---|---|---|"


_SHOWN = {"{data}": "DATA", "{int8}": "INT8_FILE", "{photos}": "PHOTOS", "{work}": "FOLDER"}


@dataclass(frozen=True)
class Script:
    """A script and what is asked of it, in words, for where it gives no figures itself.

    arguments: "{data}", "{int8}", "{photos}" and "{work}" stand for options of this program and a folder.
    variant: tells apart what is kept of two runs of one script.
    """

    name: str
    asked: tuple[tuple[str, str], ...]
    arguments: tuple[str, ...] = ()
    variant: str = ""


SCRIPTS = (
    Script(
        "against_transformers.py",
        (
            ("DPT-Large 384x384, batch 1, default engine, against transformers float32 eager", "3.8x"),
            ("the same against transformers bfloat16", "1.4x"),
            ("the same, share of the bfloat16 matrix product rate", "85%"),
            ("DPT-Hybrid 384x384 against transformers float32 eager", "3x"),
        ),
    ),
    Script("int8.py", (("DPT-Large 384x384 in int8 against transformers float32 eager", "6x"),)),
    Script("against_torch.py", (("dpt-lite 256x256, default engine, against eager torch float32", "3.5x"),)),
    Script(
        "folder.py",
        (
            ("dpt-lite, folder of 640x480 JPEGs to 16-bit PNG", "40 images/s"),
            ("the same, share of the bare model's rate", "90%"),
        ),
        ("{photos}",),
    ),
    Script(
        "folder.py",
        (("dpt-large, folder of 640x480 JPEGs to 16-bit PNG, share of the bare model's rate", "98%"),),
        # Of a second or two a picture, to be a few minutes.
        (
            *("{photos}", "--model", "dpt-large", "--random", "{work}"),
            *("--count", "16", "--rounds", "7", "--in-process"),
        ),
        "dpt-large",
    ),
    Script(
        "token_merging.py", (("DPT-Large, token merging at ratio 0.4, on the default engine", "1.3x"),), ("{work}",)
    ),
    Script("pruning.py", (("DPT-Large pruned, against itself unpruned", "none"),)),
    Script(
        "accuracy_of_precisions.py",
        (
            ("dpt-lite, δ1 given up by bfloat16", "at most 0.2 points"),
            ("dpt-lite, δ1 given up by int8", "at most 0.7 points"),
        ),
        ("{data}", "{int8}"),
    ),
    Script(
        "memory.py",
        (("peak memory of a DPT-Large prediction", "at most 1.3 times its weights, plus 300 MB"),),
        ("--weights", "random"),
    ),
    Script(
        "gpu.py",
        (
            ("on a GPU: DPT-Large 384x384 in bfloat16, batch 32, against transformers bfloat16 eager", "2x"),
            ("the same, share of the bfloat16 matrix product rate", "45%"),
            ("the same against transformers bfloat16 eager, batch 1", "3x"),
        ),
    ),
    Script("startup.py", (("`dpt depth` of one picture against `python -c 'import torch'`, wall time", "at most 1x"),)),
)


def run(script: Script, places: dict[str, str], keep: Path) -> tuple[dict[str, Any] | None, str, str]:
    """(JSON or None, output or the reason for its absence, the command)."""
    kept = f"{script.name}.{script.variant}" if script.variant else script.name
    path, out, log = HERE / script.name, keep / f"{kept}.json", keep / f"{kept}.txt"
    arguments = [places.get(word, word) for word in script.arguments]
    shown = [_SHOWN.get(word, word) for word, given in zip(script.arguments, arguments, strict=True) if given]
    command = " ".join(["python", f"benchmarks/{script.name}", *shown])
    if not path.is_file():
        return None, "no such script", command
    if out.is_file():
        return json.loads(out.read_text("utf-8")), log.read_text("utf-8") if log.is_file() else "", command
    takes_json = "--json" in path.read_text("utf-8")
    words = [sys.executable, str(path), *(word for word in arguments if word)]
    print(f"{command} ...", flush=True)
    try:
        done = subprocess.run(
            [*words, *(("--json", str(out)) if takes_json else ())], capture_output=True, text=True, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return None, f"took more than {TIMEOUT_S} s", command
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    if done.returncode:
        return None, lines[-1][:200] if lines else f"ended with {done.returncode}", command
    log.write_text(done.stdout, "utf-8")
    if not out.is_file():
        return None, done.stdout.strip() or "it printed nothing", command
    try:
        return json.loads(out.read_text("utf-8")), done.stdout, command
    except ValueError:
        return None, "its JSON cannot be read", command


def rows(script: Script, found: dict[str, Any] | None, text: str, command: str) -> list[str]:
    """Rows of the table, by what the script gave; by what is asked where it gave no figures."""
    figures = found.get("results") if found is not None else None
    if not figures:
        # What a script says in words of its own stays readable, if it is short; what failed says why.
        measured = f"not measured: {text}" if found is None else ", ".join(f"{k} {v}" for k, v in _numbers(found))
        return [_row(what, asked, " ".join(measured.split())[:300], "", command) for what, asked in script.asked]
    return [_row(str(row["what"]), _asked(row), _measured(row), _interval(row), command) for row in figures]


def _numbers(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, f"{value:.4g}") for name, value in found.items() if isinstance(value, (int, float))]


def _asked(row: dict[str, Any]) -> str:
    if row.get("target") is None:
        return "none"
    return f"{'at most ' if row.get('at_most') else ''}{_with_unit(row['target'], row)}"


def _measured(row: dict[str, Any]) -> str:
    value, target = row["value"], row.get("target")
    missed = target is not None and (value > target if row.get("at_most") else value < target)
    note = f" ({row['note']})" if row.get("note") else ""
    return f"{_with_unit(value, row)}{', **missed**' if missed else ''}{note}"


def _interval(row: dict[str, Any]) -> str:
    if row.get("low") is None or row.get("high") is None:
        return ""
    count = f", {row['count']} pairs" if row.get("count") and row.get("unit") == "x" else ""
    return f"{row['low']:.3g} to {row['high']:.3g}{count}"


def _with_unit(value: float, row: dict[str, Any]) -> str:
    unit = str(row.get("unit", ""))
    return f"{value:.3g}{unit if unit in ('x', '%') else ' ' + unit}".strip()


def _row(what: str, asked: str, measured: str, interval: str, command: str) -> str:
    cells = (what, asked, measured, interval, f"`{command}`")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def replace_table(page: str, table: str) -> str:
    """The page with what is between its marks replaced. Raises ValueError if it has none."""
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError(f"{PAGE.name} must have one line {BEGIN} and one line {END}")
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}"


def machine_line() -> str:
    """Machine and versions under the table."""
    from dptkit.benchmarking.surroundings import surroundings

    around = surroundings()
    versions = ", ".join(f"{name} {number}" for name, number in around.versions.items())
    return f"{around.machine}; {versions}; {around.started[:10]}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[script.name.removesuffix(".py") for script in SCRIPTS])
    parser.add_argument("--data", default="", help="a data set for dpt eval --protocol folder")
    parser.add_argument("--int8", default="", help="a quantised dpt-lite")
    parser.add_argument("--photos", default="", help="pictures for the folder run")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--print", action="store_true", help="leave docs/performance.md alone")
    asked = parser.parse_args()
    if asked.keep is not None:
        asked.keep.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="dptkit-") as work:
        places = {"{data}": asked.data, "{int8}": asked.int8, "{photos}": asked.photos, "{work}": work}
        table = [HEADER]
        for script in SCRIPTS:
            if asked.only is None or script.name.removesuffix(".py") in asked.only:
                found = run(script, places, asked.keep or Path(work))
                table += rows(script, *found)
                print("\n".join(table[1:] if len(table) < 3 else table[-1:]), flush=True)
    text = "\n".join(table) + f"\n\n{machine_line()}"
    print(text)
    if not asked.print:
        PAGE.write_text(replace_table(PAGE.read_text("utf-8"), text), "utf-8")


if __name__ == "__main__":
    main()
