"""What the processes of a run tell each other."""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor


def sum_everywhere(fabric: Fabric, values: Tensor) -> Tensor:
    """Over all processes, element by element. (Fabric by itself writes the sum into what it is given.)"""
    total = fabric.all_reduce(values.clone(), reduce_op="sum")
    assert isinstance(total, Tensor)
    return total


def mean_everywhere(fabric: Fabric, value: Tensor, measure: Tensor) -> float:
    """A loss over the global batch, of which this process knows its part, by how much each process counts."""
    total, weight = sum_everywhere(fabric, torch.stack([value.detach().float() * measure, measure])).tolist()
    return float(total / (weight or 1))


def largest_everywhere(fabric: Fabric, number: int) -> int:
    """The largest of the processes' numbers."""
    if fabric.world_size == 1:
        return number
    return int(fabric.all_reduce(torch.tensor(number, device=fabric.device), reduce_op="max"))  # type: ignore[arg-type]


def gather_everywhere(fabric: Fabric, value: Any) -> list[Any]:
    """What each process has, by rank; it is pickled on the way. To be called by all of them."""
    if fabric.world_size == 1:
        return [value]
    values: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(values, value)
    return values
