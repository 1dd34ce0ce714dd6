"""Code blocks of docs/compare.md and docs/evaluate.md: what needs no download runs, other commands are parsed."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from two_results import METRES, Guess, open_scenes, run, write_scenes

from dptkit.cli.eval_run import EvaluationRun
from dptkit.evaluation.protocols import PROTOCOLS
from dptkit.evaluation.result import read_result, write_result
from floors import make_floors

sys.path.append(str(Path(__file__).parents[1] / "cli"))
from cli_runner import dpt

DOCS = Path(__file__).parents[3] / "docs"


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(page: str) -> Iterator[list[str]]:
    for text in blocks(page, "sh"):
        for line in text.splitlines():
            if words := shlex.split(line, comments=True):
                assert words[0] == "dpt", line
                yield words[1:]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a.json, b.json and c.json, the data they are of as NYU, and a's predictions."""
    root = tmp_path_factory.mktemp("docs")
    data = open_scenes(write_scenes(root / "NYU"))
    plain = replace(PROTOCOLS["midas-zero-shot-nyu"], alignment="none", network_input=None, datasets=())
    first = run(data, Guess(), plain, keep=root / "kept")
    write_result(root / "a.json", first)
    write_result(root / "b.json", run(data, Guess(), replace(plain, aggregation="pooled")))
    write_result(root / "c.json", run(data, Guess("second", 1.2), METRES))
    return root


def test_comparisons_run(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(results)
    ran = 0
    for words in commands("compare.md"):
        done = dpt(*words, *(("--samples", "100") if words[0] == "compare" else ()))
        assert done.code == 0, (words, done.errors)
        assert done.lines
        ran += 1
    assert ran == 5
    assert (results / "all.json").is_file()
    result = read_result(Path("a.json"))
    names: dict[str, Any] = {"dataset": open_scenes(Path("NYU")), "subject": Guess(), "result": result}
    exec("".join(blocks("compare.md", "python")), names)
    assert "data:image/" in Path("report.html").read_text("utf-8")
    assert names["comparison"].common > 0


def test_evaluations_are_said_rightly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data sets and weights are not here: the commands go as far as the run, with all options checked that can be."""
    started: list[EvaluationRun] = []

    def start(self: EvaluationRun) -> int:
        started.append(self)
        return 0

    monkeypatch.setattr(EvaluationRun, "start", start)
    listed = 0
    evaluations = [words for words in commands("evaluate.md") if words[0] == "eval"]
    for words in evaluations:
        done = dpt(*words)
        assert done.code == 0, (words, done.errors)
        listed += "--list-protocols" in words
    assert (len(started), listed) == (len(evaluations) - listed, 2)
    assert {one.protocol.name for one in started} <= set(PROTOCOLS)


def test_your_own_pictures_are_scored_from_shell_and_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "val"):
        make_floors(tmp_path / "my-pictures" / split, 2)
    monkeypatch.chdir(tmp_path)
    (words,) = [words for words in commands("evaluate.md") if "my-pictures/" in words]
    at = words.index("dpt-large")  # a download
    assert dpt(*words[: at - 1], *words[at + 1 :]).code == 0
    values = read_result(tmp_path / "mine-dpt-lite.json").summary["abs_rel"].value
    (code,) = [text for text in blocks("evaluate.md", "python") if "write_result" in text]
    exec(code, {})
    assert read_result(tmp_path / "mine.json").summary["abs_rel"].value == pytest.approx(values)
