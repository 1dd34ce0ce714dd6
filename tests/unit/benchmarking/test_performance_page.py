"""The collector of `make bench`: a script that is absent, fails or speaks its own words costs only its rows."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

PROJECT = Path(__file__).parents[3]
PLACES = {"{work}": "/somewhere"}


@pytest.fixture
def performance(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("performance", PROJECT / "benchmarks" / "performance.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "performance", module)  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "HERE", tmp_path)
    return module


def rows_of(performance: ModuleType, code: str | None, folder: Path) -> list[str]:
    script = performance.Script("some.py", (("a thing", "2x"), ("another", "90%")))
    if code is not None:
        (folder / "some.py").write_text(code, "utf-8")
    rows: list[str] = performance.rows(script, *performance.run(script, PLACES, folder))
    return rows


WRITES = "import sys, pathlib; pathlib.Path(sys.argv[sys.argv.index('--json') + 1]).write_text({!r})"


def test_figures_become_rows(performance: ModuleType, tmp_path: Path) -> None:
    figures = [
        {"what": "fast", "value": 3.456, "unit": "x", "target": 3.5, "low": 3.41, "high": 3.5, "count": 9},
        {"what": "small", "value": 12.0, "unit": "MB", "target": 20, "at_most": True, "note": "a | b"},
        {"what": "free", "value": 85.5, "unit": "%", "target": None},
    ]
    assert rows_of(performance, WRITES.format(json.dumps({"results": figures})), tmp_path) == [
        "| fast | 3.5x | 3.46x, **missed** | 3.41 to 3.5, 9 pairs | `python benchmarks/some.py` |",
        "| small | at most 20 MB | 12 MB (a \\| b) |  | `python benchmarks/some.py` |",
        "| free | none | 85.5% |  | `python benchmarks/some.py` |",
    ]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (None, "not measured: no such script"),
        ("import sys; sys.exit('no such file: x')", "not measured: no such file: x"),
        ("1 / 0", "not measured: ZeroDivisionError: division by zero"),
        (WRITES.format("{"), "not measured: its JSON cannot be read"),
        (WRITES.format('{"peak": 2.5, "engine": "x"}'), "peak 2.5"),
        ("print('12 ms\\nso it is')", "not measured: 12 ms so it is"),
    ],
)
def test_what_gives_no_figures_says_why(performance: ModuleType, tmp_path: Path, code: str | None, words: str) -> None:
    rows = rows_of(performance, code, tmp_path)
    assert [row.split(" | ")[:3] for row in rows] == [["| a thing", "2x", words], ["| another", "90%", words]]


def test_only_the_table_of_the_page_changes(performance: ModuleType) -> None:
    page = (PROJECT / "docs" / "performance.md").read_text("utf-8")
    written = performance.replace_table(page, "| new |")
    assert performance.replace_table(written, "| new |") == written
    before, after = page.split(performance.BEGIN)[0], page.split(performance.END)[1]
    assert written == f"{before}{performance.BEGIN}\n| new |\n{performance.END}{after}"
    with pytest.raises(ValueError, match="must have one line"):
        performance.replace_table("no table", "| new |")
