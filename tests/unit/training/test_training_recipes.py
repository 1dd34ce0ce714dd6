"""What recipes say beyond single values: short names, crops that are not square, resize policies, starts."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import miniatures
from data_trees import TREES
from dptkit.config import SegmentationDecoding
from dptkit.data import kitti
from dptkit.data.augment import paper_depth, paper_segmentation
from dptkit.data.batches import MixedBatches
from dptkit.data.mixing import Mixture
from dptkit.data.sample import Sample
from dptkit.errors import ConfigError, DataError
from dptkit.label_sets import voc_palette
from dptkit.presets import PRESETS
from dptkit.training.config import (
    Augment,
    DepthLoss,
    MetricLoss,
    ModelStart,
    OnDisk,
    Phase,
    SegmentationLoss,
    TrainConfig,
    parse_config,
    read_config,
    to_plain,
)
from dptkit.training.sources import build_augmentation, open_training
from dptkit.training.start import build_spec, build_start
from dptkit.weights.load import load_model
from dptkit.weights.tensor_file import write_tensors

CONFIG = TrainConfig(
    "tiny", ModelStart("dpt-lite"), (OnDisk("manifest", "data"),), DepthLoss(), 10, (Phase(0, (64, 96), 4),)
)
YAML = """
name: tiny
shortcuts:
  data: [sources.0.root, validation.0.root]
  model: [model.architecture]
model: {architecture: dpt-lite}
sources: [{kind: on_disk, dataset: manifest, root: data}]
validation: [{kind: on_disk, dataset: manifest, root: data, split: val}]
loss: {kind: relative_depth}
steps: 10
phases: [{start: 0, size: 64, batch_size: 4}]
"""
CONFIGS = Path(__file__).parents[3] / "configs"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(YAML)
    return path


def test_a_short_name_sets_all_that_it_stands_for(path: Path) -> None:
    config = read_config(
        path, ["data=elsewhere", "model=dpt-large", "model.weights=published", "phases.0.size=[64,96]"]
    )
    assert config.sources == (OnDisk("manifest", "elsewhere"),)
    assert config.validation == (OnDisk("manifest", "elsewhere", "val"),)
    assert config.model == ModelStart("dpt-large", "published")
    assert config.phases[0].crops[0] == (64, 96)
    assert "shortcuts" not in to_plain(config)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("dat=x", r"no key dat; did you mean data\?"),
        ("modle=x", r"no key modle; did you mean model\?"),
        ("stpes=x", r"no key stpes; did you mean steps\?"),
        ("zzz=x", "no key zzz; short names of this configuration: data, model"),
        ("shortcuts.data=x", "no key shortcuts"),
        ("data.root=x", "no key data"),
    ],
)
def test_unknown_short_names_get_the_nearest(path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read_config(path, [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shortcuts", ["[data]", "{data: sources.0.root}", "{data: []}", "{data: [1]}"])
def test_broken_short_names_are_named(path: Path, shortcuts: str) -> None:
    head = YAML.index("shortcuts")
    path.write_text(YAML[:head] + f"shortcuts: {shortcuts}\n" + YAML[YAML.index("model:", head + 80) :])
    with pytest.raises(ConfigError, match=r"c\.yaml: shortcuts"):
        read_config(path)


def test_a_short_name_that_leads_nowhere_is_named(path: Path) -> None:
    path.write_text(YAML.replace("validation.0.root", "validation.7.root"))
    with pytest.raises(ConfigError, match=r"validation\.7\.root: '7' is not a place in a list of 1"):
        read_config(path, ["data=x"])


def test_fine_tuning_takes_every_depth_model() -> None:
    for name in ("dpt-lite", "dpt-hybrid", "dpt-large"):
        config = read_config(CONFIGS / "finetune-depth.yaml", ["data=mine", f"model={name}"])
        assert (config.model.architecture, config.model.weights) == (name, "published")
        assert [source.root for source in (*config.sources, *config.validation)] == ["mine", "mine"]  # type: ignore[union-attr]
    metric = read_config(CONFIGS / "finetune-depth.yaml", ["cap=10", "loss={kind: metric_depth}"])
    assert (metric.model.metric_cap_m, metric.loss) == (10, MetricLoss())


def test_all_sources_that_are_not_there_are_named(tmp_path: Path) -> None:
    """Of MIX 6 there are nine to download: one run says what is missing."""
    TREES["manifest"](tmp_path / "here")
    sources = tuple(OnDisk("manifest", str(tmp_path / name)) for name in ("gone", "here", "lost"))
    with pytest.raises(DataError, match=r"^sources\.0 .*gone is not a folder; nor can sources\.2 be opened$"):
        open_training(replace(CONFIG, sources=sources))


@pytest.mark.parametrize(("size", "near"), [(100, "96x96"), ((64, 90), "64x96")])
def test_crops_that_the_network_cannot_take_are_named(size: int | tuple[int, int], near: str) -> None:
    with pytest.raises(ConfigError, match=rf"phases\.0: crops of .*: dpt-lite takes multiples of 32, such as {near}"):
        build_spec(replace(CONFIG, phases=(Phase(0, size, 4),)))


def test_a_file_where_a_network_belongs_is_told_apart(tmp_path: Path) -> None:
    """`dpt depth --model FILE` takes it, so people write model=FILE here too."""
    file = tmp_path / "model.safetensors"
    spec = replace(PRESETS["dpt-lite"].spec, name="mine")
    write_tensors(file, {"nothing": torch.zeros(1)}, spec)
    with pytest.raises(ConfigError, match=rf"model\.architecture=dpt-lite model\.weights={file}"):
        build_spec(replace(CONFIG, model=ModelStart(str(file), "published")))


def test_what_the_start_was_trained_on_is_carried_on(tmp_path: Path) -> None:
    """Weights under terms keep them, unless the configuration states others."""
    file = tmp_path / "model.safetensors"
    mine = replace(PRESETS["dpt-lite"].spec, name="mine", license="CC-BY-4.0", trained_on="my garden")
    write_tensors(file, {"nothing": torch.zeros(1)}, mine)
    for start, expected in (
        (ModelStart("dpt-lite", str(file)), ("unstated; starts from mine: CC-BY-4.0", "mine: my garden")),
        (ModelStart("dpt-hybrid", "published"), ("unstated; starts from dpt-hybrid: MIT", "dpt-hybrid: MIX 6")),
        (ModelStart("dpt-lite"), ("unstated", "unstated")),
    ):
        spec = build_spec(replace(CONFIG, model=start))
        assert spec.license == expected[0]
        assert expected[1] in spec.trained_on
    stated = replace(CONFIG, model=ModelStart("dpt-lite", "published"), license="MIT", trained_on="roofs")
    assert (build_spec(stated).license, build_spec(stated).trained_on) == ("MIT", "roofs")


def test_crops_that_are_not_square_survive_plain_values() -> None:
    import json

    assert parse_config(json.loads(json.dumps(to_plain(CONFIG))), "here") == CONFIG


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        (Augment(scale=(0.5, 1.0)), r"augment\.scale: \[0\.5, 1\.0\] must rise from at least 1"),
        (Augment(resize="keep", scale=(0.0, 1.0)), "must rise from above 0"),
        (Augment(resize="random_long_side", scale=(2.0, 0.5)), "must rise"),
        (Augment(resize="long_side", scale=(1.0, 1.5)), "long_side has none"),
        (Augment(cutmix=0.5), r"augment\.cutmix: not with relative_depth"),
    ],
)
def test_augmentation_that_makes_no_sense(augment: Augment, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(CONFIG, augment=augment)


def sample(height: int, width: int, labels: bool = False) -> Sample:
    rng = np.random.default_rng(height)
    image, valid = rng.integers(0, 256, (height, width, 3), np.uint8), np.ones((height, width), np.bool_)
    if labels:
        classes = rng.integers(0, 5, (height, width), np.uint8)
        return Sample(image, classes, "labels", "class", valid, source="noise", name="labels")
    depth = rng.uniform(1, 9, (height, width)).astype(np.float32)
    return Sample(image, depth, "depth_m", "m", valid, source="noise", name="depth")


def same(one: Sample, other: Sample) -> bool:
    return np.array_equal(one.image, other.image) and np.array_equal(one.target, other.target)


def test_the_papers_policies_are_the_papers_recipes() -> None:
    depth = replace(CONFIG, augment=Augment(resize="long_side"))
    labels = replace(
        CONFIG,
        model=ModelStart("dpt-large-ade20k"),
        loss=SegmentationLoss(),
        augment=Augment(resize="random_long_side", long_side=52, scale=(0.5, 2.0)),
    )
    for height, width in ((50, 70), (90, 40), (30, 30)):
        for seed in range(5):
            picture = sample(height, width)
            ours = build_augmentation(depth, (48, 48), training=True)(picture, np.random.default_rng(seed))
            assert same(ours, paper_depth((48,), 48)(picture, np.random.default_rng(seed)))
            picture = sample(height, width, labels=True)
            ours = build_augmentation(labels, (48, 48), training=True)(picture, np.random.default_rng(seed))
            assert same(ours, paper_segmentation(52, 48)(picture, np.random.default_rng(seed)))


@pytest.mark.parametrize("resize", ["short_side", "long_side", "keep"])
@pytest.mark.parametrize("size", [(48, 64), (64, 32)])
def test_crops_of_any_shape(resize: str, size: tuple[int, int]) -> None:
    config = replace(CONFIG, augment=Augment(resize=resize))  # type: ignore[arg-type]
    for shape in ((50, 70), (200, 90)):
        for training in (True, False):
            cut = build_augmentation(config, size, training=training)(sample(*shape), np.random.default_rng(0))
            assert cut.valid.shape == size
            assert cut.valid.all()


def test_keep_only_crops_and_kb_crop_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kitti, "KB_SIZE", (20, 60))
    config = replace(CONFIG, loss=MetricLoss(), augment=Augment(resize="keep", kb_crop=True, flip=0))
    picture = sample(40, 80)
    cut = build_augmentation(config, (20, 60), training=True)(picture, np.random.default_rng(0))
    assert np.array_equal(cut.target, picture.target[20:, 10:70])


def test_a_frame_is_cut_off_and_what_is_smaller_is_a_data_error() -> None:
    config = replace(CONFIG, loss=MetricLoss(), augment=Augment(resize="keep", border=(3, 2, 1, 4), flip=0))
    picture = sample(40, 80)
    for training in (True, False):
        augmentation = build_augmentation(config, (36, 74), training=training)
        cut = augmentation(picture, np.random.default_rng(0))
        assert np.array_equal(cut.target, picture.target[3:-1, 4:-2])
    small = MixedBatches([[sample(4, 80)]], Mixture((1,), 0, 1), augmentation, 1)  # type: ignore[list-item]
    with pytest.raises(DataError, match="nothing of 80x4 pixels is left"):
        small[0]


@pytest.fixture
def small_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, preset in list(PRESETS.items()):
        monkeypatch.setitem(PRESETS, name, replace(preset, spec=miniatures.miniature_spec(name)))


def test_colours_of_the_voc_map_by_hand() -> None:
    assert voc_palette(5) == ((128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128))
    assert len(set(voc_palette(255))) == 255
    assert voc_palette(20)[19] == (0, 64, 128)  # VOC's tvmonitor


@pytest.mark.usefixtures("small_presets")
def test_classes_of_the_data_need_data_that_has_some(tmp_path: Path) -> None:
    tree = TREES["labels"](tmp_path / "labels")
    start = ModelStart("dpt-hybrid-ade20k", classes="data")
    config = replace(
        CONFIG, model=start, loss=SegmentationLoss(), sources=(OnDisk("labels", str(tmp_path / "labels"), tree.split),)
    )
    spec = build_spec(config)
    assert isinstance(spec.decoding, SegmentationDecoding)
    assert spec.decoding.class_names == tuple(f"class {k}" for k in range(12))
    assert build_start(config).head.classifier.out_channels == 12  # type: ignore[union-attr]
    # A file with that very list keeps its heads, one with another does not.
    network = build_start(config)
    for names, kept in ((spec.decoding.class_names, True), (tuple("abcdefghijkl"), False)):
        own = replace(spec, decoding=SegmentationDecoding(names, spec.decoding.palette))
        write_tensors(tmp_path / "own.safetensors", network.state_dict(), own)
        again = replace(config, seed=7, model=replace(start, weights=str(tmp_path / "own.safetensors")))
        same = torch.equal(build_start(again).head.classifier.weight, network.head.classifier.weight)  # type: ignore[union-attr]
        assert same is kept
    TREES["pairs"](tmp_path / "pairs")
    source = OnDisk("pairs", str(tmp_path / "pairs"), options={"kind": "labels"})
    with pytest.raises(ConfigError, match="does not say what its classes are"):
        build_spec(replace(config, sources=(source,)))
    with pytest.raises(ConfigError, match="goes with a segmentation loss"):
        replace(config, loss=DepthLoss())


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (ModelStart("dpt-large", "published", encoder_weights="imagenet"), "encoder_weights go with weights: random"),
        (ModelStart("dpt-lite", imagenet_stem=True, encoder_weights="x.pth"), "exclude each other"),
        (ModelStart("dpt-large", metric_cap_m=-1), "above 0 metres"),
    ],
)
def test_starts_that_do_not_go_together(start: ModelStart, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(CONFIG, model=start)


def test_published_weights_of_dpt_lite_are_the_bundled_ones() -> None:
    config = read_config(CONFIGS / "finetune-depth.yaml", ["model=dpt-lite"])
    bundled = load_model("dpt-lite").network.state_dict()
    assert all(torch.equal(tensor, bundled[name]) for name, tensor in build_start(config).state_dict().items())


def test_the_commands_of_the_guide_are_understood() -> None:
    text = (CONFIGS.parent / "docs" / "finetune.md").read_text("utf-8").replace("\\\n", " ")
    commands = [shlex.split(line) for line in text.splitlines() if line.startswith("dpt train ")]
    found = []
    for _, _, config, *rest in commands:
        overrides = rest[: rest.index("-o")] + rest[rest.index("-o") + 2 :]
        read = read_config(CONFIGS.parent / config, overrides)
        assert read.doubts() == []
        found.append((read.name, read.model.metric_cap_m, read.steps, read.optimiser.warmup_steps))
    assert found == [("finetune-depth", 10, 80, 10), ("finetune-segmentation", None, 1000, 50)]
    assert "scale=0.0005" in text
    scaled = read_config(CONFIGS / "finetune-depth.yaml", ["scale=0.0005"])
    assert {source.options["scale"] for source in (*scaled.sources, *scaled.validation)} == {0.0005}  # type: ignore[union-attr]
