"""`dpt train` as a process: it learns, and after kill -9 at any step it ends with the same weights to the bit."""

from __future__ import annotations

import csv
import os
import platform
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
validation: [{kind: on_disk, dataset: manifest, root: data, split: full}]
validation_pictures: 8
validate_every: 3
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


def command(out: str, *overrides: str, config: str = "tiny.yaml") -> list[str]:
    return [sys.executable, "-m", "dptkit.cli.main", "train", config, *overrides, "-o", out]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def train(place: Path, out: str, *overrides: str, config: str = "tiny.yaml") -> subprocess.CompletedProcess[str]:
    arguments = command(out, *overrides, config=config)
    return subprocess.run(arguments, cwd=place, capture_output=True, text=True, timeout=240, env=environment())


def log_of(place: Path, out: str) -> list[dict[str, str]]:
    with (place / out / "log.csv").open() as file:
        return list(csv.DictReader(file))


def started(place: Path, out: str, *overrides: str, config: str = "tiny.yaml") -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(out, *overrides, config=config), cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment(),
    )  # fmt: skip


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)


def assert_same_run(run: Path, whole: Path) -> None:
    """The same weights to the bit, the same best model, the same curves."""
    for name in ("model.safetensors", "best.safetensors"):
        expected, found = (read_tensors(folder / name).tensors for folder in (whole, run))
        assert found.keys() == expected.keys()
        for key, tensor in expected.items():
            assert torch.equal(found[key], tensor), f"{name}: {key}"
    exact = ("step", "loss", "data", "gradient", "anchor", "encoder_lr", "decoder_lr")
    rows, expected_rows = (log_of(folder.parent, folder.name) for folder in (run, whole))
    assert [[row[k] for k in exact] for row in rows] == [[row[k] for k in exact] for row in expected_rows]
    assert (run / "validation.csv").read_text() == (whole / "validation.csv").read_text()


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
    with (whole / "validation.csv").open() as file:
        validated = [(int(row["step"]), float(row["validation"]), float(row["best"])) for row in csv.DictReader(file)]
    assert [step for step, _, _ in validated] == [0, 3, 6, 9, 12]
    assert [best for _, _, best in validated] == [min(v for _, v, _ in validated[: n + 1]) for n in range(5)]


@pytest.mark.skipif(sys.platform == "win32", reason="needs kill -9")
@pytest.mark.parametrize(("checkpoint", "config"), [(2, "tiny.yaml"), (10, "whole/run.json")])
def test_kill_and_resume_is_equal_to_the_bit(place: Path, whole: Path, checkpoint: int, config: str) -> None:
    """From the configuration, or from what another run wrote down of itself, which repeats that run."""
    out = f"killed{checkpoint}"
    process = started(place, out, config=config)
    wanted = place / out / "checkpoints" / f"step_{checkpoint:09d}.ckpt"
    wait_for(wanted, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert wanted.exists()
    assert not (place / out / "model.safetensors").exists(), "it ended before it was killed"
    ran = train(place, out, config=config)
    assert ran.returncode == 0, ran.stderr
    assert_same_run(place / out, whole)
    assert (place / out / "run.json").read_bytes() == (whole / "run.json").read_bytes()


def test_a_folder_with_another_run_is_left_alone(place: Path, whole: Path) -> None:
    before = (whole / "model.safetensors").read_bytes()
    ran = train(place, "whole", "optimiser.decoder_lr=1.0e-2")
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1].startswith("dpt: whole: holds a run of another configuration: optimiser differ")
    assert (whole / "model.safetensors").read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(
    ("asked", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.long)]
)
def test_a_run_that_is_asked_to_stop_saves_its_step_and_goes_on(
    place: Path, whole: Path, asked: signal.Signals, code: int
) -> None:
    out = f"stopped{code}"
    process = started(place, out, "checkpoint_every=100")
    wait_for(place / out / "log.csv", process)
    process.send_signal(asked)
    _, said = process.communicate(timeout=120)
    assert process.returncode == code, said
    (checkpoint,) = (place / out / "checkpoints").iterdir()
    step = int(checkpoint.stem.removeprefix("step_"))
    assert 1 <= step < STEPS, "it ended before it was asked"
    last = f"dpt: stopped after step {step} of {STEPS}; the same command goes on from there, in {out}"
    assert said.splitlines()[-1] == last
    assert len(log_of(place, out)) == step
    ran = train(place, out, "checkpoint_every=100")
    assert ran.returncode == 0, ran.stderr
    assert_same_run(place / out, whole)


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_asked_twice_a_run_stops_at_once(place: Path) -> None:
    # Steps of seconds, so that the second request comes before the step has ended.
    process = started(
        place, "twice", "phases=[{start: 0, size: 64, batch_size: 4}, {start: 1, size: 320, batch_size: 64}]"
    )
    wait_for(place / "twice" / "log.csv", process)
    time.sleep(1)  # the long step has begun
    process.send_signal(signal.SIGINT)
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "dpt: interrupted"
    assert not (place / "twice" / "checkpoints").exists()


def test_check_tries_everything_and_writes_nothing(place: Path) -> None:
    ran = train(place, "checked", "--check")
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert [line.split()[0] for line in lines if line.startswith(("sources.", "validation."))] == [
        "sources.0", "sources.1", "validation.0",
    ]  # fmt: skip
    assert "manifest in data, more" in lines[2]
    assert "80x96" in lines[2]
    assert "depth_m [m]" in lines[2]
    phases = [line.split()[:4] for line in lines if line.split()[:1] in (["0"], ["1"])]
    assert phases == [["0", "64x64", "4", "7"], ["1", "96x96", "4", "5"]]
    assert [line.split()[0] for line in lines[-3:]] == ["time", "memory", "disk"]
    assert not (place / "checked").exists()
    (place / "data" / "disc" / "8.png").rename(place / "data" / "away.png")
    try:
        ran = train(place, "checked", "--check")
    finally:
        (place / "data" / "away.png").rename(place / "data" / "disc" / "8.png")
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1].startswith("dpt: sources.1 (manifest in data, more): ")
    assert "8.png" in ran.stderr.splitlines()[-1]


def kill_after_a_checkpoint(place: Path, out: str, both: list[str]) -> None:
    """Start two processes and end them, and who launched them, by kill -9."""
    process = subprocess.Popen(
        both, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(), start_new_session=True
    )
    wanted = place / out / "checkpoints" / "step_000000002.ckpt"
    wait_for(wanted, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # Those who train are in groups of their own, and live on. Without the first the second ends by itself.
    os.kill(int((place / out / ".lock").read_text().split()[0]), signal.SIGKILL)
    assert not (place / out / "model.safetensors").exists(), "it ended before it was killed"
    states = torch.load(wanted, weights_only=True)["random"]
    # Each process draws its own numbers, as dropout does, and finds them again.
    assert len(states) == 2
    assert not torch.equal(states[0]["torch"], states[1]["torch"])


@pytest.mark.skipif(sys.platform == "win32", reason="needs gloo on POSIX")
@pytest.mark.parametrize("multi_objective", ["sum", pytest.param("mgda", marks=pytest.mark.long)])
def test_two_processes_do_what_one_does(place: Path, whole: Path, multi_objective: str) -> None:
    """Each of the two in two parts. Without clipping, which would hide a gradient of the wrong size; pictures differ in
    their valid pixels.

    With "sum" both processes are killed on the way and go on.
    """
    # Plain SGD: Adam divides by the gradient's size, so that it magnifies rounding where gradients are small. Smooth
    # terms only: where medians and absolute values have a kink, one process with weights 3e-7 away is no closer.
    overrides = (
        "optimiser.kind=sgd", "optimiser.encoder_lr=1.0e-2", "optimiser.decoder_lr=1.0e-2", "optimiser.clip_norm=0",
        f"optimiser.multi_objective={multi_objective}", "sources.1.split=full", "steps=8", "validate_every=0",
        "loss.normalisation=least_squares", "loss.gradient=0", "loss.anchor=0", "workers=0",
    )  # fmt: skip
    names = (f"one_{multi_objective}", f"two_{multi_objective}")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    both = [*launcher, *command(names[1], *overrides, "devices=2", "accumulate=2")[2:]]
    one = train(place, names[0], *overrides)
    if multi_objective == "sum":
        kill_after_a_checkpoint(place, names[1], both)
    two = subprocess.run(both, cwd=place, capture_output=True, text=True, timeout=240, env=environment())
    assert (one.returncode, two.returncode) == (0, 0), one.stderr + two.stderr[-2000:]
    losses = [[float(row["loss"]) for row in log_of(place, out)] for out in names]
    # Float32 sums in another order; the log has six digits. Fed back through eight steps.
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    weights = [read_tensors(place / out / "model.safetensors").tensors for out in names]
    start = read_tensors(whole / "model.safetensors").tensors  # another run's: how far weights lie apart
    for key, tensor in weights[0].items():
        if tensor.is_floating_point():
            apart = (weights[1][key] - tensor).norm() / (start[key] - tensor).norm().clamp(min=1e-3)
            assert apart < 1e-3, key


def test_mistakes_are_seen_before_anything_is_written(place: Path) -> None:
    for override, message in (
        ("sources.0.root=nowhere", "nowhere"),
        ("optimiser.decoder_rl=1", "did you mean decoder_lr?"),
    ):
        ran = train(place, "mistaken", override)
        assert ran.returncode in (1, 2)
        assert message in ran.stderr.splitlines()[-1]
        assert not (place / "mistaken").exists()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_memory_that_a_step_frees_stays_with_the_process() -> None:
    code = (
        "import numpy, resource\n"
        "from dptkit.cli.train import settle_process\n"
        "def pages():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(4):\n"
        "        del [numpy.ones(12_000_000, numpy.float32) for _ in range(4)][:]\n"  # 48 MB each
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "left_alone = pages()\n"
        "settle_process()\n"
        "pages()\n"
        "print(left_alone, pages())\n"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True)
    left_alone, settled = map(int, done.stdout.split())
    assert settled < left_alone / 10
