"""The parity checks must fail for the mistakes people make when they write DPT again. Each is made here on purpose."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers_peer import (
    Case,
    ModelPair,
    build_pair,
    one_thread,
    our_stages,
    peer_stages,
    random_images,
    relative_error,
)

from dptkit.model.build import build_model
from dptkit.weights.convert import convert_to_ours

VISIBLE = 1e-3
"""Share of the output's range by which a mistake must show: 100 times the float32 tolerance of the checks.

The least visible, another LayerNorm eps, shows by 3e-3; every other by 0.1 or more.
"""

VIT = Case("depth", "vit")
VIT_BN = Case("segmentation", "vit", batch_norm=True)
ADD = Case("depth", "vit", "add")
HYBRID = Case("depth", "hybrid")


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def swap_fusion_blocks(pair: ModelPair) -> None:
    state = pair.ours.state_dict()
    swapped = {name: tensor.clone() for name, tensor in state.items()}
    for name in state:
        if name.startswith("fusion.blocks.1."):
            other = name.replace("blocks.1.", "blocks.2.")
            swapped[name], swapped[other] = state[other].clone(), state[name].clone()
    pair.ours.load_state_dict(swapped, strict=True)


def exchange_unit_1_of_two_blocks(pair: ModelPair) -> None:
    blocks = pair.ours.fusion.blocks
    blocks[1].unit1, blocks[3].unit1 = blocks[3].unit1, blocks[1].unit1


def swap_the_units_of_a_block(pair: ModelPair) -> None:
    block = pair.ours.fusion.blocks[2]
    block.unit1, block.unit2 = block.unit2, block.unit1


def run_unit_1_in_the_coarsest_block(pair: ModelPair) -> None:
    """As segmentation_models.pytorch does with the published weights."""
    coarsest = pair.peer.neck.fusion_stage.layers[0]
    coarsest.register_forward_pre_hook(lambda layer, inputs: (layer.residual_layer1(inputs[0]), *inputs[1:]))


def tap_another_block(pair: ModelPair) -> None:
    transformer = pair.ours.encoder.transformer
    first, second, *rest = transformer.out_indices
    transformer.out_indices = (first, second - 1, *rest)


def tap_another_block_of_the_hybrid(pair: ModelPair) -> None:
    transformer = pair.ours.encoder.transformer
    transformer.out_indices = (transformer.out_indices[0] - 1, transformer.out_indices[1])


def normalise_the_taps(pair: ModelPair) -> None:
    """As Depth Anything does; DPT taps before the final norm."""
    width = pair.ours.encoder.transformer.prefix_tokens.shape[-1]
    last = pair.ours.encoder.transformer.blocks[-1]
    last.register_forward_hook(lambda block, inputs, tokens: F.layer_norm(tokens, (width,)))


def mix_up_query_and_key(pair: ModelPair) -> None:
    """Which transposes the attention's scores."""
    qkv = pair.ours.encoder.transformer.blocks[0].attention.qkv
    query, key, value = qkv.weight.data.chunk(3)
    qkv.weight.data = torch.cat([key, query, value])


def read_the_token_before_the_patch(pair: ModelPair) -> None:
    project = pair.ours.reassemble.stages[3].read.project
    project.weight.data = project.weight.data.roll(project.in_features // 2, dims=1)


def ignore_the_readout_token(pair: ModelPair) -> None:
    for stage in pair.ours.reassemble.stages:
        stage.read.forward = lambda patches, prefix: patches


def interpolate_without_aligned_corners(pair: ModelPair) -> None:
    pair.ours.fusion.blocks[3].align_corners = False


def upsample_the_head_without_aligned_corners(pair: ModelPair) -> None:
    pair.ours.head.align_corners = False


def forget_the_running_statistics(pair: ModelPair) -> None:
    for module in pair.ours.fusion.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()


def stay_in_training_mode(pair: ModelPair) -> None:
    pair.ours.train()


def add_the_rectified_input_in_residual_units(pair: ModelPair) -> None:
    """What an in-place ReLU does, as MiDaS 2.1 has it."""
    for block in pair.ours.fusion.blocks:
        block.unit2.register_forward_pre_hook(lambda unit, inputs: (F.relu(inputs[0]),))


def take_another_layer_norm_eps(pair: ModelPair) -> None:
    for module in pair.ours.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-6


def take_another_weight_standardisation_eps(pair: ModelPair) -> None:
    """1e-6 is the default of the convolution's class in transformers, which no caller there leaves at that."""
    config = replace(HYBRID.config, encoder=replace(HYBRID.config.encoder, weight_standardisation_eps=1e-6))
    other = build_model(config)
    other.load_state_dict(pair.ours.state_dict(), strict=True)
    pair.ours.encoder = other.encoder


def pad_the_stem_on_both_sides(pair: ModelPair) -> None:
    """PyTorch's symmetric padding instead of TensorFlow's, which puts the odd pixel on the right and at the bottom."""
    pair.ours.encoder.stem.conv.same_padding = (3, 2, 3, 2)


def flip_the_position_grid(pair: ModelPair) -> None:
    """Width and height mixed up where the position embedding becomes an image."""
    weight = pair.ours.encoder.transformer.position_embedding.weight
    prefix, patches = weight.data.split([1, weight.shape[1] - 1], dim=1)
    weight.data = torch.cat([prefix, patches.unflatten(1, (4, 4)).transpose(1, 2).flatten(1, 2)], dim=1)


MISTAKES: tuple[tuple[Case, Callable[[ModelPair], None]], ...] = (
    (VIT, swap_fusion_blocks),
    (VIT, exchange_unit_1_of_two_blocks),
    (VIT, swap_the_units_of_a_block),
    (VIT, run_unit_1_in_the_coarsest_block),
    (HYBRID, run_unit_1_in_the_coarsest_block),
    (VIT_BN, run_unit_1_in_the_coarsest_block),
    (VIT, tap_another_block),
    (HYBRID, tap_another_block_of_the_hybrid),
    (VIT, normalise_the_taps),
    (VIT, mix_up_query_and_key),
    (VIT, read_the_token_before_the_patch),
    (ADD, ignore_the_readout_token),
    (VIT, interpolate_without_aligned_corners),
    (VIT, upsample_the_head_without_aligned_corners),
    (VIT_BN, upsample_the_head_without_aligned_corners),
    (VIT_BN, forget_the_running_statistics),
    (VIT_BN, stay_in_training_mode),
    (VIT, add_the_rectified_input_in_residual_units),
    (VIT, take_another_layer_norm_eps),
    (HYBRID, take_another_weight_standardisation_eps),
    (HYBRID, pad_the_stem_on_both_sides),
    (VIT, flip_the_position_grid),
)


@pytest.mark.parametrize(
    ("case", "make"), MISTAKES, ids=lambda part: getattr(part, "__name__", getattr(part, "name", ""))
)
def test_a_mistake_shows_in_the_head(case: Case, make: Callable[[ModelPair], None]) -> None:
    pair, images = copy.deepcopy(build_pair(case, "hf-to-ours")), random_images(64, 96)
    assert head_error(pair, images) < VISIBLE / 100
    make(pair)
    assert head_error(pair, images) > VISIBLE


def head_error(pair: ModelPair, images: Tensor) -> float:
    return relative_error(our_stages(pair.ours, images)["head"], peer_stages(pair.peer, images)["head"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("dpt.encoder.layer.0.layernorm_before.weight", "dpt.encoder.layer.0.layernorm_after.weight"),
        ("dpt.encoder.layer.2.attention.attention.key.weight", "dpt.encoder.layer.2.attention.attention.value.weight"),
        ("neck.reassemble_stage.readout_projects.0.0.weight", "neck.reassemble_stage.readout_projects.3.0.weight"),
        (
            "neck.fusion_stage.layers.1.residual_layer1.convolution1.weight",
            "neck.fusion_stage.layers.1.residual_layer1.convolution2.weight",
        ),
        ("neck.fusion_stage.layers.0.projection.bias", "neck.fusion_stage.layers.3.projection.bias"),
    ],
)
def test_two_tensors_of_one_shape_swapped_in_the_key_table_show(one: str, other: str) -> None:
    pair, images = build_pair(VIT, "hf-to-ours"), random_images(64, 96)
    theirs: Mapping[str, Tensor] = pair.peer.state_dict()
    swapped = {**theirs, one: theirs[other], other: theirs[one]}
    ours = build_model(VIT.config).eval()
    ours.load_state_dict(convert_to_ours(swapped, VIT.config), strict=True)
    assert head_error(ModelPair(ours, pair.peer), images) > VISIBLE


def test_a_nan_in_our_answer_is_never_within_a_tolerance() -> None:
    peer = torch.linspace(0, 1, 8)
    assert relative_error(torch.full((8,), torch.nan), peer) == torch.inf
    with pytest.raises(AssertionError, match="is not"):
        relative_error(peer[:4], peer)
