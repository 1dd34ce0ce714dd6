"""State dicts between layouts, dict to dict, to the bit."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dptkit.config import ModelConfig
from dptkit.errors import WeightsError
from dptkit.weights.layouts import Layout, build_key_table, detect_layout


def convert_to_ours(tensors: Mapping[str, Tensor], config: ModelConfig, where: str = "state dict") -> dict[str, Tensor]:
    """Tensors of any known layout, recognised by their names, under our names.

    Raises WeightsError (naming `where`) if they do not fit the network that `config` describes.
    """
    return build_key_table(config, detect_layout(tensors, where)).to_ours(tensors, where)


def convert_from_ours(tensors: Mapping[str, Tensor], config: ModelConfig, layout: Layout) -> dict[str, Tensor]:
    """Our tensors under another layout's names. What that layout stores but nothing reads is filled with zeros."""
    return build_key_table(config, layout).from_ours(tensors)


def with_precision(tensors: Mapping[str, Tensor], precision: str) -> dict[str, Tensor]:
    """Floating tensors cast to "float32", "float16" or "bfloat16"; "keep" leaves them. Integers always stay.

    Raises WeightsError if a value does not fit the type.
    """
    if precision == "keep":
        return dict(tensors)
    dtype: torch.dtype = getattr(torch, precision)
    cast = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    for name, tensor in cast.items():
        if not torch.isfinite(tensor).all() and torch.isfinite(tensors[name]).all():
            raise WeightsError(f"{name}: its values are too large for {precision}")
    return cast
