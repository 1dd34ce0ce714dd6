"""Every recipe in configs/, in miniature: its own loss, optimiser and augmentation make one real step.

The network is the architecture's miniature, the data are tiny trees laid out as the real ones, crops are small.
"""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import miniatures
from data_trees import TREES
from dptkit.config import BlockSizes, DepthDecoding, ModelSpec, SegmentationHeadConfig
from dptkit.data import kitti
from dptkit.data.pascal_context import CLASS_NAMES
from dptkit.model.build import build_model
from dptkit.presets import PRESETS, UNPUBLISHED, find_architecture
from dptkit.pruning.removal import Kept, remove
from dptkit.training.check import check_run
from dptkit.training.config import MetricLoss, OnDisk, Phase, Procedural, TrainConfig, read_config
from dptkit.training.loop import Trainer
from dptkit.training.optimiser import PEAK_LR
from dptkit.training.start import build_start
from dptkit.training.teacher_config import TeacherConfig
from dptkit.weights.encoder import build_encoder_table
from dptkit.weights.load import load_model
from dptkit.weights.tensor_file import read_tensors, write_tensors

CONFIGS = {path.stem: path for path in sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))}
NAME_OF_TREE = {"diml-indoor": "diml_full", "folder": "manifest", "rendered": "manifest"}
LONGEST_SIDE = 96
REPORTED_AS_VAL = {"ade20k", "pascal-context"}  # of these, val is what papers report

DEPTH_RATES, SEGMENTATION_RATES = (1e-5, 1e-4), (0.002, 0.002)
PAPER_RATES = {  # encoder, decoder: section 4.1 and 4.2
    "dpt-base-curated": DEPTH_RATES,
    "dpt-large-mix6-curated": DEPTH_RATES,
    "dpt-large-mix6": DEPTH_RATES,
    "dpt-hybrid-mix6-curated": DEPTH_RATES,
    "dpt-hybrid-mix6": DEPTH_RATES,
    "dpt-large-ade20k": SEGMENTATION_RATES,
    "dpt-hybrid-ade20k": SEGMENTATION_RATES,
    "dpt-hybrid-pascal-context": SEGMENTATION_RATES,
}

pytestmark = pytest.mark.filterwarnings(
    # Fabric advises more loader workers than a test wants.
    "ignore:.*does not have many workers.*"
)


def small_spec(name: str) -> ModelSpec:
    """The miniature, with all of the classes that the tiny trees' labels have."""
    spec, original = miniatures.miniature_spec(name), find_architecture(name)
    if isinstance(original.model.head, SegmentationHeadConfig):
        model = replace(spec.model, head=original.model.head)
        return replace(spec, model=model, decoding=original.decoding)
    return spec


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    specs = {name: small_spec(name) for name in PRESETS}
    for name, preset in list(PRESETS.items()):
        monkeypatch.setitem(PRESETS, name, replace(preset, spec=specs[name]))
    for name in list(UNPUBLISHED):
        monkeypatch.setitem(UNPUBLISHED, name, small_spec(name))
    monkeypatch.setattr(kitti, "KB_SIZE", (4, 6))  # the trees' pictures


def in_miniature(config: TrainConfig, folder: Path) -> TrainConfig:
    """The recipe with what cannot be had, or takes long, exchanged for something small of the same kind."""
    return replace(
        config,
        model=replace(config.model, **start_files(config, folder)),  # type: ignore[arg-type]
        sources=tuple(tree_of(source, folder, config.loss.kind) for source in config.sources),
        validation=tuple(tree_of(source, folder, config.loss.kind) for source in config.validation),
        teacher=small_teacher(config, folder),
        augment=replace(config.augment, long_side=70, border=(0, 0, 0, 0)),  # the trees have no frame
        phases=(Phase(0, small_size(config.phases[0]), 4),),
        steps=1, validate_every=1 if config.validation else 0, validation_pictures=2, workers=0,
    )  # fmt: skip


def small_teacher(config: TrainConfig, folder: Path) -> TeacherConfig | None:
    """The unpruned network that `start_files` wrote, on the trees' pictures."""
    if config.teacher is None:
        return None
    root = str(folder / "manifest")
    sources = tuple(replace(source, dataset="manifest", root=root) for source in config.teacher.sources)
    return replace(config.teacher, weights=str(folder / "unpruned.safetensors"), sources=sources)


def small_size(phase: Phase) -> int | tuple[int, int]:
    """Its shape, in multiples of 32 up to 96."""
    scale = LONGEST_SIDE / max(phase.crops[0])
    height, width = (32 * max(1, round(side * scale / 32)) for side in phase.crops[0])
    return height if isinstance(phase.size, int) else (height, width)


def tree_of(source: OnDisk | Procedural, folder: Path, loss: str) -> OnDisk:
    assert isinstance(source, OnDisk)
    own = source.dataset == "folder" and loss == "segmentation"
    name = "labels" if own else NAME_OF_TREE.get(source.dataset, source.dataset.replace("-", "_"))
    tree = TREES[name](folder / name)
    return replace(source, dataset=tree.name, root=str(folder / name), split=tree.split, options=tree.options)


def start_files(config: TrainConfig, folder: Path) -> dict[str, object]:
    start, spec = config.model, find_architecture(config.model.architecture)
    changes: dict[str, object] = {"imagenet_stem": False}
    torch.manual_seed(1)
    network = build_model(spec.model)
    if start.weights != "random":
        if spec.task == "depth":
            torch.nn.init.constant_(network.get_parameter("head.conv3.bias"), 1.0)  # off the final ReLU's zero
        tensors = network.state_dict()
        if config.name == "recover-pruned":
            write_tensors(folder / "unpruned.safetensors", tensors, spec)
            spec, tensors = remove(spec, tensors, [Kept((1,), (0, 5, 9)), Kept((0, 1), (3,))])
        write_tensors(folder / "start.safetensors", tensors, spec)
        changes["weights"] = str(folder / "start.safetensors")
    if start.body is not None:
        body = PRESETS[start.body].spec
        write_tensors(folder / "body.safetensors", build_model(body.model).state_dict(), body)
        changes["body"] = str(folder / "body.safetensors")
    if start.encoder_weights is not None:
        own = {name: tensor for name, tensor in network.state_dict().items() if name.startswith("encoder.")}
        theirs = build_encoder_table(spec.model.encoder, "timm").from_ours(own)
        write_tensors(folder / "encoder.safetensors", theirs)
        changes["encoder_weights"] = str(folder / "encoder.safetensors")
    return changes


@pytest.mark.parametrize("name", CONFIGS)
def test_a_recipe_makes_a_step(name: str, tmp_path: Path) -> None:
    config = in_miniature(read_config(CONFIGS[name]), tmp_path)
    before = build_start(config).state_dict()
    trainer = Trainer(config, tmp_path / "run")
    trained = read_tensors(trainer.train())

    with (tmp_path / "run" / "log.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert math.isfinite(float(row["loss"]))
    assert float(row["loss"]) > 0
    for part in ("encoder.", "reassemble.", "fusion.", "head."):
        names = [name for name in before if name.startswith(part)]
        assert any(not torch.equal(before[name], trained.tensors[name]) for name in names), f"{part} did not learn"

    encoder = {id(parameter) for parameter in trainer.network.encoder.parameters()}
    rates = {id(p) in encoder: group[PEAK_LR] for group in trainer.optimiser.param_groups for p in group["params"]}
    assert (rates[True], rates[False]) == PAPER_RATES.get(name, (rates[True], rates[False]))

    assert trained.spec is not None
    assert trained.spec.name == name
    if isinstance(config.loss, MetricLoss):
        decoding = trained.spec.decoding
        assert isinstance(decoding, DepthDecoding)
        assert (decoding.quantity, decoding.cap_m) == ("depth_m", config.model.metric_cap_m)
        assert decoding.scale not in (0, 1)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_recipe_does_not_choose_its_model_by_a_test_split(name: str) -> None:
    config = read_config(CONFIGS[name])
    on_disk = [source for source in config.validation if isinstance(source, OnDisk)]
    assert not [source for source in on_disk if source.split == "test"]
    assert not [source for source in on_disk if source.split == "val" and source.dataset in REPORTED_AS_VAL]
    trained = [(s.dataset, s.split, s.options) for s in config.sources if isinstance(s, OnDisk)]
    assert not [source for source in on_disk if (source.dataset, source.split, source.options) in trained]
    # What is held out of one source must be held out of every other, in the same way.
    for held in (source for source in on_disk if "hold_out" in source.options):
        options = [options for dataset, _, options in trained if dataset == held.dataset]
        assert {taken.get("hold_out") for taken in options} <= {held.options["hold_out"]}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_recipe_can_be_checked(name: str, tmp_path: Path) -> None:
    """What `dpt train CONFIG --check` does: reads every source, makes a step of every phase, and leaves nothing."""
    config = in_miniature(read_config(CONFIGS[name]), tmp_path)
    report = check_run(config, tmp_path / "run")
    assert report is not None
    assert len(report.sources) == len(config.sources) + len(config.validation)
    assert all(math.isfinite(phase.loss) and phase.loss > 0 for phase in report.phases)
    assert not (tmp_path / "run").exists()


def test_what_recovers_stays_pruned(tmp_path: Path) -> None:
    config = in_miniature(read_config(CONFIGS["recover-pruned"]), tmp_path)
    trained = read_tensors(Trainer(config, tmp_path / "run").train())
    assert trained.spec is not None
    assert trained.spec.model.encoder.blocks == BlockSizes((1, 2), (3, 1))
    assert load_model(tmp_path / "run" / "model.safetensors").spec == trained.spec


def test_pascal_context_has_its_own_classes_and_all_else_from_the_start(tmp_path: Path) -> None:
    config = in_miniature(read_config(CONFIGS["dpt-hybrid-pascal-context"]), tmp_path)
    trainer = Trainer(config, tmp_path / "run")
    assert trainer.spec.decoding.class_names == CLASS_NAMES  # type: ignore[union-attr]
    assert len(set(trainer.spec.decoding.palette)) == len(CLASS_NAMES)  # type: ignore[union-attr]
    network = build_start(config)
    start = read_tensors(tmp_path / "start.safetensors").tensors
    same = {name for name, tensor in network.state_dict().items() if torch.equal(tensor, start[name])}
    rest = {name for name in start if not name.startswith(("head.", "auxiliary_head."))}
    assert rest <= same
    assert not any(name.endswith("head.conv.weight") for name in same)


def test_the_second_stage_starts_from_what_the_first_one_writes() -> None:
    for size in ("large", "hybrid"):
        first, second = (read_config(CONFIGS[f"dpt-{size}-mix6{stage}"]) for stage in ("-curated", ""))
        assert second.model.weights == f"runs/{first.name}/model.safetensors"
        names = [{source.dataset for source in config.sources} for config in (first, second)]  # type: ignore[union-attr]
        assert names[0] < names[1]


def test_what_the_paper_prints() -> None:
    for name, epochs, pictures in (
        ("dpt-large-ade20k", 240, 20_210),
        ("dpt-hybrid-ade20k", 240, 20_210),
        ("dpt-hybrid-pascal-context", 50, 4_998),
        ("dpt-large-mix6", 60, 72_000),
        ("dpt-hybrid-mix6-curated", 60, 72_000),
        ("dpt-base-curated", 60, 72_000),
    ):
        config = read_config(CONFIGS[name])
        assert config.steps * config.phases[0].batch_size == pytest.approx(epochs * pictures, rel=1e-4), name
