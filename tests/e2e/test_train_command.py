"""`dpt train` as a process: it learns, and after kill -9 at any step it ends with the same weights to the bit."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dptkit.weights.load import load_model
from dptkit.weights.tensor_file import read_tensors

STEPS = 12
CONFIG = """
name: tiny
model: {architecture: dpt-lite, transformer_depth: 2}
sources:
  - {kind: on_disk, dataset: manifest, root: data, split: train}
  - {kind: on_disk, dataset: manifest, root: data, split: more, weight: 0.5}
loss: {kind: relative_depth}
augment: {colour: 0.5, blur: 0.2, jpeg: 0.2, scale: [1.0, 1.2]}
optimiser:
  {kind: adamw, encoder_lr: 1.0e-3, decoder_lr: 1.0e-3, schedule: cosine, clip_norm: 1.0, freeze_batch_norm: true}
ema_decay: 0.9
steps: 12
phases: [{start: 0, size: 64, batch_size: 4}, {start: 7, size: 96, batch_size: 4}]
checkpoint_every: 2
keep_checkpoints: 3
log_every: 1
workers: 1
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small data set (a bright disc that is near, on a ramp) and a configuration."""
    place = tmp_path_factory.mktemp("train")
    rng = np.random.default_rng(0)
    rows = []
    for index in range(12):
        image = rng.integers(0, 80, (80, 96, 3), np.uint8)
        depth = np.tile(np.linspace(4000, 2000, 80).astype(np.uint16)[:, None], (1, 96))
        centre = (int(rng.integers(20, 76)), int(rng.integers(20, 60)))
        cv2.circle(image, centre, 14, (250, 240, 230), -1)
        cv2.circle(depth, centre, 14, 1000, -1)
        depth[:3] = 0
        (place / "data" / "disc").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / "data" / "disc" / f"{index}.jpg"), image)
        cv2.imwrite(str(place / "data" / "disc" / f"{index}.png"), depth)
        split = "train" if index < 8 else "more"
        cv2.imwrite(str(place / "data" / "disc" / f"full{index}.jpg"), image)
        cv2.imwrite(
            str(place / "data" / "disc" / f"full{index}.png"), np.where(depth == 0, 4000, depth).astype(np.uint16)
        )
        rows.append(f"disc,full,full{index},made up,depth,0.001,true,f{index},CC0,96,80,1.0")
        rows.append(f"disc,{split},{index},made up,depth,0.001,true,g{index},CC0,96,80,0.96")
    header = "source,split,name,scene_type,kind,scale,metric,split_group,license,width,height,valid_fraction"
    (place / "data" / "manifest.csv").write_text("\n".join([header, *rows]) + "\n")
    (place / "tiny.yaml").write_text(CONFIG)
    return place


def command(out: str, *overrides: str) -> list[str]:
    return [sys.executable, "-m", "dptkit.cli.main", "train", "tiny.yaml", *overrides, "-o", out]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def train(place: Path, out: str, *overrides: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(out, *overrides), cwd=place, capture_output=True, text=True, timeout=240, env=environment()
    )


def log_of(place: Path, out: str) -> list[dict[str, str]]:
    with (place / out / "log.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def whole(place: Path) -> Path:
    """A run that nothing interrupted."""
    ran = train(place, "whole")
    assert ran.returncode == 0, ran.stderr
    return place / "whole"


def test_a_run_leaves_a_model_that_loads_and_a_log(place: Path, whole: Path) -> None:
    model = load_model(whole / "model.safetensors")
    assert model.spec.name == "tiny"
    assert model.spec.model.encoder.depth == 2
    rows = log_of(place, "whole")
    assert [int(row["step"]) for row in rows] == list(range(1, STEPS + 1))
    assert all(np.isfinite(float(row["loss"])) for row in rows)


@pytest.mark.skipif(sys.platform == "win32", reason="needs kill -9")
@pytest.mark.parametrize("checkpoint", [2, 6, 10])
def test_kill_and_resume_is_equal_to_the_bit(place: Path, whole: Path, checkpoint: int) -> None:
    out = f"killed{checkpoint}"
    process = subprocess.Popen(
        command(out), cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()
    )
    wanted = place / out / "checkpoints" / f"step_{checkpoint:09d}.ckpt"
    deadline = time.monotonic() + 120
    while not wanted.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert wanted.exists()
    assert not (place / out / "model.safetensors").exists(), "it ended before it was killed"
    ran = train(place, out)
    assert ran.returncode == 0, ran.stderr
    expected = read_tensors(whole / "model.safetensors").tensors
    found = read_tensors(place / out / "model.safetensors").tensors
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name
    exact = ("step", "loss", "data", "gradient", "anchor", "encoder_lr")
    assert [[row[k] for k in exact] for row in log_of(place, out)] == [
        [row[k] for k in exact] for row in log_of(place, "whole")
    ]


def test_a_folder_with_another_run_is_left_alone(place: Path, whole: Path) -> None:
    before = (whole / "model.safetensors").read_bytes()
    ran = train(place, "whole", "optimiser.decoder_lr=1.0e-2")
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1].startswith("dpt: whole: holds a run of another configuration: optimiser differ")
    assert (whole / "model.safetensors").read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="needs gloo on POSIX")
def test_two_processes_do_what_one_does(place: Path) -> None:
    # Plain SGD: Adam divides by the gradient's size, so that it magnifies rounding where gradients are small.
    # Unclipped: clipping would hide gradients that are too large by a factor.
    overrides = (
        "optimiser.kind=sgd", "optimiser.encoder_lr=1.0e-4", "optimiser.decoder_lr=1.0e-3", "optimiser.clip_norm=0",
        "sources.0.split=full", "sources.1.split=full",
    )  # fmt: skip
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    one = train(place, "one", *overrides)
    two = subprocess.run(
        [*launcher, *command("two", *overrides, "devices=2")[2:]],
        cwd=place, capture_output=True, text=True, timeout=240, env=environment(),
    )  # fmt: skip
    assert (one.returncode, two.returncode) == (0, 0), one.stderr + two.stderr[-2000:]
    losses = [[float(row["loss"]) for row in log_of(place, out)] for out in ("one", "two")]
    # Float32 sums in another order; the log has six digits. Fed back through twelve steps.
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)


def test_mistakes_are_seen_before_anything_is_written(place: Path) -> None:
    for override, message in (
        ("sources.0.root=nowhere", "nowhere"),
        ("optimiser.decoder_rl=1", "did you mean decoder_lr?"),
        ("model.architecture=dpt-lit", "did you mean dpt-lite?"),
        ("model.architecture=dpt-large-ade20k", "is for segmentation"),
    ):
        ran = train(place, "mistaken", override)
        assert ran.returncode in (1, 2)
        assert message in ran.stderr.splitlines()[-1]
        assert not (place / "mistaken").exists()
