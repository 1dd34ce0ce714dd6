"""Configuration, schedules, parameter groups, moving average, checkpoints."""

from __future__ import annotations

import json
import math
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric

import miniatures
from dptkit.errors import ConfigError, TrainingError
from dptkit.model.build import build_model
from dptkit.training import run_state
from dptkit.training.checkpoint import CheckpointFolder, random_states, set_random_states
from dptkit.training.config import (
    DepthLoss,
    ModelStart,
    OnDisk,
    Optimiser,
    Phase,
    SegmentationLoss,
    TrainConfig,
    parse_config,
    read_config,
    to_plain,
)
from dptkit.training.optimiser import PEAK_LR, MovingAverage, build_optimiser, schedule_share
from dptkit.training.run_folder import VALIDATION_LOG, RunFolder
from dptkit.training.run_state import RunState
from dptkit.training.sources import by_key

CONFIG = TrainConfig(
    "tiny", ModelStart("dpt-lite"), (OnDisk("manifest", "data"),), DepthLoss(), 10, (Phase(0, 64, 4), Phase(5, 96, 2))
)
YAML = """
name: tiny
model: {architecture: dpt-lite}
sources: [{kind: on_disk, dataset: manifest, root: data}]
loss: {kind: relative_depth}
steps: 10
phases: [{start: 0, size: 64, batch_size: 4}]
"""


def test_a_configuration_survives_plain_values() -> None:
    assert parse_config(to_plain(CONFIG), "here") == CONFIG


def test_values_are_replaced_from_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(YAML)
    config = read_config(path, ["optimiser.decoder_lr=1.0e-3", "sources.0.root=elsewhere", "phases.0.size=96"])
    assert config.optimiser.decoder_lr == 1e-3
    assert config.sources[0] == OnDisk("manifest", "elsewhere")
    assert config.phases[0].size == 96


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimiser.decoder_rl=1", r"decoder_rl.*did you mean decoder_lr\?"),
        ("optimizer.decoder_lr=1", r"no key optimizer; did you mean optimiser\?"),
        ("optimiser.lr=1", r"optimiser\.lr: no such key; there is kind, encoder_lr, decoder_lr"),
        ("batch_size=1", r"did you mean phases\.0\.batch_size\?"),
        ("phases.0.start=a", r"yaml: phases\.0\.start: must be a valid integer, not 'a'$"),
        ("phases.0.size=0", r"yaml: phases\.0\.size: must be greater than or equal to 1, not 0$"),
        ("loss=metric_depth", r"loss: must hold keys and values, as in loss=\{kind: metric_depth\}"),
        ("loss={kind: metric}", r"loss\.kind: must be one of 'relative_depth', 'metric_depth', 'segmentation', not"),
        ("sources.0.rot=x", r"yaml: sources\.0\.rot: no such key; did you mean root\?"),
        ("sources.0.root=", r"sources\.0\.root=: there is no value"),
        ("augment.scale=1.3", r"augment\.scale: must be a list in brackets, not 1\.3"),
        ("seed=-1", r"seed: must be greater than or equal to 0, not -1"),
        ("ema_decay=1", r"ema_decay: must be less than 1"),
        ("teacher=dpt-large", r"yaml: teacher\.sources: is missing$"),
        ("=3", "key=value"),
        ("steps=0", "steps"),
        ("steps", "key=value"),
        ("phases.3.size=1", "not a place in a list of 1"),
        ("name.first=a", "nothing lies below"),
        ("loss.kind=magic", "loss"),
        ("validate_every=5", "no validation sources"),
        ("augment.scale=[0.5, 1]", "augment.scale"),
        ("model={architecture: dpt-lite, weights: published, imagenet_stem: true}", "weights: random only"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, override: str, message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(YAML)
    with pytest.raises(ConfigError, match=message) as caught:
        read_config(path, [override])
    assert "\n" not in str(caught.value)


def test_texts_stay_as_they_are_typed(tmp_path: Path) -> None:
    """YAML reads 007, no and 2024-01-01 as a number, False and a date: they are folders."""
    path = tmp_path / "c.yaml"
    path.write_text(YAML)
    for folder in ("007", "no", "2024-01-01", "a: b", "my #1"):
        assert read_config(path, [f"sources.0.root={folder}"]).sources[0].root == folder  # type: ignore[union-attr]
    assert read_config(path, ["steps=1e3", "steps=2e3"]).steps == 2000


def test_what_is_mostly_not_meant_is_said() -> None:
    assert CONFIG.doubts() == []
    slow = replace(CONFIG, optimiser=replace(CONFIG.optimiser, warmup_steps=CONFIG.steps))
    assert "learning rates stay below" in slow.doubts()[0]
    source = OnDisk("folder", "mine", "all")
    seen = replace(CONFIG, sources=(source,), validation=(replace(source, split="val"), OnDisk("folder", "other")))
    assert seen.doubts() == ["validation.0: its pictures are trained on too, in sources.0"]


def test_which_step_is_the_best_is_known_at_the_end(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for step, loss in ((0, 0.6), (10, 0.4), (20, 0.5)):
        folder.log(step, {"validation": loss, "best": 0.4}, VALIDATION_LOG)
    assert folder.best_validation() is None  # no such model, as where nothing is validated
    folder.best.touch()
    assert folder.best_validation() == (10, 0.4)


def test_several_objectives_need_gradients_without_a_scaler() -> None:
    mgda = replace(CONFIG.optimiser, multi_objective="mgda")
    replace(CONFIG, optimiser=mgda, precision="bf16-mixed", devices=2, loss=SegmentationLoss())
    with pytest.raises(ConfigError, match="no 16-mixed"):
        replace(CONFIG, optimiser=mgda, precision="16-mixed")


def test_a_batch_must_have_a_picture_for_every_process_and_part() -> None:
    replace(CONFIG, accumulate=2, phases=(Phase(0, 64, 5),))
    for changes in ({"accumulate": 3}, {"devices": 2, "nodes": 2}, {"devices": 2, "accumulate": 2}):
        with pytest.raises(ConfigError, match=r"phases\.1\.batch_size: 2 pictures cannot be shared"):
            replace(CONFIG, **changes)


def test_phases_must_begin_at_zero_and_rise() -> None:
    for phases in ((Phase(1, 64, 4),), (Phase(0, 64, 4), Phase(0, 96, 4)), (Phase(0, 64, 4), Phase(10, 96, 4))):
        with pytest.raises(ConfigError, match="starts"):
            replace(CONFIG, phases=phases)
    assert [CONFIG.phase_at(step).size for step in (0, 4, 5, 9)] == [64, 64, 96, 96]


@pytest.mark.parametrize(
    ("schedule", "options", "step", "share"),
    [
        ("constant", {}, 70, 1.0),
        ("constant", {"warmup_steps": 10}, 4, 0.5),
        ("poly", {"poly_power": 0.9}, 50, 0.5**0.9),
        ("poly", {"poly_power": 1.0, "final_share": 0.1}, 100, 0.1),
        ("cosine", {}, 50, 0.5),
        ("cosine", {"warmup_steps": 20}, 60, 0.5),
        ("one_cycle", {"warmup_steps": 30}, 29, 1.0),
        ("one_cycle", {"warmup_steps": 30}, 65, 0.5),
    ],
)
def test_schedules_by_hand(schedule: str, options: dict[str, float], step: int, share: float) -> None:
    config = Optimiser(schedule=schedule, **options)  # type: ignore[arg-type]
    assert schedule_share(config, step, 100) == pytest.approx(share, abs=1e-12)


@pytest.mark.parametrize("architecture", ["dpt-large", "dpt-hybrid", "dpt-lite", "dpt-hybrid-ade20k"])
def test_learning_rates_by_stage_and_no_decay_for_norms_biases_and_tokens(architecture: str) -> None:
    network = miniatures.build_miniature(architecture)
    optimiser = build_optimiser(network, Optimiser(kind="adamw", weight_decay=0.1))
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    seen = []
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            name = names[id(parameter)]
            seen.append(name)
            assert group[PEAK_LR] == (1e-5 if name.startswith("encoder.") else 1e-4), name
            plain = parameter.ndim == 1 or "prefix_tokens" in name or "position_embedding" in name
            assert group["weight_decay"] == (0.0 if plain else 0.1), name
    assert sorted(seen) == sorted(names.values())  # each once


@pytest.mark.parametrize(
    ("frozen", "inside"),
    [
        ("encoder", "encoder."),
        ("encoder.", "encoder."),
        ("head", "head."),  # not the auxiliary head
        ("encoder.transformer.blocks.1", "encoder.transformer.blocks.1."),  # not block 10
        ("head.classifier.bias", "head.classifier.bias"),
    ],
)
def test_frozen_parts_do_not_learn(frozen: str, inside: str) -> None:
    spec = miniatures.miniature_spec("dpt-large-ade20k")
    encoder = replace(spec.model.encoder, depth=12)
    network = build_model(replace(spec.model, encoder=encoder))  # type: ignore[arg-type]
    optimiser = build_optimiser(network, Optimiser(frozen=(frozen,)))
    learning = {id(parameter) for group in optimiser.param_groups for parameter in group["params"]}
    for name, parameter in network.named_parameters():
        assert parameter.requires_grad == (id(parameter) in learning) == (not name.startswith(inside)), name


@pytest.mark.parametrize(
    ("frozen", "message"),
    [
        (
            "encoder.transformer.block.1",
            "named 'encoder.transformer.block.1'; did you mean encoder.transformer.blocks.1",
        ),
        ("encoder.stage", "did you mean encoder"),
        ("q", "'q'; they are named as encoder.stem"),
        ("", "no part of the network is named ''"),
    ],
)
def test_an_unknown_part_gets_the_nearest(frozen: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        build_optimiser(miniatures.build_miniature("dpt-large"), Optimiser(frozen=(frozen,)))
    everything = Optimiser(frozen=("encoder", "reassemble", "fusion", "head"))
    with pytest.raises(ConfigError, match="nothing is left"):
        build_optimiser(miniatures.build_miniature("dpt-large"), everything)


def test_the_moving_average_by_hand() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(layer.weight, 1.0)
    average = MovingAverage(layer, decay=0.5)
    for value in (3.0, 5.0):
        torch.nn.init.constant_(layer.weight, value)
        average.update(layer)
    # Decays min(0.5, 2/11) and min(0.5, 3/12): 1 -> 3 - 2 * 2/11, then towards 5 by three quarters.
    first = 3 - 2 * 2 / 11
    assert average.tensors["weight"].item() == pytest.approx(5 + (first - 5) * 0.25)


def test_random_states_come_back() -> None:
    import random

    import numpy as np

    states = random_states()
    drawn = (torch.rand(3), random.random(), np.random.rand())
    set_random_states(states)
    again = (torch.rand(3), random.random(), np.random.rand())
    assert torch.equal(drawn[0], again[0])
    assert drawn[1:] == again[1:]


def test_data_that_changed_are_another_run(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Pictures:
        count: int
        name: str = "pictures"

        def __len__(self) -> int:
            return self.count

        def __getitem__(self, index: int) -> Any:
            raise AssertionError("nothing is opened")

    folder = RunFolder(tmp_path)
    folder.open(CONFIG, by_key(sources=[Pictures(3)], validation=[Pictures(2)]))
    folder.open(CONFIG, by_key(sources=[Pictures(3)], validation=[Pictures(2)]))
    with pytest.raises(TrainingError, match=r"validation\.0 has changed since the run began: 2 samples then, 1 now"):
        folder.open(CONFIG, by_key(sources=[Pictures(3)], validation=[Pictures(1)]))
    with pytest.raises(TrainingError, match="put it back, begin another run, or go on all the same with --accept-"):
        folder.open(CONFIG, by_key(sources=[Pictures(4)], validation=[Pictures(2)]))
    begun = json.loads(folder.record.read_text())
    accepting = RunFolder(tmp_path, accept_changed_data=True)
    accepting.open(CONFIG, by_key(sources=[Pictures(3)], validation=[Pictures(2)]))
    assert json.loads(folder.record.read_text()) == begun
    for samples in (5, 6):
        accepting.open(CONFIG, by_key(sources=[Pictures(samples)], validation=[Pictures(2)]))
    record = json.loads(folder.record.read_text())
    assert record["data"]["sources.0"]["samples"] == 6
    assert [data["sources.0"]["samples"] for data in record["data_before"]] == [3, 5]
    accepting.open(CONFIG, by_key(sources=[Pictures(3)], validation=[Pictures(2)]))
    # A smaller machine, or a disk that is nearly full, is no reason to begin anew; what changes weights is.
    less = replace(CONFIG, workers=0, keep_checkpoints=1, checkpoint_every=5, log_every=1)
    folder.open(less, by_key(sources=[Pictures(3)], validation=[Pictures(2)]))
    with pytest.raises(TrainingError, match=r"another configuration: steps, seed differ"):
        folder.open(replace(less, steps=20, seed=1), {})
    assert read_config(folder.record) == CONFIG
    assert read_config(folder.record, ["steps=7"]).steps == 7


@pytest.mark.parametrize("name", ["log.csv", "model.safetensors", "checkpoints/step_000000010.ckpt"])
def test_files_of_who_knows_what_run_are_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(TrainingError, match=rf"has {name.split('/')[0]}, but no run\.json"):
        RunFolder(tmp_path).open(CONFIG, {})
    assert (tmp_path / name).read_text() == "mine"
    assert not (tmp_path / "run.json").exists()
    (tmp_path / "run.json").write_text("")
    with pytest.raises(TrainingError, match=r"run\.json: broken"):
        RunFolder(tmp_path).open(CONFIG, {})


def test_processes_that_do_not_share_a_folder_do_not_train_past_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    network = miniatures.build_miniature("dpt-large")
    state = RunState(Fabric(accelerator="cpu"), network, torch.optim.SGD(network.parameters()), None)
    monkeypatch.setattr(run_state, "gather_everywhere", lambda fabric, value: [20, value])
    with pytest.raises(TrainingError, match=r"different steps, \[0, 20\]: all need the same run's folder"):
        state.restore(None, 0)


class TestCheckpoints:
    def test_the_last_few_are_kept(self, tmp_path: Path) -> None:
        folder = CheckpointFolder(tmp_path, 2)
        for step in (10, 20, 30):
            folder.write(step, {"value": torch.tensor(step)})
        assert sorted(path.name for path in tmp_path.iterdir()) == ["step_000000020.ckpt", "step_000000030.ckpt"]
        state = folder.read_newest()
        assert state is not None
        assert (state["step"], int(state["value"])) == (30, 30)

    def test_none_is_a_fresh_start(self, tmp_path: Path) -> None:
        assert CheckpointFolder(tmp_path / "missing", 2).read_newest() is None

    @pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
    def test_a_truncated_one_falls_back_with_a_warning(
        self, tmp_path: Path, share: float, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder = CheckpointFolder(tmp_path, 2)
        for step in (10, 20):
            folder.write(step, {"value": torch.randn(100)})
        newest = tmp_path / "step_000000020.ckpt"
        data = newest.read_bytes()
        newest.write_bytes(data[: int(len(data) * share)])
        state = folder.read_newest()
        assert state is not None
        assert state["step"] == 10
        assert "going back" in caplog.text
        newest.with_name("step_000000010.ckpt").write_bytes(b"")
        with pytest.raises(TrainingError, match="none of its 2"):
            folder.read_newest()

    def test_a_bit_that_flipped_is_noticed_wherever_it_is(self, tmp_path: Path) -> None:
        """Torch by itself loads most of these files: with another weight, or without one of the keys."""
        folder = CheckpointFolder(tmp_path, 2)
        whole = {"network": {"weight": torch.randn(40, 40)}, "best": 0.5, "random": [{"python": [3, [1, 2], None]}]}
        for step in (10, 20):
            folder.write(step, whole)
        newest = tmp_path / "step_000000020.ckpt"
        data = newest.read_bytes()
        found = []
        for place in range(5, 8 * len(data), 8 * len(data) // 150):
            flipped = bytearray(data)
            flipped[place // 8] ^= 1 << place % 8
            newest.write_bytes(flipped)
            state = folder.read_newest()
            assert state is not None
            assert torch.equal(state["network"]["weight"], whole["network"]["weight"])
            assert all(state[key] == whole[key] for key in ("best", "random"))
            found.append(state["step"])
        # Padding and dates may be anything.
        assert found.count(10) > 100

    @pytest.mark.parametrize("keep", [1, 2])
    def test_broken_ones_do_not_drive_out_the_good_one(self, tmp_path: Path, keep: int) -> None:
        folder = CheckpointFolder(tmp_path, 3)
        for step in (10, 20, 30):
            folder.write(step, {"value": torch.tensor(step)})
        for step in (20, 30):
            (tmp_path / f"step_{step:09d}.ckpt").write_bytes(b"")
        folder = replace(folder, keep=keep)
        assert folder.write(12, {"value": torch.tensor(12)})
        state = folder.read_newest()
        assert state is not None
        assert state["step"] == 12
        assert len(list(tmp_path.iterdir())) == keep

    @pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
    def test_a_full_disk_keeps_the_older_one(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        import resource
        import signal

        folder = CheckpointFolder(tmp_path, 2)
        folder.write(10, {"value": torch.randn(10)})
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            assert not folder.write(20, {"value": torch.randn(1_000_000)})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, handler)
        assert "step 20 not written: File too large" in caplog.text
        assert [path.name for path in tmp_path.iterdir()] == ["step_000000010.ckpt"]


def test_the_learning_rate_never_rises_after_the_warm_up() -> None:
    for schedule in ("constant", "poly", "cosine", "one_cycle"):
        config = Optimiser(schedule=schedule, warmup_steps=10)  # type: ignore[arg-type]
        shares = [schedule_share(config, step, 50) for step in range(10, 50)]
        assert all(math.isfinite(share) for share in shares)
        assert shares == sorted(shares, reverse=True)
