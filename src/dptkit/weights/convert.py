"""State dicts between layouts, dict to dict, to the bit."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from dptkit.config import ModelConfig
from dptkit.weights.layouts import Layout, build_key_table, detect_layout


def convert_to_ours(tensors: Mapping[str, Tensor], config: ModelConfig, where: str = "state dict") -> dict[str, Tensor]:
    """Tensors of any known layout, recognised by their names, under our names.

    Raises WeightsError (naming `where`) if they do not fit the network that `config` describes.
    """
    return build_key_table(config, detect_layout(tensors, where)).to_ours(tensors, where)


def convert_from_ours(tensors: Mapping[str, Tensor], config: ModelConfig, layout: Layout) -> dict[str, Tensor]:
    """Our tensors under another layout's names. What that layout stores but nothing reads is filled with zeros."""
    return build_key_table(config, layout).from_ours(tensors)
