"""What an ablation's file may say, and what is said of one that is wrong: a line that names the file and the key."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from dptkit.errors import ConfigError, WeightsError
from dptkit.model.build import build_model
from dptkit.presets import UNPUBLISHED
from dptkit.training.ablation_config import read_ablation
from dptkit.training.config import DepthLoss, ModelStart, OnDisk, Phase, TrainConfig
from dptkit.training.miniature import shrink
from dptkit.training.start import build_spec, build_start
from dptkit.weights.tensor_file import write_tensors

BASE = """
name: base
shortcuts: {data: [sources.0.root]}
model: {architecture: dpt-base, encoder_weights: imagenet}
sources: [{kind: on_disk, dataset: manifest, root: data, split: train}]
loss: {kind: relative_depth}
optimiser: {kind: adam, encoder_lr: 1.0e-5, decoder_lr: 1.0e-4}
steps: 1000
phases: [{start: 0, size: 384, batch_size: 16}]
"""
FILE = """
name: tiny
base: base.yaml
seeds: [3, 4]
variants:
  add: {model: {readout: add}, paper: {held: 0.1, mean: 0.2}}
  large: {model: {architecture: dpt-large, out_indices: [1, 2, 3, 23]}}
  convolutional: {not_built: no such encoder, paper: {mean: 0.3}}
scoring:
  data:
    held: {dataset: manifest, root: data, split: val}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "tiny.yaml").write_text(FILE)
    return tmp_path / "tiny.yaml"


def test_variants_are_the_base_with_another_model(path: Path) -> None:
    ablation = read_ablation(path, ["train.steps=7", "train.data=elsewhere", "scoring.data.held.pictures=5"])
    assert list(ablation.configs) == ["add", "large"]
    add, large = ablation.configs.values()
    assert add.model == ModelStart("dpt-base", encoder_weights="imagenet", readout="add")
    assert large.model == ModelStart("dpt-large", encoder_weights="imagenet", out_indices=(1, 2, 3, 23))
    assert (add.name, add.steps, add.sources) == ("tiny-add", 7, (OnDisk("manifest", "elsewhere"),))
    assert (ablation.seeds, ablation.scoring.data["held"].pictures) == ((3, 4), 5)
    assert build_spec(large).model.encoder.out_indices == (1, 2, 3, 23)


def test_a_variant_replaces_whole_keys_of_the_base(path: Path) -> None:
    path.write_text(FILE.replace("add: {model", "add: {train: {steps: 12, ema_decay: 0.9}, model"))
    add, large = read_ablation(path, ["train.steps=7"]).configs.values()
    assert (add.steps, add.ema_decay, add.model.readout) == (12, 0.9, "add")
    assert (large.steps, large.ema_decay) == (7, 0.0)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("seed: 3", r"variants\.add\.train\.seed: is not set here: the file has seeds"),
        ("model: {}", r"variants\.add\.train\.model: is not set here: the variant has a key model"),
        ("stepz: 3", r"variants\.add: stepz.*did you mean steps"),
    ],
)
def test_keys_that_a_variant_may_not_replace(path: Path, train: str, message: str) -> None:
    path.write_text(FILE.replace("add: {model", "add: {train: {" + train + "}, model"))
    with pytest.raises(ConfigError, match=message):
        read_ablation(path)


def test_a_miniature_needs_no_weights_and_what_is_said_by_hand_wins(path: Path) -> None:
    ablation = read_ablation(path, ["train.steps=9"], miniature=True)
    add, large = ablation.configs.values()
    assert add.model == ModelStart("dpt-base", readout="add", miniature=True)
    assert (add.steps, add.phases) == (9, (Phase(0, 64, 8),))
    for config, taps in ((add, (2, 5, 8, 11)), (large, (1, 2, 3, 23))):
        spec = build_spec(config)
        assert spec.model.encoder.out_indices == taps
        assert spec.model.encoder.width <= 128
        assert spec.preprocess.size == (64, 64)


def test_a_file_that_is_only_read_stays_as_it_is(path: Path) -> None:
    first = read_ablation(path, ["train.phases.0.batch_size=2"], miniature=True)
    second = read_ablation(path, miniature=True)
    assert [config.phases[0].batch_size for config in (*first.configs.values(), *second.configs.values())] == [
        2, 2, 8, 8,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("readout: add", "redout: add", r"variants\.add: model\.redout: .*did you mean readout\?"),
        ("readout: add", "readout: sum", r"variants\.add: model\.readout: .*'ignore', 'add' or 'project'"),
        ("readout: add", "prefix_tokens: 3", r"variants\.add: model\.prefix_tokens"),
        ("[1, 2, 3, 23]", "[3, 2, 1, 23]", r"out_indices: \[3, 2, 1, 23\] must rise"),
        ("[1, 2, 3, 23]", "[-1, 2, 3, 23]", r"model\.out_indices\.0"),
        ("paper: {held", "papers: {held", r"variants\.add\.papers: .*did you mean paper\?"),
        ("seeds: [3, 4]", "seed: [3]", r"tiny\.yaml: seed: .*did you mean seeds\?"),
        ("seeds: [3, 4]", "seeds: [3, 3]", "has one twice"),
        ("seeds: [3, 4]", "seeds: []", r"tiny\.yaml: seeds"),
        ("base: base.yaml", "base: bose.yaml", r"bose\.yaml: No such file"),
        ("  add:", "  ../add:", r"variants\.\.\./add: letters, digits"),
        ("    held:", "    mean:", r"scoring\.data\.mean: is the mean over data sets"),
        ("split: val}", "split: train}", r"scoring\.data\.held is sources\.0, which is trained on"),
        ("{not_built: no such encoder", "{not_built: none, model: {readout: add}", "is not built, so it has no model"),
        ("model: {readout: add}", "model: 3", r"variants\.add\.model"),
        ("{not_built:", "{against: lrge, not_built:", r"convolutional\.against: lrge is not one of add, large"),
        (
            "model: {readout: add}",
            "against: convolutional",
            r"variants\.add\.against: convolutional is not one of large",
        ),
        ("model: {readout: add}", "against: add", r"variants\.add\.against: add is not one of large"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(path: Path, old: str, new: str, message: str) -> None:
    assert old in FILE
    path.write_text(FILE.replace(old, new))
    with pytest.raises(ConfigError, match=message) as caught:
        read_ablation(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("steps=5", r"steps=5: no key steps; did you mean train\.steps\?"),
        ("sedes=[1]", r"no key sedes; did you mean seeds\?"),
        ("train.stpes=5", r"no key stpes; did you mean steps\?"),
        ("train.devices=2", "trains in one process"),
        ("train.model=dpt-base", "the base has no model"),
        ("variants={a: {not_built: x}}", "variants: none is built"),
        ("seeds", "key=value"),
    ],
)
def test_overrides_that_are_wrong(path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read_ablation(path, [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"architecture": "dpt-bose"}, r"did you mean dpt-base\?"),
        ({"architecture": "dpt-base", "out_indices": [8, 11]}, "tapped at 4 blocks from 0 to 11"),
        ({"architecture": "dpt-base", "out_indices": [2, 5, 8, 12]}, "tapped at 4 blocks from 0 to 11"),
        ({"architecture": "dpt-hybrid", "out_indices": [2, 8, 11]}, "tapped at 2 or 4 blocks"),
        ({"architecture": "dpt-lite", "out_indices": [0, 1, 2, 3]}, "tapped at 2 blocks"),
    ],
)
def test_a_model_that_cannot_be_is_named(path: Path, model: dict[str, object], message: str) -> None:
    content = yaml.safe_load(FILE)
    content["variants"] = {"one": {"model": {"encoder_weights": None, **model}}}
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(Exception, match=message):
        build_spec(read_ablation(path).configs["one"])


@pytest.mark.parametrize(
    "start",
    [
        ModelStart("dpt-large", "published", readout="add"),
        ModelStart("dpt-large", "x.pt", out_indices=(1, 2, 3, 4)),
        ModelStart("dpt-large", "published", prefix_tokens=2),
        ModelStart("dpt-large", "published", miniature=True),
        ModelStart("dpt-large", encoder_weights="imagenet", miniature=True),
    ],
)
def test_weights_that_exist_are_those_of_the_published_structure(start: ModelStart) -> None:
    assert "go with weights: random" in str(start.problem()) or "no such weights exist" in str(start.problem())


def test_an_architecture_that_was_never_published_starts_from_a_file_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = shrink(UNPUBLISHED["dpt-base"])
    monkeypatch.setitem(UNPUBLISHED, "dpt-base", spec)
    network = build_model(spec.model)
    write_tensors(tmp_path / "own.safetensors", network.state_dict(), replace(spec, name="mine"))
    config = TrainConfig(
        "tiny", ModelStart("dpt-base", str(tmp_path / "own.safetensors")), (OnDisk("manifest", "data"),), DepthLoss(),
        10, (Phase(0, 64, 4),),
    )  # fmt: skip
    found = build_start(config)
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in found.state_dict().items())
    assert all(parameter.requires_grad for parameter in found.parameters())
    with pytest.raises(ConfigError, match="none of dpt-base were published; name a file, or set random"):
        build_start(replace(config, model=ModelStart("dpt-base", "published")))
    other = replace(spec, name="other", model=replace(spec.model, decoder=replace(spec.model.decoder, readout="add")))
    write_tensors(tmp_path / "other.safetensors", build_model(other.model).state_dict(), other)
    with pytest.raises(WeightsError, match=r"other\.safetensors: holds the network of other, not that of dpt-base"):
        build_start(replace(config, model=ModelStart("dpt-base", str(tmp_path / "other.safetensors"))))
