"""Logs, panels, progress, stopping: what a run writes and says beside its weights."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from rich.console import Console

from dptkit.cli.train_screen import TrainScreen, describe_seconds, plain_line
from dptkit.data.batches import Batch
from dptkit.errors import TrainingError
from dptkit.presets import PRESETS
from dptkit.training.config import DepthLoss, ModelStart, OnDisk, Phase, TrainConfig
from dptkit.training.logbook import Logbook
from dptkit.training.panels import draw_panel
from dptkit.training.progress import Pace, Progress, pixels_between
from dptkit.training.run_folder import RunFolder
from dptkit.training.stopping import StopRequest

CONFIG = TrainConfig(
    "tiny", ModelStart("dpt-lite"), (OnDisk("manifest", "data"),), DepthLoss(), 10, (Phase(0, 10, 2), Phase(6, 20, 2))
)


def rows(path: Path) -> list[list[str]]:
    return [line.split(",") for line in path.read_text().splitlines()]


def test_going_on_from_a_checkpoint_no_step_is_logged_twice(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for first, last in ((1, 5), (4, 6)):
        logbook = Logbook(folder, first - 1, tensorboard=False)
        for step in range(first, last + 1):
            logbook.write(step, {"loss": first * 10 + step})
            logbook.write_validation(step, {"validation": first})
        logbook.close()
    assert rows(tmp_path / "log.csv")[1:] == [
        ["1", "11"],
        ["2", "12"],
        ["3", "13"],
        ["4", "44"],
        ["5", "45"],
        ["6", "46"],
    ]
    assert [row[1] for row in rows(tmp_path / "validation.csv")[1:]] == ["1", "1", "1", "4", "4", "4"]
    # Killed before its first checkpoint, a run begins anew, and validates before its first step again.
    for _ in range(2):
        logbook = Logbook(folder, None, tensorboard=False)
        logbook.write_validation(0, {"validation": 7.0})
        logbook.write(1, {"loss": 7.0})
        logbook.close()
    assert rows(tmp_path / "log.csv") == [["step", "loss"], ["1", "7"]]
    assert rows(tmp_path / "validation.csv") == [["step", "validation"], ["0", "7"]]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX locks")
def test_one_process_trains_in_a_folder_and_takes_away_what_a_killed_one_left(tmp_path: Path) -> None:
    half = tmp_path / "checkpoints" / ".step_000000010.ckpt.123-0badcafe.part"
    half.parent.mkdir()
    half.write_bytes(b"half")
    holds = "import fcntl; f = open('.lock', 'r+'); fcntl.lockf(f, fcntl.LOCK_EX); print('has it', flush=True); input()"
    (tmp_path / ".lock").write_text("123 on earth\n")
    with subprocess.Popen(
        [sys.executable, "-c", holds], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "has it\n"
        with pytest.raises(TrainingError, match="process 123 on earth is training there"):
            Logbook(RunFolder(tmp_path), None, tensorboard=False)
        assert half.exists()
        other.kill()
    logbook = Logbook(RunFolder(tmp_path), None, tensorboard=False)
    assert (tmp_path / ".lock").read_text().startswith(f"{os.getpid()} on ")
    logbook.close()
    assert not half.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_full_disk_costs_a_row_and_a_warning_and_not_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import resource

    logbook = Logbook(RunFolder(tmp_path), 0, tensorboard=False)
    logbook.write(1, {"loss": 1.5})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    # Three bytes more: half a row is written before the system refuses.
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "log.csv").stat().st_size + 3, hard))
    try:
        logbook.write(2, {"loss": 2.5})
        logbook.write_panel(2, np.zeros((64, 64, 3), np.uint8))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert [record.getMessage().split(": cannot write")[0] for record in caplog.records] == ["step 2", "step 2"]
    logbook.write(3, {"loss": 3.5})
    assert rows(tmp_path / "log.csv") == [["step", "loss"], ["1", "1.5"], ["3", "3.5"]]


def test_tensorboard_holds_each_step_once_after_going_on(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = RunFolder(tmp_path)
    picture = np.full((8, 24, 3), 200, np.uint8)
    for first, last in ((1, 5), (4, 6)):
        logbook = Logbook(folder, first - 1, tensorboard=True)
        for step in range(first, last + 1):
            logbook.write(step, {"loss": first})
        logbook.write_panel(last, picture)
        logbook.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    expected = [(1, 1), (2, 1), (3, 1), (4, 4), (5, 4), (6, 4)]
    assert [(event.step, event.value) for event in events.Scalars("training/loss")] == expected
    assert [event.step for event in events.Images("panel")] == [6]


def test_a_panel_shows_input_truth_and_prediction(tmp_path: Path) -> None:
    spec = PRESETS["dpt-large"].spec
    image = torch.zeros(2, 3, 6, 8)  # the mean colour
    target = torch.arange(48.0).reshape(1, 6, 8).expand(2, -1, -1).clone()
    valid = torch.ones(2, 6, 8, dtype=torch.bool)
    valid[0, 0, 0] = False
    batch = Batch(image, target, valid, torch.zeros(2, dtype=torch.long), "inverse_depth", ("a", "b"))
    raw = (3 * target[:, None] + 5).numpy()
    panel = draw_panel(batch, raw, spec)
    assert panel.shape == (12, 24, 3)
    np.testing.assert_array_equal(panel[3, 3], np.round(np.array(spec.preprocess.mean) * 255))
    assert panel[0, 8].tolist() == [128, 128, 128]
    # Scale and shift do not matter for the colours.
    np.testing.assert_array_equal(panel[6:, 8:16], panel[6:, 16:])
    Logbook(RunFolder(tmp_path), 0, tensorboard=False).write_panel(20, panel)
    written = cv2.imread(str(tmp_path / "panels" / "step_000000020.jpg"))
    assert written is not None
    assert written.shape == panel.shape


def test_a_panel_of_classes_uses_the_models_colours() -> None:
    spec = PRESETS["dpt-large-ade20k"].spec
    target = torch.tensor([[[0, 1], [2, 255]]])
    batch = Batch(torch.zeros(1, 3, 2, 2), target, target != 255, torch.zeros(1, dtype=torch.long), "labels", ("a",))
    raw = np.zeros((1, 150, 2, 2), np.float32)
    raw[0, 7] = 1
    panel = draw_panel(batch, raw, spec)
    palette = [list(colour) for colour in spec.decoding.palette]  # type: ignore[union-attr]
    assert panel[:, 2:4].reshape(4, 3).tolist() == [*palette[:3], [128, 128, 128]]
    assert panel[:, 4:].reshape(4, 3).tolist() == [palette[7]] * 4


def test_the_time_left_knows_that_later_phases_are_slower() -> None:
    assert pixels_between(CONFIG, 0, 10) == 6 * 200 + 4 * 800
    assert pixels_between(CONFIG, 5, 7) == 200 + 800
    pace = Pace(CONFIG)
    assert pace.seconds_left(0, 2, 2.0) == pytest.approx(4 + 4 * 4)
    # One slow moment moves it by part only: 0.7 s and 0.3 of 11 s a step.
    assert pace.seconds_left(2, 3, 11.0) == pytest.approx(4.0 * (3 + 16))


def test_progress_in_words() -> None:
    line = plain_line(Progress(50, 2300, {"loss": 0.42171, "encoder_lr": 2e-4}, 32.12, 0.014, 2460.0))
    assert line == "step 50/2300: loss 0.4217, encoder_lr 0.0002, 32.1 images/s, 1% waiting, 41 min left"
    assert plain_line(Progress(5, 9, {"validation": 1.0}, 0.0, 0.0)) == "step 5/9: validation 1"
    assert [describe_seconds(s) for s in (4.4, 99.4, 99.6, 6100, 190_000)] == [
        "4 s", "99 s", "2 min", "1 h 42 min", "2 days 4 h",
    ]  # fmt: skip


def test_a_terminal_that_was_closed_does_not_end_a_run_and_a_closed_pipe_does(monkeypatch: pytest.MonkeyPatch) -> None:
    said, shown = Progress(1, 9, {"loss": 1.0}, 2.0, 0.0), []

    def echo(line: str) -> None:
        shown.append(line)
        raise error

    monkeypatch.setattr("typer.echo", echo)
    with TrainScreen() as screen:
        screen._console = Console(file=io.StringIO())
        error: OSError = BrokenPipeError(errno.EPIPE, "broken pipe")
        with pytest.raises(BrokenPipeError):
            screen(said)
        error = OSError(errno.EIO, "input/output error")
        screen(said)
        assert screen.gone
        screen(said)
    assert len(shown) == 2


def test_the_first_signal_is_kept_its_echo_ignored_and_a_second_one_raises() -> None:
    before = signal.getsignal(signal.SIGINT)
    stop = StopRequest()
    with stop.listening():
        signal.raise_signal(signal.SIGTERM)
        assert stop.signal == signal.SIGTERM
        signal.raise_signal(signal.SIGTERM)
        stop._asked -= 2  # as if asked two seconds ago
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(SystemExit, match="143"):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGINT) is before
