"""What a network costs, without running it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from dptkit.config import ModelSpec
from dptkit.model.build import build_model


class Cost(NamedTuple):
    """parameters: of the network. flop: additions and multiplications of its matrix products for one picture."""

    parameters: int
    flop: int


def cost_of(spec: ModelSpec, size: tuple[int, int] | None = None) -> Cost:
    """For a network input of `size`, (height, width), by default the specification's. Nothing is computed."""
    height, width = size or spec.preprocess.size
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network = build_model(spec.model).eval()
        network(torch.empty(1, 3, height, width))
    return Cost(sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops())
