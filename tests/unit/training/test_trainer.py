"""The loop in process, over every kind of loss and option, with published networks in miniature."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision

import miniatures
from dptkit.errors import ConfigError, DataError, TrainingError, UnknownModelError
from dptkit.presets import PRESETS
from dptkit.training import loop
from dptkit.training.checkpoint import CheckpointFolder
from dptkit.training.config import (
    DepthLoss,
    MetricLoss,
    ModelStart,
    OnDisk,
    Optimiser,
    Phase,
    SegmentationLoss,
    TrainConfig,
)
from dptkit.training.loop import Progress, Trainer
from dptkit.training.start import build_start
from dptkit.training.stopping import StopRequest, TrainingStopped
from dptkit.weights.load import load_model
from dptkit.weights.tensor_file import read_tensors

pytestmark = pytest.mark.filterwarnings(
    # Fabric advises more loader workers than a test wants.
    "ignore:.*does not have many workers.*"
)


@pytest.fixture(autouse=True)
def small_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, preset in list(PRESETS.items()):
        monkeypatch.setitem(PRESETS, name, replace(preset, spec=miniatures.miniature_spec(name)))


@pytest.fixture
def depth_root(tmp_path: Path) -> Path:
    rows = ["source,split,name,scene_type,kind,scale,metric,split_group,license,width,height,valid_fraction"]
    rng = np.random.default_rng(0)
    for source in ("a", "b"):
        (tmp_path / "depth" / source).mkdir(parents=True)
        for index in range(4):
            depth = rng.integers(1000, 4000, (8, 8)).astype(np.uint16)
            picture = np.repeat((depth // 16).astype(np.uint8)[:, :, None], 3, 2)
            path = tmp_path / "depth" / source / str(index)
            cv2.imwrite(f"{path}.jpg", cv2.resize(picture, (64, 64), interpolation=cv2.INTER_NEAREST))
            cv2.imwrite(f"{path}.png", cv2.resize(depth, (64, 64), interpolation=cv2.INTER_NEAREST))
            rows.append(f"{source},train,{index},made up,depth,0.001,true,{source},CC0,64,64,1.0")
    (tmp_path / "depth" / "manifest.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "depth"


@pytest.fixture
def labels_root(tmp_path: Path) -> Path:
    root = tmp_path / "labels"
    for kind in ("images", "labels"):
        (root / "train" / kind).mkdir(parents=True)
    rng = np.random.default_rng(1)
    for index in range(6):
        labels = np.kron(rng.integers(0, miniatures.CLASSES, (4, 4)), np.ones((16, 16))).astype(np.uint8)
        cv2.imwrite(str(root / "train" / "images" / f"{index}.jpg"), np.repeat(labels[:, :, None] * 50, 3, 2))
        labels[:4] = 255
        cv2.imwrite(str(root / "train" / "labels" / f"{index}.png"), labels)
    (root / "classes.txt").write_text("\n".join("abcde") + "\n")
    return root


def config_for(root: Path, architecture: str, loss: DepthLoss | MetricLoss | SegmentationLoss) -> TrainConfig:
    dataset = "labels" if isinstance(loss, SegmentationLoss) else "manifest"
    return TrainConfig(
        "tiny", ModelStart(architecture), (OnDisk(dataset, str(root)),), loss, 30, (Phase(0, 64, 4),),
        optimiser=Optimiser(kind="adam", encoder_lr=1e-3, decoder_lr=3e-3),
        log_every=1, checkpoint_every=100, workers=0,
    )  # fmt: skip


def losses_of(folder: Path) -> list[float]:
    with (folder / "log.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    ("architecture", "normalisation"),
    [("dpt-lite", "median"), ("dpt-large", "median"), ("dpt-hybrid", "median"), ("dpt-lite", "least_squares")],
)
def test_relative_depth_is_learned(tmp_path: Path, depth_root: Path, architecture: str, normalisation: str) -> None:
    config = config_for(depth_root, architecture, DepthLoss(normalisation=normalisation))  # type: ignore[arg-type]
    path = Trainer(config, tmp_path / "run").train()
    losses = losses_of(tmp_path / "run")
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    assert load_model(path).spec.name == "tiny"


def test_metres_are_learned(tmp_path: Path, depth_root: Path) -> None:
    config = config_for(depth_root, "dpt-hybrid-nyu", MetricLoss(gradient=0.1))
    # The published scale is that of raw outputs in the thousands; a fresh network's are around one.
    spec = PRESETS["dpt-hybrid-nyu"].spec
    PRESETS["dpt-hybrid-nyu"] = replace(
        PRESETS["dpt-hybrid-nyu"], spec=replace(spec, decoding=replace(spec.decoding, scale=0.3))
    )
    Trainer(config, tmp_path / "run").train()
    losses = losses_of(tmp_path / "run")
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


@pytest.mark.parametrize("auxiliary", [0.2, 0.0])
def test_classes_are_learned(tmp_path: Path, labels_root: Path, auxiliary: float) -> None:
    config = config_for(labels_root, "dpt-large-ade20k", SegmentationLoss(auxiliary=auxiliary))
    if not auxiliary:
        config = replace(config, optimiser=replace(config.optimiser, frozen=("auxiliary_head.",)))
    path = Trainer(config, tmp_path / "run").train()
    losses = losses_of(tmp_path / "run")
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    assert load_model(path).spec.task == "segmentation"


def test_several_data_sets_as_objectives(tmp_path: Path, depth_root: Path) -> None:
    config = config_for(depth_root, "dpt-lite", DepthLoss())
    sources = tuple(OnDisk("manifest", str(depth_root), options={"sources": [name]}) for name in ("a", "b"))
    config = replace(config, sources=sources, optimiser=replace(config.optimiser, multi_objective="mgda"))
    Trainer(config, tmp_path / "run").train()
    losses = losses_of(tmp_path / "run")
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def test_several_objectives_are_those_of_the_whole_batch_however_it_is_cut(tmp_path: Path, depth_root: Path) -> None:
    config = config_for(depth_root, "dpt-lite", DepthLoss("least_squares", gradient=0.0, anchor=0.0))
    sources = tuple(OnDisk("manifest", str(depth_root), options={"sources": [name]}) for name in ("a", "b"))
    optimiser = Optimiser("sgd", encoder_lr=1e-2, decoder_lr=1e-2, multi_objective="mgda", freeze_batch_norm=True)
    config = replace(config, steps=4, sources=sources, optimiser=optimiser)
    plain = read_tensors(Trainer(config, tmp_path / "plain").train()).tensors
    # A part has one or two pictures: most lack a data set, which must not count as one that is content.
    other = read_tensors(Trainer(replace(config, accumulate=3), tmp_path / "cut").train()).tensors
    for name, tensor in plain.items():
        # Float32 rounding of weights of about one, over four steps.
        torch.testing.assert_close(other[name], tensor, rtol=0, atol=2e-6, msg=name)
    assert losses_of(tmp_path / "cut") == pytest.approx(losses_of(tmp_path / "plain"), rel=1e-4)


@pytest.mark.parametrize("auxiliary", [0.2, 0.0])
def test_several_objectives_with_classes_in_bfloat16(tmp_path: Path, labels_root: Path, auxiliary: float) -> None:
    config = config_for(labels_root, "dpt-large-ade20k", SegmentationLoss(auxiliary=auxiliary))
    optimiser = replace(config.optimiser, multi_objective="mgda")
    config = replace(config, sources=config.sources * 2, optimiser=optimiser, precision="bf16-mixed")
    Trainer(config, tmp_path / "run").train()
    losses = losses_of(tmp_path / "run")
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


@pytest.mark.parametrize("auxiliary", [0.2, 0.0])
def test_mixed_precision_reaches_the_network_with_and_without_the_auxiliary_head(
    tmp_path: Path, labels_root: Path, auxiliary: float
) -> None:
    config = config_for(labels_root, "dpt-lite-street", SegmentationLoss(auxiliary=auxiliary))
    trainer = Trainer(replace(config, precision="bf16-mixed"), tmp_path / "run")
    datasets = trainer.open_sources()
    trainer.build(datasets, None)
    seen: dict[str, torch.dtype] = {}
    for name, module in trainer.network.named_modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(lambda _, inputs, output, name=name: seen.update({name: output.dtype}))
    trainer._step(next(trainer.batches(datasets).from_step(0)), None, 0)
    assert seen
    assert {name: dtype for name, dtype in seen.items() if dtype != torch.bfloat16} == {}


@pytest.mark.parametrize(
    ("name", "message"), [("dpt-lit", r"did you mean dpt-lite\?"), ("dpt-large-ade20k", "is for segmentation")]
)
def test_an_architecture_that_will_not_do_is_said_before_anything_is_written(
    tmp_path: Path, depth_root: Path, name: str, message: str
) -> None:
    with pytest.raises((ConfigError, UnknownModelError), match=message):
        Trainer(config_for(depth_root, name, DepthLoss()), tmp_path / "run").train()
    assert not (tmp_path / "run").exists()


def test_accumulation_and_checkpointing_change_memory_and_not_the_result(tmp_path: Path, depth_root: Path) -> None:
    for number in range(3):  # of every second picture an eighth is valid
        path = str(depth_root / "a" / f"{number}.png")
        depth = cv2.imread(path, cv2.IMREAD_UNCHANGED)
        depth[:, 8:] = 0
        cv2.imwrite(path, depth)
    # Those terms whose mean over pixels is the mean of the parts' means, each by its pixels.
    config = config_for(depth_root, "dpt-large", DepthLoss("least_squares", gradient=0.0, anchor=0.0))
    config = replace(config, steps=3, optimiser=replace(config.optimiser, kind="sgd", decoder_lr=1e-2))
    plain = read_tensors(Trainer(config, tmp_path / "plain").train()).tensors
    frugal = replace(config, accumulate=4, gradient_checkpointing=True)
    other = read_tensors(Trainer(frugal, tmp_path / "frugal").train()).tensors
    for name, tensor in plain.items():
        # Float32 rounding of small steps. Measured: 4e-9; 1e-5 if every part counts alike, whatever is valid in it.
        torch.testing.assert_close(other[name], tensor, rtol=0, atol=1e-7, msg=name)
    assert losses_of(tmp_path / "frugal") == pytest.approx(losses_of(tmp_path / "plain"), rel=1e-4)  # six digits


def test_weights_that_are_not_finite_never_reach_a_checkpoint(tmp_path: Path, depth_root: Path) -> None:
    """With a log too sparse to see it: all checkpoints that are kept would be worthless."""
    config = replace(config_for(depth_root, "dpt-lite", DepthLoss()), log_every=100, checkpoint_every=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "schedule_share", lambda optimiser, step, steps: 1e30 if step == 2 else 0.0)
        with pytest.raises(TrainingError, match="weights are not finite after step"):
            Trainer(config, tmp_path / "run").train()
    state = CheckpointFolder(tmp_path / "run" / "checkpoints", 2).read_newest()
    assert state is not None
    assert all(tensor.isfinite().all() for tensor in state["network"].values())


def test_a_picture_that_breaks_costs_no_step_and_the_run_goes_on_once_it_is_whole(
    tmp_path: Path, depth_root: Path
) -> None:
    config = replace(config_for(depth_root, "dpt-lite", DepthLoss()), steps=4)
    path = depth_root / "a" / "0.jpg"
    whole = path.read_bytes()
    expected = read_tensors(Trainer(config, tmp_path / "whole").train()).tensors

    def break_it(progress: Progress) -> None:
        path.write_bytes(whole[:100])

    with pytest.raises(DataError, match=r"0\.jpg"):
        Trainer(config, tmp_path / "run", break_it).train()
    last = len(losses_of(tmp_path / "run"))
    assert [file.name for file in (tmp_path / "run/checkpoints").iterdir()] == [f"step_{last:09d}.ckpt"]
    path.write_bytes(whole + b"\0")  # after the end of a JPEG nothing counts
    with pytest.raises(TrainingError, match=r"sources\.0 has changed since the run began"):
        Trainer(config, tmp_path / "run").train()
    found = read_tensors(Trainer(config, tmp_path / "run", accept_changed_data=True).train()).tensors
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_stopping_on_a_full_disk_says_what_is_saved(
    tmp_path: Path, depth_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(config_for(depth_root, "dpt-lite", DepthLoss()), steps=4, checkpoint_every=1)
    write = CheckpointFolder.write
    monkeypatch.setattr(CheckpointFolder, "write", lambda self, step, state: step < 2 and write(self, step, state))
    stop = StopRequest()

    def ask(progress: Progress) -> None:
        stop.signal = 15 if progress.step == 2 else 0

    with pytest.raises(TrainingStopped) as stopped:
        Trainer(config, tmp_path / "run", ask, stop).train()
    assert (stopped.value.step, stopped.value.saved) == (2, 1)


def test_going_on_in_float16_keeps_the_scale_of_gradients(tmp_path: Path, depth_root: Path) -> None:
    """A run on a GPU in miniature: the scaler, which doubles the scale after three good steps, goes on counting."""
    config = replace(config_for(depth_root, "dpt-large", DepthLoss()), steps=4, checkpoint_every=2)

    def train(folder: Path) -> Trainer:
        trainer = Trainer(config, folder)
        scaler = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=3)
        trainer.fabric = Fabric(accelerator="cpu", plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
        trainer.train()
        return trainer

    whole = train(tmp_path / "whole").fabric.strategy.precision.state_dict()
    assert (whole["scale"], whole["_growth_tracker"]) == (128.0, 1)
    train(tmp_path / "resumed")
    (tmp_path / "resumed" / "checkpoints" / "step_000000004.ckpt").unlink()
    assert train(tmp_path / "resumed").fabric.strategy.precision.state_dict() == whole
    models = [read_tensors(tmp_path / run / "model.safetensors").tensors for run in ("whole", "resumed")]
    assert all(torch.equal(models[1][name], tensor) for name, tensor in models[0].items())


def test_a_gradient_that_overflows_is_skipped_in_float16_and_said_otherwise(tmp_path: Path, depth_root: Path) -> None:
    config = config_for(depth_root, "dpt-large", DepthLoss())
    config = replace(config, steps=1, optimiser=replace(config.optimiser, clip_norm=1.0))
    trainer = Trainer(config, tmp_path / "run")
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**126)
    trainer.fabric = Fabric(accelerator="cpu", plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
    trainer.train()
    assert trainer.fabric.strategy.precision.state_dict()["scale"] == 2.0**125
    for name, before in build_start(config).state_dict().items():
        assert torch.equal(trainer.network.state_dict()[name], before), name
    trainer = Trainer(config, tmp_path / "other")
    datasets = trainer.open_sources()
    trainer.build(datasets, None)
    with torch.no_grad():
        trainer.network.get_parameter("head.conv1.bias").fill_(torch.nan)
    with pytest.raises(TrainingError, match="a gradient is not finite at step 1: lower the learning rate"):
        trainer._step(next(trainer.batches(datasets).from_step(0)), None, 0)


def test_the_best_model_by_validation_is_kept(tmp_path: Path, depth_root: Path) -> None:
    config = config_for(depth_root, "dpt-lite", DepthLoss())
    config = replace(config, steps=6, validation=config.sources, validation_pictures=8, validate_every=2, ema_decay=0.5)
    said: list[Progress] = []
    Trainer(config, tmp_path / "run", said.append).train()
    validated = [progress.step for progress in said if "validation" in progress.values]
    assert validated == [0, 2, 4, 6]
    assert load_model(tmp_path / "run" / "best.safetensors").spec.name == "tiny"


def test_frozen_parts_stay_as_they_are_to_the_bit(tmp_path: Path, depth_root: Path) -> None:
    """Weights, running statistics and moving average; validation in between switches all to evaluation and back."""
    config = config_for(depth_root, "dpt-lite", DepthLoss())
    frozen = ("encoder.stem.conv", "encoder.stem.stages.0")
    optimiser = Optimiser("adamw", 1e-2, 1e-2, weight_decay=0.1, frozen=frozen)
    config = replace(config, steps=2, optimiser=optimiser, ema_decay=0.5)
    config = replace(config, validation=config.sources, validation_pictures=8, validate_every=1)
    trainer = Trainer(config, tmp_path / "run")
    trainer.train()
    assert trainer.average is not None
    for name, before in build_start(config).state_dict().items():
        for after in (trainer.network.state_dict()[name], trainer.average.tensors[name]):
            assert torch.equal(before, after) == name.startswith(frozen), name


@pytest.mark.parametrize("validated", [False, True])
def test_panels_and_events_do_not_change_what_is_learned(tmp_path: Path, depth_root: Path, validated: bool) -> None:
    pytest.importorskip("tensorboard")
    config = replace(config_for(depth_root, "dpt-lite", DepthLoss()), steps=4)
    shown = replace(config, panels_every=2, tensorboard=True, validation=config.sources if validated else ())
    plain = read_tensors(Trainer(config, tmp_path / "plain").train()).tensors
    other = read_tensors(Trainer(shown, tmp_path / "shown").train()).tensors
    assert all(torch.equal(other[name], tensor) for name, tensor in plain.items())
    panels = sorted((tmp_path / "shown" / "panels").iterdir())
    assert [path.name for path in panels] == ["step_000000002.jpg", "step_000000004.jpg"]
    panel = cv2.imread(str(panels[-1]))
    assert panel is not None
    assert panel.shape == (4 * 64, 3 * 64, 3)


def test_a_loss_that_diverges_ends_the_run_in_one_line(tmp_path: Path, depth_root: Path) -> None:
    config = config_for(depth_root, "dpt-lite", DepthLoss())
    config = replace(config, optimiser=Optimiser(kind="sgd", encoder_lr=1e30, decoder_lr=1e30))
    with pytest.raises(TrainingError, match="not finite at step"):
        Trainer(config, tmp_path / "run").train()


def test_inverse_depth_is_not_taken_for_metres(tmp_path: Path, depth_root: Path, labels_root: Path) -> None:
    manifest = depth_root / "manifest.csv"
    manifest.write_text(manifest.read_text().replace(",depth,", ",disparity,"))
    config = config_for(depth_root, "dpt-hybrid-nyu", MetricLoss())
    with pytest.raises(
        DataError, match=r"sources\.0 .* holds inverse_depth in relative; loss metric_depth needs depth_m"
    ):
        Trainer(config, tmp_path / "run").train()
    config = replace(config_for(depth_root, "dpt-lite", DepthLoss()), sources=(OnDisk("labels", str(labels_root)),))
    with pytest.raises(DataError, match=r"sources\.0 .* holds labels in class; loss relative_depth needs"):
        Trainer(config, tmp_path / "run").train()
    assert not (tmp_path / "run").exists()


def test_loss_and_architecture_must_go_together(tmp_path: Path, depth_root: Path) -> None:
    for architecture, loss in (("dpt-large", MetricLoss()), ("dpt-large", SegmentationLoss())):
        with pytest.raises(ConfigError, match=r"needs a metric architecture|is for depth"):
            Trainer(config_for(depth_root, architecture, loss), tmp_path / "run")
