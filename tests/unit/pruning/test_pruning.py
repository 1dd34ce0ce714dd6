"""What leaves a network, and that what stays computes what it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dptkit.config import BlockSizes, ModelSpec, from_json, to_json, unpruned
from dptkit.engines import _facts
from dptkit.errors import ConfigError, WeightsError
from dptkit.pruning.cost import cost_of
from dptkit.pruning.importance import Importance, importance_of_gates, importance_of_weights
from dptkit.pruning.removal import BLOCKS, Kept, block_sizes, remove
from dptkit.pruning.selection import select
from dptkit.runtime.choice import Choice
from dptkit.weights.convert import convert_from_ours
from dptkit.weights.load import build_network, load_model
from dptkit.weights.tensor_file import write_tensors
from miniatures import build_miniature, miniature_spec, random_image

# A plain ViT as DPT-Base and DPT-Large have it, the hybrid and ours; depth and segmentation.
NAMES = ("dpt-base", "dpt-large", "dpt-hybrid", "dpt-lite", "dpt-large-ade20k")


def without_influence(name: str, heads: dict[int, int], neurons: dict[int, list[int]]) -> dict[str, Tensor]:
    """The miniature's tensors, where these heads and neurons (by block) have output weights of zero."""
    tensors = {key: tensor.clone() for key, tensor in build_miniature(name).state_dict().items()}
    channels = miniature_spec(name).model.encoder.width // 2
    for block, head in heads.items():
        columns = slice(head * channels, (head + 1) * channels)
        tensors[f"{BLOCKS}.{block}.attention.projection.weight"][:, columns] = 0
    for block, places in neurons.items():
        tensors[f"{BLOCKS}.{block}.mlp.fc2.weight"][:, places] = 0
    return tensors


def predict(spec: ModelSpec, tensors: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        return build_network(spec.model, tensors)(random_image(1, 3, 64, 96))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("criterion", ["magnitude", "taylor"])
def test_what_has_no_influence_goes_first_and_is_not_missed(name: str, criterion: str) -> None:
    spec = miniature_spec(name)
    blocks = len(block_sizes(spec.model).heads)
    idle = {0: [0, 5, 127], 1: [64]}
    tensors = without_influence(name, {0: 1, 1: 0}, idle)
    if criterion == "magnitude":
        importance = importance_of_weights(spec, tensors)
    else:
        image = random_image(1, 3, 64, 64)
        network = build_network(spec.model, tensors)
        importance = importance_of_gates(network, [image], lambda raw, _: [raw.square().sum()])
    kept = select(importance, 2 / (2 * blocks), 4 / (128 * blocks), "global")
    assert kept[0].heads == (0,)
    assert kept[1].heads == (1,)
    assert all(set(range(128)) - set(kept[block].mlp) == set(gone) for block, gone in idle.items())

    smaller, left = remove(spec, tensors, kept)
    assert smaller.model.encoder.blocks == BlockSizes((1, 1, *[2] * (blocks - 2)), (125, 127, *[128] * (blocks - 2)))
    before, after = predict(spec, tensors), predict(smaller, left)
    # Sums of other lengths are rounded otherwise: a few units in the last place of float32, here and there magnified by
    # the hybrid's stem-fed norms; removing the wrong head changes these outputs by more than 1e-3.
    assert (after - before).abs().max() <= 2e-5 * (before.max() - before.min())


def test_a_head_that_counts_is_missed() -> None:
    """The test above can fail: the other head of the same block changes the output."""
    spec, tensors = miniature_spec("dpt-lite"), without_influence("dpt-lite", {0: 1}, {})
    every = tuple(range(128))
    smaller, left = remove(spec, tensors, [Kept((1,), every), Kept((0, 1), every)])
    before = predict(spec, tensors)
    assert (predict(smaller, left) - before).abs().max() > 1e-3 * (before.max() - before.min())


@pytest.mark.parametrize("name", ["dpt-large", "dpt-hybrid", "dpt-lite"])
def test_removing_nothing_changes_nothing(name: str) -> None:
    spec, tensors = miniature_spec(name), dict(build_miniature(name).state_dict())
    same, left = remove(spec, tensors, select(importance_of_weights(spec, tensors), 0, 0, "global"))
    assert same == spec
    assert to_json(same) == to_json(spec)
    assert left.keys() == tensors.keys()
    assert all(torch.equal(left[key], tensor) for key, tensor in tensors.items())


def test_removal_again_counts_from_what_is_left() -> None:
    spec, tensors = miniature_spec("dpt-lite"), dict(build_miniature("dpt-lite").state_dict())
    once, left = remove(spec, tensors, [Kept((1,), tuple(range(100))), Kept((0, 1), tuple(range(2, 128)))])
    twice, least = remove(once, left, [Kept((0,), (0, 99)), Kept((1,), (0,))])
    at_once, same = remove(spec, tensors, [Kept((1,), (0, 99)), Kept((1,), (2,))])
    assert twice == at_once
    assert all(torch.equal(least[key], tensor) for key, tensor in same.items())
    assert unpruned(twice.model) == spec.model


def test_gate_derivatives_are_those_of_gates() -> None:
    """An independent way: scale one head's (one neuron's) output by 1 ± h and see how the loss changes."""
    spec, tensors = miniature_spec("dpt-lite"), dict(build_miniature("dpt-lite").double().state_dict())
    image = random_image(1, 3, 64, 64).double()

    def loss(state: dict[str, Tensor]) -> Tensor:
        network = build_miniature("dpt-lite").double()
        network.load_state_dict(state)
        with torch.no_grad():
            return network(image).square().mean()

    network = build_miniature("dpt-lite").double()
    network.load_state_dict(tensors)
    found = importance_of_gates(network, [image], lambda raw, _: [raw.square().mean()])
    h = 1e-5
    width = spec.model.encoder.width
    for key, columns, value in (
        (f"{BLOCKS}.0.attention.projection.weight", slice(0, width // 2), found[0].heads[0]),
        (f"{BLOCKS}.1.attention.projection.weight", slice(width // 2, width), found[1].heads[1]),
        (f"{BLOCKS}.1.mlp.fc2.weight", slice(17, 18), found[1].mlp[17]),
    ):
        moved = []
        for gate in (1 + h, 1 - h):
            weight = tensors[key].clone()
            weight[:, columns] *= gate
            moved.append(loss({**tensors, key: weight}))
        # float64: the error of a central difference is of the order h^2, and 1e-16 / h from rounding.
        assert value.item() == pytest.approx(abs((moved[0] - moved[1]) / (2 * h)).item(), rel=1e-5, abs=1e-10)


def test_the_size_of_a_heads_map_by_hand() -> None:
    """One head's W_out W_value, written out, gains and bias in it."""
    spec, tensors = miniature_spec("dpt-large"), dict(build_miniature("dpt-large").state_dict())
    block, channels = f"{BLOCKS}.2", 16
    value = tensors[f"{block}.attention.qkv.weight"][64 + channels : 64 + 2 * channels]
    value = value * tensors[f"{block}.norm1.weight"]
    value = torch.cat([value, tensors[f"{block}.attention.qkv.bias"][64 + channels :, None]], dim=1)
    out = tensors[f"{block}.attention.projection.weight"][:, channels:]
    found = importance_of_weights(spec, tensors)[2].heads[1]
    assert found.item() == pytest.approx((out @ value).norm().item(), rel=1e-5)  # float32 on this side


@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(1, 9)), min_size=1, max_size=5),
    st.floats(0, 0.999), st.floats(0, 0.999), st.sampled_from(["global", "block"]), st.integers(0, 99),
)  # fmt: skip
def test_selection_keeps_one_and_removes_the_share(
    sizes: Sequence[tuple[int, int]], heads: float, mlp: float, scope: str, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = [Importance(*(torch.rand(n, generator=generator).double() for n in pair)) for pair in sizes]
    kept = select(scores, heads, mlp, scope)  # type: ignore[arg-type]
    for part, share in ((0, heads), (1, mlp)):
        counts, left = [pair[part] for pair in sizes], [block[part] for block in kept]
        assert all(places and list(places) == sorted(set(places)) for places in left)
        removable = [round(share * n) for n in counts] if scope == "block" else [round(share * sum(counts))]
        room = [n - 1 for n in counts] if scope == "block" else [sum(counts) - len(counts)]
        assert sum(map(len, left)) == sum(counts) - sum(map(min, removable, room))
        for block, places in zip(scores, left, strict=True):
            gone = set(range(len(block[part]))) - set(places)
            if gone:  # of one block the least important go
                assert max(block[part][i] for i in gone) <= min(block[part][i] for i in places)


def pruned(name: str) -> tuple[ModelSpec, dict[str, Tensor]]:
    spec, tensors = miniature_spec(name), dict(build_miniature(name).state_dict())
    blocks = len(block_sizes(spec.model).heads)
    kept = [Kept((block % 2,), tuple(range(block + 1, 100))) for block in range(blocks)]
    return remove(spec, tensors, kept)


@pytest.mark.parametrize("name", ["dpt-large", "dpt-hybrid", "dpt-lite"])
def test_a_pruned_file_is_a_whole_model(name: str, tmp_path: Path) -> None:
    spec, tensors = pruned(name)
    write_tensors(tmp_path / "small.safetensors", tensors, spec)
    loaded = load_model(tmp_path / "small.safetensors")
    assert loaded.spec == spec
    image = random_image(2, 3, 64, 32)
    with torch.no_grad():
        assert torch.equal(loaded.network(image), build_network(spec.model, tensors)(image))
    assert cost_of(spec, (64, 64)).parameters == sum(p.numel() for p in loaded.network.parameters())
    assert cost_of(spec, (64, 64)).flop < cost_of(miniature_spec(name), (64, 64)).flop


@pytest.mark.parametrize("layout", ["isl", "hf"])
def test_other_layouts_refuse_it_in_one_line(layout: str) -> None:
    spec, tensors = pruned("dpt-large")
    with pytest.raises(WeightsError, match=rf"^a pruned network has no {layout} layout"):
        convert_from_ours(tensors, spec.model, layout)  # type: ignore[arg-type]


def test_text_and_cache_key_of_an_unpruned_model_stay_what_they_were() -> None:
    spec = miniature_spec("dpt-lite")
    assert '"blocks"' not in to_json(spec)
    key = _facts(spec, "0" * 64, Choice("onnx", "cpu", "float32"), 0.0)["network"]
    # SHA-256 of the sorted JSON of this network's configuration, from before networks could be pruned.
    assert key == UNPRUNED_KEY
    small, _ = pruned("dpt-lite")
    assert _facts(small, "0" * 64, Choice("onnx", "cpu", "float32"), 0.0)["network"] != key
    assert from_json(to_json(small)) == small


UNPRUNED_KEY = "04ff6a5d2bf65fda9d6f11cb9a6b5bd03801246152e2f60b8df581f648873df8"


@pytest.mark.parametrize(
    ("sizes", "problem"),
    [
        (BlockSizes((1,), (5, 5)), "heads has 1 numbers for 2 blocks"),
        (BlockSizes((1, 0), (5, 5)), r"heads must be from 1 to 2 in each block, not \[1, 0\]"),
        (BlockSizes((1, 2), (5, 129)), r"mlp must be from 1 to 128 in each block, not \[5, 129\]"),
    ],
)
def test_impossible_sizes_in_a_file_are_named(sizes: BlockSizes, problem: str) -> None:
    spec, _ = pruned("dpt-lite")
    model = replace(spec.model, encoder=replace(spec.model.encoder, blocks=None))
    plain = to_json(replace(spec, model=model))
    broken = plain.replace(
        '"kind":"lite"', f'"kind":"lite","blocks":{{"heads":{list(sizes.heads)},"mlp":{list(sizes.mlp)}}}'
    )
    with pytest.raises(ConfigError, match=f"model.encoder.blocks: {problem}"):
        from_json(broken)


def test_a_network_without_attention_is_named() -> None:
    class Convolutional:
        kind = "convolutional"

    model = replace(miniature_spec("dpt-lite").model, encoder=Convolutional())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="kind convolutional has no attention heads"):
        block_sizes(model)
