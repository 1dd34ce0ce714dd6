"""The paper's ablations in configs/ablation/: each variant is the network of the table, and steps in miniature."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from data_trees import TREES
from dptkit.model.build import build_model
from dptkit.training.ablation_config import MEAN, Ablation, read_ablation
from dptkit.training.config import ModelStart
from dptkit.training.loop import Trainer
from dptkit.training.optimiser import build_optimiser
from dptkit.training.start import build_spec
from dptkit.weights.load import load_model

CONFIGS = {path.stem: path for path in sorted((Path(__file__).parents[2] / "configs" / "ablation").glob("*.yaml"))}
MINIATURE = Path(__file__).parents[2] / "configs" / "ablation" / "miniature" / "tables.yaml"
DATA = ("redweb", "hrwsi", "blendedmvs")

pytestmark = pytest.mark.filterwarnings(
    # Fabric advises more loader workers than a test wants.
    "ignore:.*does not have many workers.*"
)

# The tables, typed from the paper: HRWSI, BlendedMVS, ReDWeb, mean; then architecture, readout, taps (0-based), prefix
# tokens. Table 6's first row equals Table 7's, so Table 6 is of readout "ignore"; Table 8's ViT-Base is "project".
TABLES = {
    "skip-layers": {
        "base-3-6-9-12": (0.0793, 0.0780, 0.0892, 0.0822, "vit", 768, "ignore", (2, 5, 8, 11), 1),
        "base-6-8-10-12": (0.0801, 0.0789, 0.0904, 0.0831, "vit", 768, "ignore", (5, 7, 9, 11), 1),
        "base-9-10-11-12": (0.0805, 0.0766, 0.0912, 0.0828, "vit", 768, "ignore", (8, 9, 10, 11), 1),
        "hybrid-3-6-9-12": (0.0747, 0.0748, 0.0865, 0.0787, "hybrid", 768, "ignore", (2, 5, 8, 11), 1),
        "hybrid-r0-r1-9-12": (0.0742, 0.0751, 0.0857, 0.0733, "hybrid", 768, "ignore", (8, 11), 1),
    },
    "readout": {
        "ignore": (0.0793, 0.0780, 0.0892, 0.0822, "vit", 768, "ignore", (2, 5, 8, 11), 1),
        "add": (0.0799, 0.0789, 0.0904, 0.0831, "vit", 768, "add", (2, 5, 8, 11), 1),
        "project": (0.0797, 0.0764, 0.0895, 0.0819, "vit", 768, "project", (2, 5, 8, 11), 1),
    },
    "backbone": {
        "resnet50": (0.0890, 0.0887, 0.1029, 0.0935, None),
        "resnext101-wsl": (0.0780, 0.0751, 0.0886, 0.0806, None),
        "deit-base": (0.0798, 0.0804, 0.0925, 0.0842, "vit", 768, "project", (2, 5, 8, 11), 1),
        "deit-base-distilled": (0.0758, 0.0758, 0.0871, 0.0796, "vit", 768, "project", (2, 5, 8, 11), 2),
        "vit-base": (0.0797, 0.0764, 0.0895, 0.0819, "vit", 768, "project", (2, 5, 8, 11), 1),
        "vit-large": (0.0740, 0.0747, 0.0846, 0.0778, "vit", 1024, "project", (5, 11, 17, 23), 1),
        "vit-hybrid": (0.0738, 0.0746, 0.0864, 0.0783, "hybrid", 768, "project", (8, 11), 1),
    },
}  # fmt: skip
WEIGHTS = {"deit-base": "deit", "deit-base-distilled": "deit"}


def test_all_of_the_papers_tables_are_here() -> None:
    assert {name: list(read_ablation(path).variants) for name, path in CONFIGS.items() if name != "recipe"} == {
        name: list(rows) for name, rows in TABLES.items()
    }


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_the_papers(name: str) -> None:
    ablation = read_ablation(CONFIGS[name])
    assert (ablation.scoring.protocol, ablation.scoring.metric) == ("folder", "abs_rel")
    for variant, (hrwsi, blendedmvs, redweb, mean, kind, *structure) in TABLES[name].items():
        paper = {"hrwsi": hrwsi, "blendedmvs": blendedmvs, "redweb": redweb, MEAN: mean}
        assert ablation.variants[variant].paper == paper
        if kind is None:
            assert ablation.variants[variant].not_built
            assert variant not in ablation.configs
            continue
        config = ablation.configs[variant]
        spec = build_spec(config)
        encoder = spec.model.encoder
        found = (encoder.kind, encoder.width, spec.model.decoder.readout, encoder.out_indices, encoder.prefix_tokens)
        assert found == (kind, *structure)
        assert config.model.encoder_weights == WEIGHTS.get(variant, "imagenet")
        assert spec.preprocess.size == (384, 384)
        assert (config.optimiser.encoder_lr, config.optimiser.decoder_lr) == (1e-5, 1e-4)
        with torch.device("meta"):
            output = build_model(spec.model).eval()(torch.empty(1, 3, 384, 384))
        assert output.shape == (1, 1, 384, 384)


def test_the_recipe_of_dpt_lite_part_by_part() -> None:
    """Each variant has one thing more than the one before, and none learns what it is scored on."""
    synthetic, real, teacher = read_ablation(CONFIGS["recipe"]).configs.values()
    assert {source.dataset for source in synthetic.sources} == {"rendered"}  # type: ignore[union-attr]
    assert {source.dataset for source in real.sources} == {"rendered", "manifest"}  # type: ignore[union-attr]
    assert sum(source.weight for source in synthetic.sources) == sum(source.weight for source in real.sources)
    assert (synthetic.teacher, real.teacher) == (None, None)
    assert teacher.teacher is not None
    assert {source.split for source in teacher.teacher.sources} == {"train"}
    assert replace(teacher, teacher=None, name="") == replace(real, name="")
    assert replace(synthetic, sources=real.sources, name="") == replace(real, name="")


def test_the_miniature_changes_one_thing_a_row() -> None:
    ablation = read_ablation(MINIATURE)
    own = ablation.configs["lite-project"]
    changed = {
        "lite-ignore": ModelStart("dpt-lite", readout="ignore", imagenet_stem=True, size=(96, 96)),
        "lite-add": ModelStart("dpt-lite", readout="add", imagenet_stem=True, size=(96, 96)),
        "lite-blocks-1-4": ModelStart("dpt-lite", out_indices=(0, 3), imagenet_stem=True, size=(96, 96)),
        "lite-blocks-3-4": ModelStart("dpt-lite", out_indices=(2, 3), imagenet_stem=True, size=(96, 96)),
        "hybrid": ModelStart("dpt-hybrid", miniature=True, size=(96, 96)),
        "vit": ModelStart("dpt-base", miniature=True, size=(96, 96)),
    }
    assert list(ablation.configs) == ["lite-project", *changed]
    assert own.optimiser.frozen == ("encoder.stem",)
    for name, model in changed.items():
        config = ablation.configs[name]
        optimiser = own.optimiser
        if model.miniature:  # a stem that knows nothing has to learn
            optimiser = replace(optimiser, frozen=(), freeze_batch_norm=False)
        assert config == replace(own, name=f"miniature-{name}", model=model, optimiser=optimiser)
    spec = build_spec(own)
    assert (spec.model.encoder.out_indices, spec.model.decoder.readout) == ((1, 3), "project")
    with torch.device("meta"):
        build_optimiser(build_model(spec.model), own.optimiser)  # refuses a frozen part that is not there


def in_miniature(name: str, folder: Path) -> Ablation:
    roots = []
    for number, data in enumerate(DATA):
        tree = TREES[data](folder / data)
        roots += [f"train.sources.{number}.root={folder / data}", f"train.sources.{number}.options={{}}"]
        roots.append(f"train.sources.{number}.split={tree.split}")
    small = ["train.steps=1", "train.phases.0.batch_size=3", "train.log_every=1"]
    return read_ablation(CONFIGS[name], [*roots, *small], miniature=True)


@pytest.mark.parametrize(
    ("name", "variant"), [(name, variant) for name, rows in TABLES.items() for variant, row in rows.items() if row[4]]
)
def test_a_variant_makes_a_step_in_miniature(name: str, variant: str, tmp_path: Path) -> None:
    config = in_miniature(name, tmp_path).configs[variant]
    model = load_model(Trainer(config, tmp_path / "run").train())
    with (tmp_path / "run" / "log.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert math.isfinite(float(row["loss"]))
    full, small = build_spec(read_ablation(CONFIGS[name]).configs[variant]).model, model.spec.model
    kept = ("kind", "depth", "out_indices", "prefix_tokens", "layer_norm_eps")
    assert [getattr(small.encoder, field) for field in kept] == [getattr(full.encoder, field) for field in kept]
    assert small.decoder.readout == full.decoder.readout
    assert sum(tensor.numel() for tensor in model.network.state_dict().values()) < 6e6
