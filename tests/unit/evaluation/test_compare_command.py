"""`dpt compare` as a user calls it: what it prints, what it writes, and one line for each mistake."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from two_results import METRES, SHAPE, Guess, open_scenes, result_of, run, write_scenes
from typer.testing import CliRunner

from dptkit.cli.main import app
from dptkit.evaluation.protocols import PROTOCOLS
from dptkit.evaluation.result import write_result


def dpt(*arguments: object) -> tuple[int, str, str]:
    """Exit code, output, errors. What a user would see as a traceback is raised."""
    ran = CliRunner().invoke(app, ["compare", *map(str, arguments)], prog_name="dpt")
    if ran.exception is not None and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    return ran.exit_code, ran.stdout, ran.stderr


@dataclass(frozen=True)
class Files:
    """Two results by different rules; the first one's predictions are kept. data: what was scored."""

    a: Path
    b: Path
    data: Path
    root: Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    root = tmp_path_factory.mktemp("compare")
    data = open_scenes(write_scenes(root / "scenes"))
    write_result(root / "a.json", run(data, Guess(), METRES, root / "kept"))
    write_result(root / "b.json", run(data, Guess("other", 1.1), SHAPE))
    return Files(root / "a.json", root / "b.json", root / "scenes", root)


def test_the_steps_that_are_printed_add_up(files: Files) -> None:
    code, out, err = dpt(files.a, files.b, "--data", files.data)
    assert (code, err) == (0, "")
    lines = out.split("What each rule is worth")[1].splitlines()[2:]
    column = [float(re.split(r"\s{2,}", line.strip())[1]) for line in lines if line]
    first, *steps, last = column
    assert len(steps) == 6  # rounding, alignment, mask, range, aggregation, other predictions
    assert first + sum(steps) == pytest.approx(last, abs=0.00005 * (len(steps) + 2))  # each rounded to 4 digits
    assert "over the 6 pictures in common" in out
    assert "metres as they are" in out


def test_json_has_all_of_it(files: Files, tmp_path: Path) -> None:
    code, _, _ = dpt(files.a, files.b, "--data", files.data, "--json", tmp_path / "o.json", "--samples", 500)
    assert code == 0
    values = json.loads((tmp_path / "o.json").read_text())
    found = values["comparison"]["against"][0]["differences"]["abs_rel"]
    assert found["difference"] == pytest.approx(found["right"] - found["left"])
    assert values["comparison"]["samples"] == 500
    (worth,) = values["worth"]
    steps = sum(step["worth"]["abs_rel"] for step in worth["steps"]) + worth["rest"]["abs_rel"]
    assert worth["start"]["abs_rel"] + steps == pytest.approx(worth["end"]["abs_rel"])


def test_files_that_were_moved_together_are_found(files: Files, tmp_path: Path) -> None:
    import shutil

    shutil.copy(files.a, tmp_path / "a.json")
    text = (tmp_path / "a.json").read_text().replace(json.dumps(str(files.root / "kept")), '"/nowhere/kept"')
    (tmp_path / "a.json").write_text(text)
    assert "are not there" in dpt(tmp_path / "a.json", files.b, "--data", files.data)[1]
    shutil.copytree(files.root / "kept", tmp_path / "kept")
    assert "What each rule is worth" in dpt(tmp_path / "a.json", files.b, "--data", files.data)[1]


def test_what_is_needed_for_the_worth_is_said(files: Files, tmp_path: Path) -> None:
    assert "give --data DIR, the folder that was scored" in dpt(files.a, files.b)[1]
    out = dpt(files.b, files.a, "--data", files.data)[1]
    assert "keep the predictions of other by running again: dpt eval --json a.json --predictions DIR" in out
    left, right = result_of({"abs_rel": [0.1, 0.2]}), result_of({"abs_rel": [0.1, 0.3]}, tta="flip")
    for name, result in (("l", left), ("r", right)):
        write_result(tmp_path / f"{name}.json", result)
    out = dpt(tmp_path / "l.json", tmp_path / "r.json")[1]
    assert "tta: changes the prediction itself: run the model again" in out
    assert "What each rule is worth" not in out


def test_the_same_rules_need_no_words(files: Files) -> None:
    out = dpt(files.a, files.a)[1]
    assert "rules" not in out
    assert "0 / 6 / 0" in out
    assert re.search(r"AbsRel .* 1 +0 / 6 / 0", out)  # p = 1


def test_beside_a_paper(tmp_path: Path) -> None:
    result = result_of({"delta1_error": [0.08, 0.0864]})
    write_result(tmp_path / "r.json", replace(result, protocol=PROTOCOLS["midas-zero-shot-nyu"]))
    code, out, _ = dpt(tmp_path / "r.json", "--paper", "dpt-large")
    assert code == 0
    assert "DPT (ICCV 2021), Table 1" in out
    assert re.search(r"δ>1.25 % +8\.32 +8\.320 +[+-]0\.000 +agrees", out)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("a.json",), 2, "two results, or one and --paper NAME"),
        (("a.json", "none.json"), 1, "none.json: No such file"),
        (("a.json", "text.json"), 1, "text.json: not a result of dpt eval"),
        (("a.json", "list.json"), 1, "list.json: not a result of dpt eval"),
        (("a.json", "b.json", "--paper", "dpt-larg"), 2, "did you mean dpt-large"),
        (("a.json", "--paper", "dpt-large"), 2, "of dpt-large by metres: of dpt-large there is midas"),
        (("a.json", "b.json", "--data", "nowhere"), 1, "nowhere"),
        (("a.json", "b.json", "--data", "scenes", "--dataset", "manifes"), 1, "did you mean manifest"),
        (("a.json", "a.json", "--json", "scenes"), 1, "cannot write scenes"),
    ],
)
def test_mistakes_are_one_line(
    files: Files, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, message: str
) -> None:
    (files.root / "text.json").write_text("hello")
    (files.root / "list.json").write_text("[1]")
    monkeypatch.chdir(files.root)
    ended, _, err = dpt(*arguments)
    assert ended == code
    assert message in err
    assert err.startswith("dpt: ")
    assert err.count("\n") == 1


def test_as_a_process(files: Files) -> None:
    """In a terminal of plain ASCII, as with LANG=C, where δ has no letter."""
    ran = subprocess.run(
        [sys.executable, "-m", "dptkit.cli.main", "compare", str(files.a), str(files.b)],
        capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1"}, timeout=120,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert b"B against A" in ran.stdout
