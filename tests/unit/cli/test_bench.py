"""`dpt bench`: its options, its outputs, and Ctrl-C. No time is asserted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dptkit.benchmarking import bench as bench_module
from dptkit.benchmarking.own_process import OwnProcess, OwnProcessError
from dptkit.benchmarking.stages import StagedPrediction, Timing
from dptkit.cli.main import app

SMALL = ("--engine", "torch", "--device", "cpu", "--precision", "float32", "--size", "32")


def dpt_bench(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["bench", *arguments], env={"COLUMNS": "200"})


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of its own has a test of its own."""
    monkeypatch.setattr(
        bench_module, "measure_in_own_process", lambda *_: OwnProcess(1.5, 0.5, 0.25, 40.4, 200.2, None)
    )


def test_a_table_and_a_file(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    result = dpt_bench(*SMALL, "--runs", "3", "--batch", "2", "--compare", "torch:bfloat16", "--json", str(out))
    assert result.exit_code == 0, result.output
    for words in ("engine torch, precision float32", "3 batches", "peak memory 40 MB above the 200 MB", "p99 ms"):
        assert words in result.stdout
    assert "start-up 1.50 s (Python and imports 0.50 s), first prediction 0.25 s" in result.stdout
    assert "torch:float32 against torch:bfloat16" in result.stdout
    written = json.loads(out.read_text("utf-8"))
    assert written["finished"]
    assert written["batch"] == 2
    assert [setting["precision"] for setting in written["settings"].values()] == ["float32", "bfloat16"]
    for setting in written["settings"].values():
        assert all(len(times) == 3 for times in setting["samples_s"].values())
        assert setting["latency_s"]["whole"]["count"] == 3
        assert len(setting["weights_sha256"]) == 64
    assert written["comparisons"][0]["whole"]["count"] == 3


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    time = StagedPrediction.time

    def interrupted(self: StagedPrediction, batch: object) -> Timing:
        nonlocal calls
        calls += 1
        if calls == bench_module.WARM_UP + 3:
            raise KeyboardInterrupt
        return time(self, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(StagedPrediction, "time", interrupted)
    out = tmp_path / "out.json"
    result = dpt_bench(*SMALL, "--seconds", "1000", "--json", str(out))
    assert result.exit_code == 130
    assert "2 batches" in result.stdout
    assert "interrupted; what was measured so far follows" in result.stderr
    written = json.loads(out.read_text("utf-8"))
    assert not written["finished"]
    assert written["settings"]["torch:float32"]["latency_s"]["predict"]["count"] == 2


def test_ctrl_c_before_the_first_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> Timing:
        raise KeyboardInterrupt

    monkeypatch.setattr(StagedPrediction, "time", interrupted)
    result = dpt_bench(*SMALL)
    assert result.exit_code == 130
    assert result.stderr.strip().splitlines()[-1] == "dpt: interrupted; nothing was measured yet"
    assert not result.stdout.strip()


def test_a_process_that_fails_costs_only_its_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> OwnProcess:
        raise OwnProcessError("killed")

    monkeypatch.setattr(bench_module, "measure_in_own_process", fail)
    result = dpt_bench(*SMALL, "--runs", "1")
    assert result.exit_code == 0
    assert "start-up and memory not measured: killed" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--runs", "1", "--seconds", "1"), "exclude each other"),
        (("--seconds", "0"), "--seconds 0 is not a time"),
        (("--seconds", "nan"), "--seconds nan is not a time"),
        (("--compare", "tensorflow:float32"), "--compare: 'tensorflow' is none of"),
        (("--compare", "torch:float8"), "--compare: 'float8' is none of"),
        (("--engine", "openvno"), "did you mean openvino?"),
        (("--images", "/not/there"), "/not/there: no such folder"),
        (("--json", "/"), "is a folder"),
        (("dpt-lrage",), "dpt-lrage"),
        (("missing.safetensors",), "missing.safetensors: no such model file"),
        ((*SMALL, "--compare", "torch:float32"), "torch:float32 is among the settings twice"),
        (("--size", "33", "--engine", "torch"), "size 33 is not a positive multiple"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], words: str) -> None:
    result = dpt_bench(*arguments)
    assert result.exit_code == 2
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    assert words in lines[0]
    assert not result.stdout.strip()
