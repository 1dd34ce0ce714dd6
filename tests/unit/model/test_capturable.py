"""Every network can be captured as a CUDA graph: its forward pass never asks the device for a value, nor the host.

Checked without a device, on tensors that have shapes and hold nothing. `.item()`, a branch on a value and a shape that
depends on values raise on such tensors; a tensor of the host is found here. Kernels that wait inside are not:
`tests/parity/test_cuda.py` captures for real.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dptkit.model.build import build_model
from dptkit.model.encoders.transformer import PositionEmbedding
from miniatures import miniature_spec


class OnTheDevice(TorchDispatchMode):
    """Raises AssertionError for an operation with a tensor of the host."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs, result)):
            assert not isinstance(leaf, Tensor) or leaf.device.type == "meta", f"{func} on {leaf.device}"
        return result


@pytest.mark.parametrize(
    ("name", "ratio"), [("dpt-base", 0.8), ("dpt-large", 0.4), ("dpt-hybrid-ade20k", 0.0), ("dpt-lite", 0.4)]
)
def test_forward_needs_neither_values_nor_the_host(name: str, ratio: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PositionEmbedding, "_in_cuda_graph", lambda _: True)
    with torch.device("meta"):
        network = build_model(miniature_spec(name).model).freeze()
    network.set_token_merging(ratio)
    for height, width in ((64, 64), (96, 160)):  # the trained grid, and one that position embeddings are resized to
        image = torch.empty(2, 3, height, width, device="meta")
        with torch.inference_mode(), OnTheDevice():
            raw = network(image)
        assert raw.shape == (2, network.head.output_channels, height, width)
    # What a capture computes is not there until the replay, and what was kept before may go before it.
    for module in network.modules():
        if isinstance(module, PositionEmbedding):
            assert module._kept == {}


def test_the_check_would_notice() -> None:
    values = torch.empty(3, device="meta")
    with OnTheDevice():
        with pytest.raises(RuntimeError, match=r"(?i)meta"):
            bool(values.sum() > 0)
        with pytest.raises(AssertionError, match="on cpu"):
            torch.tensor([1.0, 2.0, 3.0]).to("meta")
