"""Taking heads and MLP neurons out of a network: weights and configuration together.

D token width · C channels of a head
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from dptkit.config import BlockSizes, ModelConfig, ModelSpec
from dptkit.errors import ConfigError

BLOCKS = "encoder.transformer.blocks"
"""Name of the transformer's blocks among our tensors."""


class Kept(NamedTuple):
    """What stays in one block: rising indices of its heads and of its MLP neurons, from 0."""

    heads: tuple[int, ...]
    mlp: tuple[int, ...]


def block_sizes(model: ModelConfig) -> BlockSizes:
    """Heads and MLP neurons of each block that is built. Raises ConfigError for a network without attention."""
    encoder = model.encoder
    if "blocks" not in vars(encoder):
        raise ConfigError(f"an encoder of kind {encoder.kind} has no attention heads to prune")
    if encoder.blocks is not None:
        return encoder.blocks
    built = encoder.out_indices[-1] + 1
    return BlockSizes((encoder.heads,) * built, (4 * encoder.width,) * built)


def remove(spec: ModelSpec, tensors: Mapping[str, Tensor], kept: Sequence[Kept]) -> tuple[ModelSpec, dict[str, Tensor]]:
    """The network with only what is kept of each block. tensors: its whole state dict, under our names.

    All that stays keeps its bits. Where nothing goes, specification and tensors are returned as they are.
    """
    sizes = block_sizes(spec.model)
    left = BlockSizes(tuple(len(block.heads) for block in kept), tuple(len(block.mlp) for block in kept))
    if left == sizes:
        return spec, dict(tensors)
    encoder = replace(spec.model.encoder, blocks=left)
    smaller = dict(tensors)
    channels = encoder.width // encoder.heads
    for index, (block, heads) in enumerate(zip(kept, sizes.heads, strict=True)):
        inner = torch.tensor([head * channels + c for head in block.heads for c in range(channels)])
        # The rows of queries, keys and values lie one behind the other.
        rows = torch.cat([inner + part * heads * channels for part in range(3)])
        neurons = torch.tensor(block.mlp)
        for name, dim, places in (
            ("attention.qkv.weight", 0, rows),
            ("attention.qkv.bias", 0, rows),
            ("attention.projection.weight", 1, inner),
            ("mlp.fc1.weight", 0, neurons),
            ("mlp.fc1.bias", 0, neurons),
            ("mlp.fc2.weight", 1, neurons),
        ):
            key = f"{BLOCKS}.{index}.{name}"
            smaller[key] = tensors[key].index_select(dim, places)
    return replace(spec, model=replace(spec.model, encoder=encoder)), smaller
