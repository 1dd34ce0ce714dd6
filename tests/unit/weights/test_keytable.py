"""Key tables against the names and shapes that published files hold, and round trips to the bit."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from dptkit.config import LiteConfig, ModelConfig
from dptkit.errors import WeightsError
from dptkit.model.build import build_model
from dptkit.presets import DPT_BASE, PRESETS
from dptkit.source import WeightSource
from dptkit.weights.convert import convert_from_ours, convert_to_ours
from dptkit.weights.keytable import Drop, KeyTable, Pair
from dptkit.weights.layouts import Layout, build_key_table, detect_layout
from dptkit.weights.load import build_network, load_model
from dptkit.weights.tensor_file import read_tensors
from miniatures import SPECS, build_miniature, miniature_spec, random_image

GOLDEN = Path(__file__).parents[2] / "golden"
State = dict[str, torch.Tensor]


def with_readout(config: ModelConfig, readout: str) -> ModelConfig:
    return replace(config, decoder=replace(config.decoder, readout=readout))


# Golden file -> the network whose names and shapes in the original's layout it lists.
ORIGINALS: dict[str, ModelConfig] = {
    "dpt-base": DPT_BASE,
    "dpt-base-readout-add": with_readout(DPT_BASE, "add"),
    "dpt-hybrid-readout-ignore": with_readout(PRESETS["dpt-hybrid"].spec.model, "ignore"),
    **{
        name: PRESETS[name].spec.model
        for name in (
            "dpt-large",
            "dpt-hybrid",
            "dpt-hybrid-nyu",
            "dpt-hybrid-kitti",
            "dpt-large-ade20k",
            "dpt-hybrid-ade20k",
        )
    },
}
TRANSFORMERS = ("dpt-large", "dpt-hybrid", "dpt-large-ade20k")
WITH_LAYOUTS = tuple(name for name, spec in SPECS.items() if not isinstance(spec.model.encoder, LiteConfig))
in_both_layouts = pytest.mark.parametrize("layout", ["isl", "hf"])


def ours(name: str) -> State:
    return dict(build_miniature(name).state_dict())


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(
        one[k].dtype == other[k].dtype and torch.equal(one[k], other[k]) for k in one
    )


def dropped(name: str, layout: Layout) -> set[str]:
    table = build_key_table(miniature_spec(name).model, layout)
    return {key for drop in table.drops for key, _ in drop.written}


# ---- against published names ----


@pytest.mark.parametrize("golden", ORIGINALS)
def test_manifest_is_that_of_the_original(golden: str) -> None:
    with np.load(GOLDEN / f"{golden}.npz") as file:
        stored = file["keys"].tolist()
    manifest = build_key_table(ORIGINALS[golden], "isl").manifest()
    assert sorted(f"{name} {shape}" for name, shape in manifest.items()) == sorted(stored)


def test_every_published_file_has_its_manifest_checked() -> None:
    """Whoever adds a source adds a manifest; weights of a further training have the same names."""
    isl = {golden.replace("-nyu-new", "-nyu") for golden in ORIGINALS}
    for name, preset in PRESETS.items():
        for source in preset.sources:
            known = isl if source.layout == "isl" else set(TRANSFORMERS)
            assert name.replace("-nyu-new", "-nyu") in known, source


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_manifest_is_that_of_transformers(name: str) -> None:
    transformers = pytest.importorskip("transformers")
    config = PRESETS[name].spec.model
    sizes: dict[str, object] = {
        "hidden_size": config.encoder.width,
        "num_hidden_layers": config.encoder.depth,
        "num_attention_heads": config.encoder.heads,
        "intermediate_size": 4 * config.encoder.width,
        "neck_hidden_sizes": list(config.decoder.reassemble_channels),
        "image_size": 384,
    }
    kind = transformers.DPTForDepthEstimation
    if name == "dpt-hybrid":
        sizes["is_hybrid"] = True
    if name == "dpt-large-ade20k":
        kind = transformers.DPTForSemanticSegmentation
        sizes |= {"use_batch_norm_in_fusion_residual": True, "num_labels": 150}
    with torch.device("meta"):
        network = kind(transformers.DPTConfig(**sizes))
    theirs = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    table = build_key_table(config, "hf")
    manifest = table.manifest()
    assert manifest.items() <= theirs.items()
    # What else they hold, they know to be unused.
    assert [key for key in theirs if key not in manifest and table.drop_reason(key) is None] == []


# ---- round trips ----


@in_both_layouts
@pytest.mark.parametrize("name", WITH_LAYOUTS)
def test_ours_to_theirs_and_back(name: str, layout: Layout) -> None:
    state, config = ours(name), miniature_spec(name).model
    theirs = convert_from_ours(state, config, layout)
    assert theirs.keys() == build_key_table(config, layout).manifest().keys()
    assert same(convert_to_ours(theirs, config), state)


@in_both_layouts
@pytest.mark.parametrize("name", WITH_LAYOUTS)
def test_theirs_to_ours_and_back(name: str, layout: Layout) -> None:
    """Used tensors to the bit; what nothing reads comes back as zeros, of its own shape."""
    config, generator = miniature_spec(name).model, torch.Generator().manual_seed(0)
    theirs = {
        key: torch.tensor(5) if key.endswith("num_batches_tracked") else torch.randn(shape, generator=generator)
        for key, shape in build_key_table(config, layout).manifest().items()
    }
    again = convert_from_ours(convert_to_ours(theirs, config), config, layout)
    unused = dropped(name, layout)
    assert same({k: v for k, v in again.items() if k not in unused}, {k: theirs[k] for k in theirs if k not in unused})
    assert {k: tuple(again[k].shape) for k in unused} == {k: tuple(theirs[k].shape) for k in unused}
    assert not any(again[k].any() for k in unused)
    assert {again[k].dtype for k in unused} <= {torch.float32, torch.int64}


@pytest.mark.parametrize("name", WITH_LAYOUTS)
def test_the_original_to_transformers_and_back(name: str) -> None:
    config = miniature_spec(name).model
    original = convert_from_ours(ours(name), config, "isl")
    hub = convert_from_ours(convert_to_ours(original, config), config, "hf")
    assert same(convert_from_ours(convert_to_ours(hub, config), config, "isl"), original)


@pytest.mark.parametrize("kind", ["weight", "bias"])
def test_the_fused_projection_holds_query_key_value_in_this_order(kind: str) -> None:
    """Round trips cannot tell: any order comes back as it went."""
    config = miniature_spec("dpt-large").model
    original, hub = (convert_from_ours(ours("dpt-large"), config, layout) for layout in ("isl", "hf"))
    for block in range(4):
        parts = original[f"pretrained.model.blocks.{block}.attn.qkv.{kind}"].chunk(3)
        for part, tensor in zip(("query", "key", "value"), parts, strict=True):
            assert torch.equal(hub[f"dpt.encoder.layer.{block}.attention.attention.{part}.{kind}"], tensor)


@in_both_layouts
@pytest.mark.parametrize("name", ["dpt-large", "dpt-hybrid", "dpt-large-ade20k", "dpt-hybrid-ade20k"])
def test_a_converted_network_gives_the_same_numbers(name: str, layout: Layout) -> None:
    network, image = build_miniature(name), random_image(1, 3, 48, 80)
    theirs = convert_from_ours(network.state_dict(), miniature_spec(name).model, layout)
    with torch.inference_mode():
        assert torch.equal(build_network(miniature_spec(name).model, theirs)(image), network(image))


@pytest.mark.parametrize("readout", ["ignore", "add", "project"])
@in_both_layouts
def test_every_readout_converts(readout: str, layout: Layout) -> None:
    config = with_readout(miniature_spec("dpt-hybrid").model, readout)
    state = dict(build_model(config).state_dict())
    assert same(convert_to_ours(convert_from_ours(state, config, layout), config), state)


def test_a_distillation_token_converts() -> None:
    config = miniature_spec("dpt-base").model
    config = replace(config, encoder=replace(config.encoder, prefix_tokens=2))
    state = dict(build_model(config).state_dict())
    theirs = convert_from_ours(state, config, "isl")
    prefix = state["encoder.transformer.prefix_tokens"]
    assert torch.equal(theirs["pretrained.model.cls_token"], prefix[:, :1])
    assert torch.equal(theirs["pretrained.model.dist_token"], prefix[:, 1:])
    assert same(convert_to_ours(theirs, config), state)


@pytest.mark.parametrize("name", SPECS)
def test_our_own_layout_is_the_identity(name: str) -> None:
    state, config = ours(name), miniature_spec(name).model
    assert same(convert_to_ours(state, config), state)
    assert same(convert_from_ours(state, config, "dptkit"), state)


@in_both_layouts
def test_lite_has_no_other_layout(layout: Layout) -> None:
    with pytest.raises(WeightsError, match="dpt-lite has no"):
        build_key_table(SPECS["dpt-lite"].model, layout)


# ---- what some files hold beside ----


@pytest.mark.parametrize(
    "extra",
    [
        "pretrained.model.blocks.0.attn.relative_position_index",
        "pretrained.model.blocks.0.attn_mask",
        "pretrained.model.fc_norm.weight",
        "pretrained.model.head_dist.weight",
        "pretrained.model.pre_logits.fc.weight",
        "scratch.refinenet4.resConfUnit1.conv1.weight",
        "scratch.refinenet3.skip_add.activation_post_process.scale",
    ],
)
def test_buffers_of_other_versions_are_accepted(extra: str) -> None:
    config = miniature_spec("dpt-large").model
    theirs = convert_from_ours(ours("dpt-large"), config, "isl")
    assert same(convert_to_ours({**theirs, extra: torch.zeros(3)}, config), ours("dpt-large"))


def test_what_is_never_read_may_be_absent() -> None:
    config = miniature_spec("dpt-large").model
    theirs = convert_from_ours(ours("dpt-large"), config, "isl")
    unused = dropped("dpt-large", "isl")
    assert len(unused) == 8
    assert same(convert_to_ours({k: v for k, v in theirs.items() if k not in unused}, config), ours("dpt-large"))


def test_every_drop_says_why() -> None:
    for layout in ("isl", "hf"):
        for drop in build_key_table(SPECS["dpt-hybrid-ade20k"].model, layout).drops:
            assert drop.reason
            for name, _ in drop.written:
                assert re.fullmatch(drop.pattern, name)


def test_the_units_that_are_read_are_not_dropped() -> None:
    table = build_key_table(SPECS["dpt-large"].model, "isl")
    for name in ("scratch.refinenet4.resConfUnit2.conv1.weight", "scratch.refinenet3.resConfUnit1.conv1.weight"):
        assert table.drop_reason(name) is None
        assert name in table.manifest()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"model": state, "optimizer": {"param_groups": []}},
        lambda state: {f"module.{key}": tensor for key, tensor in state.items()},
    ],
    ids=["training", "parallel"],
)
def test_files_of_the_original_load_as_they_are_published(tmp_path: Path, wrap: Callable[[State], object]) -> None:
    config = miniature_spec("dpt-hybrid").model
    torch.save(wrap(convert_from_ours(ours("dpt-hybrid"), config, "isl")), tmp_path / "net.pt")
    assert same(convert_to_ours(read_tensors(tmp_path / "net.pt").tensors, config), ours("dpt-hybrid"))


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    theirs = convert_from_ours(ours("dpt-hybrid"), miniature_spec("dpt-hybrid").model, "isl")
    torch.save(theirs, tmp_path / "net.pt")
    with pytest.raises(WeightsError, match=r"net\.pt: does not fit the network \(isl layout\): missing .* unknown"):
        load_model("dpt-large", tmp_path / "net.pt")


# ---- errors that name ----


@pytest.fixture(params=["isl", "hf"])
def theirs(request: pytest.FixtureRequest) -> State:
    return convert_from_ours(ours("dpt-large-ade20k"), miniature_spec("dpt-large-ade20k").model, request.param)


@cache
def table_of(layout: Layout) -> KeyTable:
    return build_key_table(miniature_spec("dpt-large-ade20k").model, layout)


def refusal(theirs: State) -> str:
    with pytest.raises(WeightsError) as caught:
        table_of(detect_layout(theirs)).to_ours(theirs, "net.pt")
    assert str(caught.value).startswith("net.pt: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def used(theirs: State) -> list[str]:
    layout = detect_layout(theirs)
    sign = {"isl": "scratch.layer1_rn.weight", "hf": "neck.convs.0.weight"}[layout]  # what tells the layout
    return [key for key in theirs if key not in dropped("dpt-large-ade20k", layout) and key != sign]


def test_an_unknown_key_is_named(theirs: State) -> None:
    theirs["pretrained.model.surprise.weight"] = torch.zeros(1)
    assert "unknown pretrained.model.surprise.weight" in refusal(theirs)


def test_a_missing_key_is_named(theirs: State) -> None:
    for key in used(theirs)[::5]:
        assert f"missing {key}" in refusal({k: v for k, v in theirs.items() if k != key})


def test_many_wrong_keys_are_counted(theirs: State) -> None:
    extra = {f"surprise.{index}": torch.zeros(1) for index in range(9)}
    message = refusal(theirs | extra)
    assert "surprise.0, surprise.1, surprise.2, surprise.3 and 5 more" in message
    assert len(message) < 400


def test_a_misshapen_tensor_is_named_with_both_shapes(theirs: State) -> None:
    for key in used(theirs)[::5]:
        if re.search(r"\.(query|key|value)\.", key):
            continue  # three make one of ours: see below
        shape = tuple(theirs[key].shape)
        wrong = torch.zeros(*shape, 3)
        message = refusal(theirs | {key: wrong})
        assert f"{key} has shape {tuple(wrong.shape)}" in message
        assert str(shape) in message


def hub_layout() -> State:
    return convert_from_ours(ours("dpt-large-ade20k"), miniature_spec("dpt-large-ade20k").model, "hf")


def test_a_misshapen_query_key_or_value_is_refused() -> None:
    for part in ("query", "key", "value"):
        refusal(hub_layout() | {f"dpt.encoder.layer.0.attention.attention.{part}.weight": torch.zeros(32, 31)})


@pytest.mark.parametrize("part", ["key", "value"])
def test_of_query_key_and_value_the_wrong_one_is_named(part: str) -> None:
    key = f"dpt.encoder.layer.0.attention.attention.{part}.weight"
    assert f"{key} has shape (32, 31)" in refusal(hub_layout() | {key: torch.zeros(32, 31)})


def test_a_query_as_large_as_all_three_is_refused() -> None:
    layer = "dpt.encoder.layer.0.attention.attention"
    refusal(hub_layout() | {f"{layer}.query.weight": torch.zeros(96, 32), f"{layer}.key.weight": torch.zeros(32, 31)})


def test_parts_that_only_add_up_are_refused() -> None:
    layer = "dpt.encoder.layer.0.attention.attention"
    refusal(hub_layout() | {f"{layer}.query.bias": torch.zeros(0), f"{layer}.key.bias": torch.zeros(64)})


def test_the_same_names_with_other_widths_are_refused() -> None:
    original = convert_from_ours(ours("dpt-large"), miniature_spec("dpt-large").model, "isl")
    with pytest.raises(WeightsError, match=r"has shape .* as the network needs"):
        convert_to_ours(original, replace(miniature_spec("dpt-large").model, encoder=DPT_BASE.encoder.__class__(
            width=64, depth=4, heads=2, out_indices=(0, 1, 2, 3), position_grid=(4, 4)
        )))  # fmt: skip


# ---- recognition ----


@pytest.mark.parametrize("layout", ["dptkit", "isl", "hf"])
@pytest.mark.parametrize("name", WITH_LAYOUTS)
def test_layouts_are_recognised(name: str, layout: Layout) -> None:
    assert detect_layout(build_key_table(SPECS[name].model, layout).manifest()) == layout


@pytest.mark.parametrize("names", [[], ["conv1.weight", "layer1.0.weight"], ["module.scratch.layer1_rn.weight"]])
def test_an_unknown_layout_is_refused_with_examples(names: list[str]) -> None:
    with pytest.raises(WeightsError, match="not the weights of a DPT in a known layout") as caught:
        detect_layout(names, "net.pt")
    assert all(name in str(caught.value) for name in names)
    assert str(caught.value).startswith("net.pt: ")


def test_sources_say_the_layout_that_the_table_has() -> None:
    for preset in PRESETS.values():
        for source in preset.sources:
            assert isinstance(source, WeightSource)
            build_key_table(preset.spec.model, source.layout)


# ---- the table itself ----


def test_a_tensor_without_counterpart_is_a_programming_error() -> None:
    network = {"encoder.weight": torch.zeros(2), "head.bias": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"no counterpart for head\.bias"):
        KeyTable("test", network, [Pair("encoder", "body")])


def test_longer_names_win() -> None:
    network = {"encoder.weight": torch.zeros(2), "encoder.norm.weight": torch.zeros(2)}
    table = KeyTable("test", network, [Pair("encoder", "body"), Pair("encoder.norm", "ln")])
    assert set(table.manifest()) == {"body.weight", "ln.weight"}


def test_drops_match_whole_names_only() -> None:
    table = KeyTable("test", {"a": torch.zeros(2)}, [Pair("a", "b")], [Drop("c", "unused")])
    assert same(table.to_ours({"b": torch.ones(2), "c": torch.zeros(1)}), {"a": torch.ones(2)})
    with pytest.raises(WeightsError, match=r"unknown c2"):
        table.to_ours({"b": torch.ones(2), "c2": torch.zeros(1)})


def test_counters_stay_integers_in_a_half_precision_file() -> None:
    table = KeyTable("test", {"n": torch.tensor(0), "w": torch.zeros(1)}, [Pair("n", "m"), Pair("w", "v")])
    result = table.to_ours({"m": torch.tensor(9.0).half(), "v": torch.zeros(1).half()})
    assert result["n"].dtype == torch.int64
    assert result["n"] == 9
    assert result["w"].dtype == torch.float16


def test_a_network_does_not_share_its_weights_with_another() -> None:
    first = build_miniature("dpt-lite")
    second = build_network(miniature_spec("dpt-lite").model, first.state_dict())
    with torch.no_grad():
        second.head.conv3.weight.zero_()
    assert first.head.conv3.weight.any()
