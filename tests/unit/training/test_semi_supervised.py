"""Runs that learn from pictures without ground truth too, with networks in miniature."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import miniatures
from dptkit.errors import ConfigError, DataError, DptkitError, TrainingError, UnknownModelError
from dptkit.image_io import read_image
from dptkit.preprocess import preprocess
from dptkit.presets import PRESETS
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
from dptkit.training.loop import Trainer
from dptkit.training.losses import affine_invariant_distillation_loss
from dptkit.training.semi_supervised import SemiSupervised
from dptkit.training.start import build_spec
from dptkit.training.teacher_config import Confidence, Pictures, Strong, TeacherConfig
from dptkit.weights.load import load_model
from dptkit.weights.tensor_file import read_tensors, write_tensors

pytestmark = pytest.mark.filterwarnings(
    # Fabric advises more loader workers than a test wants.
    "ignore:.*does not have many workers.*"
)
HEADER = "source,split,name,scene_type,kind,scale,metric,split_group,license,width,height,valid_fraction"


@pytest.fixture(autouse=True)
def small_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, preset in list(PRESETS.items()):
        monkeypatch.setitem(PRESETS, name, replace(preset, spec=miniatures.miniature_spec(name)))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """labelled/: two pictures with depth. pictures/: eight without, smooth blobs. Both 64 pixels a side."""
    place = tmp_path_factory.mktemp("semi")
    rng = np.random.default_rng(0)
    rows = [HEADER]
    (place / "labelled" / "a").mkdir(parents=True)
    (place / "pictures" / "below").mkdir(parents=True)
    for index in range(10):
        blobs = cv2.resize(rng.integers(0, 256, (5, 5, 3)).astype(np.float32), (64, 64), interpolation=cv2.INTER_CUBIC)
        picture = np.clip(blobs, 0, 255).astype(np.uint8)
        if index >= 2:
            cv2.imwrite(str(place / "pictures" / ("below" if index % 2 else ".") / f"{index}.png"), picture)
            continue
        depth = (1000 + 10 * picture[:, :, 1].astype(np.uint16)).astype(np.uint16)
        cv2.imwrite(str(place / "labelled" / "a" / f"{index}.jpg"), picture)
        cv2.imwrite(str(place / "labelled" / "a" / f"{index}.png"), depth)
        rows.append(f"a,train,{index},made up,depth,0.001,true,a,CC0,64,64,1.0")
    (place / "labelled" / "manifest.csv").write_text("\n".join(rows) + "\n")
    return place


@pytest.fixture
def teacher_file(place: Path) -> Path:
    """A network that was trained by nobody, but says something of each pixel."""
    path = place / "teacher.safetensors"
    if not path.is_file():
        spec = replace(miniatures.miniature_spec("dpt-large"), name="the teacher")
        write_tensors(path, miniatures.build_miniature("dpt-large", seed=3).state_dict(), spec)
    return path


def config_for(place: Path, **teacher: object) -> TrainConfig:
    # A network in miniature says other things of every view; here its word is taken all the same.
    content = {"sources": [str(place / "pictures")], "confidence": {"threshold": 0.0, "tolerance": 2.0}, **teacher}
    config = TrainConfig(
        "tiny", ModelStart("dpt-large"), (OnDisk("manifest", str(place / "labelled")),), DepthLoss(), 6,
        (Phase(0, 64, 2), Phase(4, 96, 2)),
        optimiser=Optimiser(kind="adam", encoder_lr=1e-3, decoder_lr=3e-3, freeze_batch_norm=True),
        log_every=1, checkpoint_every=2, keep_checkpoints=9, workers=0, ema_decay=0.9,
    )  # fmt: skip
    return parse_config({**to_plain(config), "teacher": content}, "test")


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open() as file:
        return list(csv.DictReader(file))


def disagreement(student: Path, teacher: Path, folder: Path) -> float:
    """Mean distillation loss over the pictures, without augmentation."""
    pupil, master, losses = load_model(student), load_model(teacher), []
    with torch.no_grad():
        for path in sorted(folder.rglob("*.png")):
            images = [torch.from_numpy(preprocess(read_image(path), small(one.spec)))[None] for one in (pupil, master)]
            said, truth = pupil.network(images[0])[:, 0], master.network(images[1])[:, 0]
            losses.append(float(affine_invariant_distillation_loss(said, truth)))
    return sum(losses) / len(losses)


def small(spec: miniatures.ModelSpec) -> miniatures.ModelSpec:
    return replace(spec.preprocess, size=(64, 64))


def test_a_student_learns_what_the_teacher_says(place: Path, tmp_path: Path, teacher_file: Path) -> None:
    before = teacher_file.read_bytes()
    strong = {"strength": 0.3}
    config = config_for(place, weights=str(teacher_file), weight=4.0, share=2 / 3, strong=strong)
    config = replace(config, steps=30, phases=(Phase(0, 64, 2),), checkpoint_every=100, ema_decay=0.0)
    start = Trainer(replace(config, steps=1, optimiser=Optimiser(encoder_lr=0, decoder_lr=0)), tmp_path / "start")
    first = disagreement(start.train(), teacher_file, place / "pictures")
    trainer = Trainer(config, tmp_path / "run")
    assert trainer.train().is_file()
    losses = [float(row["pseudo"]) for row in rows_of(tmp_path / "run")]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    last = disagreement(tmp_path / "run" / "model.safetensors", teacher_file, place / "pictures")
    assert last < 0.6 * first
    # The teacher is what it was: the file, and the network that labelled.
    assert teacher_file.read_bytes() == before
    assert trainer.unlabelled is not None
    assert trainer.unlabelled.network is not None
    stored = read_tensors(teacher_file).tensors
    for name, tensor in trainer.unlabelled.network.state_dict().items():
        assert torch.equal(tensor, stored[name]), name
        assert not tensor.requires_grad


@pytest.mark.parametrize(("weights", "kept"), [("file", 2), ("average", 4)])
def test_resuming_is_equal_to_the_bit(place: Path, tmp_path: Path, teacher_file: Path, weights: str, kept: int) -> None:
    """From a checkpoint before `start`, and from one where a phase ends."""
    config = config_for(place, weights=str(teacher_file) if weights == "file" else weights, start=3)
    whole = Trainer(config, tmp_path / "whole").train()
    Trainer(config, tmp_path / "resumed").train()
    for path in (tmp_path / "resumed" / "checkpoints").iterdir():
        if path.name > f"step_{kept:09d}.ckpt":
            path.unlink()
    (tmp_path / "resumed" / "model.safetensors").unlink()
    torch.manual_seed(99)
    again = Trainer(config, tmp_path / "resumed").train()
    found = read_tensors(again).tensors
    for name, tensor in read_tensors(whole).tensors.items():
        assert torch.equal(found[name], tensor), name
    columns = ("step", "loss", "pseudo", "confidence")
    rows = [[[row[key] for key in columns] for row in rows_of(tmp_path / run)] for run in ("whole", "resumed")]
    assert rows[0] == rows[1]
    assert [float(row[2]) > 0 for row in rows[0]] == [False] * 3 + [True] * 3


def test_the_moving_average_teaches(place: Path, tmp_path: Path) -> None:
    """Mean teacher: with no weight it changes nothing, with weight it does, and its labels are the average's."""
    rates = Optimiser(kind="sgd", encoder_lr=1e-2, decoder_lr=1e-2)
    config = replace(config_for(place), optimiser=rates)
    models = {}
    for weight in (0.0, 1.0):
        assert config.teacher is not None
        run = replace(config, teacher=replace(config.teacher, weight=weight))
        trainer = Trainer(run, tmp_path / str(weight))
        models[weight] = read_tensors(trainer.train()).tensors
    alone = Trainer(replace(config, teacher=None), tmp_path / "alone").train()
    plain = read_tensors(alone).tensors
    assert all(torch.equal(models[0.0][name], tensor) for name, tensor in plain.items())
    assert not all(torch.equal(models[1.0][name], tensor) for name, tensor in plain.items())
    # The average that taught the last step is the one before it.
    assert trainer.unlabelled is not None
    assert trainer.unlabelled.network is not None
    taught = trainer.unlabelled.network.state_dict()
    assert not all(torch.equal(taught[name], tensor) for name, tensor in models[1.0].items())
    assert not any(tensor.requires_grad for tensor in trainer.unlabelled.network.parameters())


def test_accumulation_changes_memory_and_not_the_result(place: Path, tmp_path: Path, teacher_file: Path) -> None:
    """After one step: later ones magnify rounding, as the median of a map is a pixel, and the next one in order is
    another pixel."""
    config = config_for(place, weights=str(teacher_file), ignore_share=0.0, weight=4.0)
    optimiser = Optimiser(kind="sgd", encoder_lr=1e-2, decoder_lr=1e-2)
    config = replace(config, steps=1, phases=(Phase(0, 64, 4),), optimiser=optimiser, ema_decay=0.0)
    plain = read_tensors(Trainer(config, tmp_path / "plain").train()).tensors
    frugal = read_tensors(Trainer(replace(config, accumulate=2), tmp_path / "frugal").train()).tensors
    for name, tensor in plain.items():
        # Float32 rounding of weights of about one. Measured: 2.4e-7.
        torch.testing.assert_close(frugal[name], tensor, rtol=0, atol=1e-6, msg=name)


def test_classes_are_learned_from_a_teacher(tmp_path: Path, place: Path) -> None:
    labels = tmp_path / "labels"
    for kind in ("images", "labels"):
        (labels / "train" / kind).mkdir(parents=True)
    for index in range(2):
        picture = cv2.imread(str(next((place / "pictures").glob("*.png"))))
        cv2.imwrite(str(labels / "train" / "images" / f"{index}.jpg"), picture)
        cv2.imwrite(str(labels / "train" / "labels" / f"{index}.png"), picture[:, :, 0] // 64)
    (labels / "classes.txt").write_text("\n".join("abcde") + "\n")
    network = miniatures.build_miniature("dpt-large-ade20k", seed=5)
    teacher = tmp_path / "teacher.safetensors"
    write_tensors(teacher, network.state_dict(), miniatures.miniature_spec("dpt-large-ade20k"))
    config = replace(
        config_for(place, weights=str(teacher), confidence={"probability": 0.2}, weight=2.0),
        model=ModelStart("dpt-large-ade20k"), sources=(OnDisk("labels", str(labels)),), loss=SegmentationLoss(),
        steps=30, phases=(Phase(0, 64, 2),), checkpoint_every=100,
    )  # fmt: skip
    Trainer(config, tmp_path / "run").train()
    losses = [float(row["pseudo"]) for row in rows_of(tmp_path / "run")]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    seen = set()
    trainer = Trainer(replace(config, precision="bf16-mixed"), tmp_path / "half")
    trainer.build(trainer.open_sources(), None)
    trainer.network.get_submodule("head.conv").register_forward_hook(lambda _, given, made: seen.add(made.dtype))
    assert trainer.unlabelled is not None
    pictures = next(trainer.views(0))
    trainer.unlabelled.add_gradients(trainer.fabric, trainer.wrapped, trainer.network, trainer.average, pictures)
    assert seen == {torch.bfloat16}


def test_what_comes_beside_a_batch(place: Path) -> None:
    config = config_for(place, share=2 / 3, start=2)
    assert config.teacher is not None
    for ranks in (1, 2):
        batches = SemiSupervised(config, config.teacher, build_spec(config), 0, ranks)
        sizes = [None if batch is None else tuple(batch.clean.shape) for batch in batches.from_step(0)]
        assert sizes == [None, None, (4 // ranks, 3, 64, 64), (4 // ranks, 3, 64, 64)]
        assert [batch and tuple(batch.clean.shape) for batch in batches.from_step(4)] == [(4 // ranks, 3, 96, 96)] * 2
    assert [TeacherConfig((Pictures("p"),), share=share).pictures_beside(4) for share in (0.1, 0.5, 0.75)] == [1, 4, 12]


YAML = """
name: tiny
model: {architecture: dpt-lite}
sources: [{kind: on_disk, dataset: manifest, root: data}]
loss: {kind: relative_depth}
steps: 10
phases: [{start: 0, size: 64, batch_size: 4}]
"""


def test_the_teacher_is_named_on_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(YAML + "teacher: {sources: [photos, {root: nyu, dataset: nyuv2}], share: 0.25}\n")
    config = read_config(path, ["teacher=large.safetensors", "teacher.strong.cutmix=0"])
    sources = (Pictures("photos"), Pictures("nyu", "nyuv2"))
    assert config.teacher == TeacherConfig(sources, "large.safetensors", share=0.25, strong=Strong(cutmix=0.0))
    assert parse_config(to_plain(config), "here") == config
    assert config.teacher.confidence == Confidence()


@pytest.mark.parametrize(
    ("section", "overrides", "message"),
    [
        ("", ["teacher=large.safetensors"], r"teacher\.sources: is missing"),
        ("", ["teacher.sources=[]"], r"teacher\.sources: must not be empty"),
        ("", ["teacher.sources=[photos]"], "set ema_decay"),
        ("{sources: [a], weights: b, wieght: 2}", [], r"wieght.*did you mean weight\?"),
        ("{sources: [a], weights: b}", ["teacher.strong.cutmx=1"], r"cutmx.*did you mean cutmix\?"),
        ("{sources: [a], weights: b}", ["teacher.confidence.quantile=1"], r"teacher\.confidence\.quantile"),
        ("{sources: [a], weights: b}", ["teacher.share=1"], r"teacher\.share"),
        ("{sources: [a], weights: b, start: 10}", [], r"step 10 is not below steps \(10\)"),
        ("{sources: [{root: a, weight: 0}], weights: b}", [], "all weights are 0"),
        ("{sources: [a], architecture: dpt-large}", ["ema_decay=0.9"], "the moving average has the student's"),
    ],
)
def test_mistakes_in_the_section_are_named(tmp_path: Path, section: str, overrides: list[str], message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(YAML + (f"teacher: {section}\n" if section else ""))
    with pytest.raises(ConfigError, match=message) as caught:
        read_config(path, overrides)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("teacher", "error", "message"),
    [
        ({"weights": "nowhere.safetensors"}, UnknownModelError, "nowhere.safetensors: no such model file"),
        ({"weights": "dpt-larg"}, UnknownModelError, "did you mean dpt-large"),
        ({"sources": ["no/such/folder"]}, DataError, "no/such/folder is not a folder"),
        ({"sources": [{"root": ".", "dataset": "picturs"}]}, DataError, "did you mean pictures"),
        ({"size": 100}, ConfigError, r"teacher\.size: 100 is not a multiple of 32"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_written(
    place: Path, tmp_path: Path, teacher: dict[str, object], error: type[DptkitError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        Trainer(config_for(place, **teacher), tmp_path / "run").train()
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_teacher_and_student_must_be_for_the_same(place: Path, tmp_path: Path) -> None:
    path = tmp_path / "classes.safetensors"
    spec = miniatures.miniature_spec("dpt-large-ade20k")
    write_tensors(path, miniatures.build_miniature("dpt-large-ade20k").state_dict(), spec)
    with pytest.raises(ConfigError, match="is for segmentation, the student for depth"):
        Trainer(config_for(place, weights=str(path)), tmp_path / "run").train()


def test_a_run_does_not_go_on_with_another_teacher(place: Path, tmp_path: Path) -> None:
    path = tmp_path / "teacher.safetensors"
    spec = miniatures.miniature_spec("dpt-lite")
    write_tensors(path, miniatures.build_miniature("dpt-lite", seed=1).state_dict(), spec)
    config = replace(config_for(place, weights=str(path)), steps=1, phases=(Phase(0, 64, 2),))
    Trainer(config, tmp_path / "run").train()
    Trainer(config, tmp_path / "run").train()
    write_tensors(path, miniatures.build_miniature("dpt-lite", seed=2).state_dict(), spec)
    with pytest.raises(TrainingError, match="not the teacher that the run"):
        Trainer(config, tmp_path / "run").train()
