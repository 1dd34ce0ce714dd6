"""`dpt ablate` as a process: killed by -9 and given again, it keeps what is finished and ends with the same table."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from dpt_process import COMMAND, dpt, environment

BASE = """
name: base
model: {architecture: dpt-base}
sources: [{kind: on_disk, dataset: manifest, root: data, split: train}]
loss: {kind: relative_depth}
steps: 1000
phases: [{start: 0, size: 384, batch_size: 16}]
"""
FILE = """
name: tiny
title: Two readouts
base: base.yaml
variants:
  ignore: {model: {readout: ignore}, paper: {held: 0.0793, mean: 0.0822}}
  add: {model: {readout: add}}
scoring:
  data:
    held: {dataset: manifest, root: data, split: val}
"""
LONG = 600
"""Seconds after which a machine hangs; an idle one needs ten."""
SMALL = ("train.steps=6", "train.phases.0.batch_size=2", "train.log_every=2", "train.checkpoint_every=1")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    rows = ["source,split,name,kind,scale,metric,split_group"]
    (tmp_path / "data" / "ramps").mkdir(parents=True)
    for index in range(4):
        depth = np.tile(np.linspace(4000 - 500 * index, 1000, 64).astype(np.uint16)[:, None], (1, 80))
        image = (depth[:, :, None] // 20 + rng.integers(0, 40, (64, 80, 3))).astype(np.uint8)
        cv2.imwrite(str(tmp_path / "data" / "ramps" / f"{index}.jpg"), image)
        cv2.imwrite(str(tmp_path / "data" / "ramps" / f"{index}.png"), depth)
        rows.append(f"ramps,{'val' if index == 3 else 'train'},{index},depth,0.001,true,{index}")
    (tmp_path / "data" / "manifest.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "tiny.yaml").write_text(FILE)
    return tmp_path


def arguments(out: str, *more: str) -> list[str]:
    return ["ablate", "tiny.yaml", *SMALL, *more, "--miniature", "-o", out]


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="needs kill -9")
def test_killed_and_given_again(place: Path) -> None:
    whole = dpt(*arguments("whole"), cwd=place, timeout=LONG)
    assert whole.returncode == 0, whole.stderr
    table = whole.stdout[whole.stdout.index("Two readouts") :]
    assert table.splitlines()[0] == "Two readouts, in miniature: abs_rel, over 1 seed"
    assert "(0.0822)" in table

    process = subprocess.Popen(
        [*COMMAND, *arguments("killed")], cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment(),
    )  # fmt: skip
    second = place / "killed" / "add" / "seed0" / "checkpoints" / "step_000000002.ckpt"
    deadline = time.monotonic() + LONG
    while not second.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors
    first = place / "killed" / "ignore" / "seed0"
    times = {path: path.stat().st_mtime_ns for path in first.rglob("*")}
    assert not (place / "killed" / "add" / "seed0" / "model.safetensors").exists()

    again = dpt(*arguments("killed"), cwd=place, timeout=LONG)
    assert again.returncode == 0, again.stderr
    assert "[1/2] ignore, seed 0: trained before" in again.stdout
    assert "step 2/6" not in again.stdout, "the second run begins anew instead of going on"
    assert "step 6/6" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*")} == times
    assert again.stdout[again.stdout.index("Two readouts") :] == table
    contents = [json.loads((place / out / "ablation.json").read_text()) for out in ("whole", "killed")]
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("seeds=[0", ), "dpt: 'seeds=[0': the value is not readable YAML"),
        (("steps=3",), "dpt: steps=3: no key steps; did you mean train.steps?"),
        (("variants.add.model.redout=add",), "did you mean readout?"),
        (("scoring.data.held.split=train",), "which is trained on; name a split that is held out"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_before_anything_is_loaded(place: Path, more: tuple[str, ...], message: str) -> None:
    ended = dpt(*arguments("out", *more), cwd=place)
    assert ended.returncode == 2
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert message in line
    assert not (place / "out").exists()
