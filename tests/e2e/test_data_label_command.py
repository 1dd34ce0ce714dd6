"""`dpt data label` as a process: killed by -9 and given again, it ends with the same folder to the byte."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dpt_process import COMMAND, dpt, environment, save_pictures

LONG = 120


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.skipif(sys.platform == "win32", reason="needs kill -9")
def test_killed_and_given_again(tmp_path: Path) -> None:
    pictures = save_pictures(tmp_path / "pictures", 3)

    def arguments(out: str) -> list[str]:
        words = ["data", "label", str(pictures), str(tmp_path / out), "--crops", "32x64", "--count", "30"]
        return [*words, "--engine", "torch", "--device", "cpu", "--tta", "flip"]

    process = subprocess.Popen(
        [*COMMAND, *arguments("killed")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )
    third = tmp_path / "killed" / "pictures" / "000002.jpg"
    deadline = time.monotonic() + LONG
    while not third.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors
    assert not (tmp_path / "killed" / "manifest.csv").exists()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").rglob("*.jpg")}
    assert 3 <= len(before) < 30

    for out in ("killed", "whole"):
        ran = dpt(*arguments(out), timeout=LONG)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout == f"{tmp_path / out}: 30 pictures with the labels of dpt-lite\n"
    assert {path: path.stat().st_mtime_ns for path in before} == before, "what was there is kept"
    killed, whole = contents(tmp_path / "killed"), contents(tmp_path / "whole")
    left = [name for name in killed if name not in whole]
    assert {name: data for name, data in killed.items() if name not in left} == whole
    assert len(left) <= 1, "at most the file that was being written, under a name of its own"
    assert not any(name.endswith((".jpg", ".png")) and "/." not in name for name in left)
