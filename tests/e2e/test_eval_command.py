"""`dpt eval` as a process: a run that is killed goes on, Ctrl-C keeps what is done."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from dpt_process import COMMAND, dpt, environment

from dptkit.evaluation.result import EvaluationResult, read_result
from floors import FOLDER, LITE, make_floors

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX only")
COUNT = 12


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_floors(tmp_path_factory.mktemp("eval") / "data", COUNT)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> EvaluationResult:
    """A run of dpt-lite that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "out.json"
    ran = dpt("eval", "--data", data, *FOLDER, *LITE, "--json", out)
    assert ran.returncode == 0, ran.stderr
    assert [path.name for path in out.parent.iterdir()] == ["out.json"]
    return read_result(out)


def measured(result: EvaluationResult) -> dict[str, Any]:
    """All but what may differ between two runs: times, and the command."""
    return {key: value for key, value in asdict(result).items() if key not in ("seconds", "command")}


def start(*arguments: str | os.PathLike[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "eval", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def wait_for_lines(journal: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 100
    while not (journal.is_file() and journal.read_bytes().count(b"\n") >= count):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)


@posix
def test_a_run_that_was_killed_goes_on_and_gives_the_same_numbers(
    data: Path, whole: EvaluationResult, tmp_path: Path
) -> None:
    out, journal = tmp_path / "out.json", tmp_path / "out.json.partial"
    arguments = ("--data", data, *FOLDER, *LITE, "--json", out)
    out.write_text("an older result")
    process = start(*arguments)
    wait_for_lines(journal, 4, process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert out.read_text() == "an older result"
    done = journal.read_bytes().count(b"\n") - 1
    assert 3 <= done < COUNT
    journal.write_bytes(journal.read_bytes()[:-7])  # a kill in the middle of a line
    ran = dpt("eval", *arguments)
    assert ran.returncode == 0, ran.stderr
    assert measured(read_result(out)) == measured(whole)
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == ["out.json"]


@posix
def test_ctrl_c_keeps_the_journal_and_a_changed_protocol_is_refused(data: Path, tmp_path: Path) -> None:
    out, journal = tmp_path / "out.json", tmp_path / "out.json.partial"
    arguments = ("--data", data, *FOLDER, *LITE, "--json", out)
    process = start(*arguments)
    wait_for_lines(journal, 2, process)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=60)
    assert (process.returncode, printed) == (130, "")
    *_, last = errors.splitlines()
    assert last.startswith("dpt: interrupted after ")
    assert last.endswith(f" of {COUNT} pictures of dpt-lite; the same command goes on from there, by {journal}")
    assert "Traceback" not in errors
    assert not out.exists()
    ran = dpt("eval", *arguments, "--set", "relative_floor=0.25")
    assert (ran.returncode, ran.stdout) == (1, "")
    (error,) = ran.stderr.splitlines()
    assert f"{journal} is of an unfinished run that measured something else" in error
    assert "protocol.name was folder, now folder (changed: relative_floor=0.25)" in error
    assert "remove the file" in error
