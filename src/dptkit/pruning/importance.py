"""How much each head and each MLP neuron matters.

D token width · C channels of a head · G heads · M neurons
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dptkit.config import ModelSpec
from dptkit.model.dpt import DPT
from dptkit.model.encoders.transformer import Block
from dptkit.pruning.removal import BLOCKS, block_sizes
from dptkit.shapes import Float


class Importance(NamedTuple):
    """Of one block: a number from 0 for each head, and one for each neuron, which are not comparable to each other."""

    heads: Float[Tensor, "G"]
    mlp: Float[Tensor, "M"]


def importance_of_weights(spec: ModelSpec, tensors: Mapping[str, Tensor]) -> list[Importance]:
    """Magnitude: the size of the map from a block's normalised tokens to what a head, or a neuron, adds to them.

    A head: the Frobenius norm of W_out W_value, the linear map that its attention weights mix; a neuron: the norm of
    its column of W_out times that of its row of W_in. Rows hold their bias too; gains of the norm before count.
    """
    found = []
    for index, heads in enumerate(block_sizes(spec.model).heads):

        def part(name: str, block: str = f"{BLOCKS}.{index}") -> Tensor:
            return tensors[f"{block}.{name}"].double()

        value = _with_bias(part("attention.qkv.weight"), part("attention.qkv.bias"), part("norm1.weight"))
        value = value.chunk(3)[2].unflatten(0, (heads, -1))  # [G, C, D + 1]
        out = part("attention.projection.weight").unflatten(1, (heads, -1)).transpose(0, 1)  # [G, D, C]
        # |A B|^2 is the trace of (A'A)(BB'), which are C by C.
        squared = ((out.transpose(1, 2) @ out) * (value @ value.transpose(1, 2))).sum((1, 2))
        rows = _with_bias(part("mlp.fc1.weight"), part("mlp.fc1.bias"), part("norm2.weight"))
        neurons = rows.norm(dim=1) * part("mlp.fc2.weight").norm(dim=0)
        found.append(Importance(squared.clamp(min=0).sqrt(), neurons))
    return found


def _with_bias(weight: Tensor, bias: Tensor, gain: Tensor) -> Tensor:
    return torch.cat([weight * gain, bias[:, None]], dim=1)


def importance_of_gates(
    network: DPT,
    images: Sequence[Tensor],
    loss: Callable[[Tensor, int], Sequence[Tensor]],
    advance: Callable[[], None] = lambda: None,
) -> list[Importance]:
    """First-order Taylor: how fast a loss changes with a gate, a factor 1, on what a head or a neuron gives.

    images: normalised, [1, 3, h, w] each. loss: (raw output, number of the image) -> one or more scalars. Importance is
    the root of the mean square of the derivatives by the gate, over images and their scalars.

    Sources: Michel et al. 2019 (1905.10650, section 4.1: gates on heads, derivatives of one example at a time);
    Molchanov et al. 2019 (1906.10771, section 3: squares of first-order terms, gates on units).
    No gate is built: what a gate scales meets the network through its columns of the output weights alone, so that the
    derivative by it is the sum over these of weight times gradient.
    """
    blocks = network.get_submodule(BLOCKS)
    weights: list[Tensor] = []
    sums: list[Importance] = []
    for block in blocks.children():
        assert isinstance(block, Block)
        weights += (block.attention.projection.weight, block.mlp.fc2.weight)
        counts = block.attention.heads, block.mlp.fc2.in_features
        sums.append(Importance(*(torch.zeros(count, dtype=torch.float64) for count in counts)))
    network.eval().requires_grad_(False)
    for weight in weights:
        weight.requires_grad_(True)
    scalars = 0
    for number, image in enumerate(images):
        losses = loss(network(image), number)
        for k, scalar in enumerate(losses):
            gradients = torch.autograd.grad(scalar, weights, retain_graph=k + 1 < len(losses))
            for index, total in enumerate(sums):
                of_heads, of_mlp = (
                    (weights[place].detach() * gradients[place]).double().sum(0) for place in (2 * index, 2 * index + 1)
                )
                total.heads.add_(of_heads.unflatten(0, (len(total.heads), -1)).sum(1).square())
                total.mlp.add_(of_mlp.square())
            scalars += 1
        advance()
    network.requires_grad_(False)
    return [Importance((total.heads / scalars).sqrt(), (total.mlp / scalars).sqrt()) for total in sums]
