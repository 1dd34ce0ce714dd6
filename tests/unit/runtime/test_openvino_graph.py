"""Passes over a network's features that OpenVINO's compiled graph must not make."""

from __future__ import annotations

import torch

from dptkit.model.heads import DepthHead
from dptkit.runtime.conversion import IMAGE_AXES, Shape, to_openvino
from dptkit.runtime.openvino_import import openvino_core

CHANNELS = 32


def test_a_heads_biases_are_added_by_its_convolutions() -> None:
    """At any size of picture; a convolution whose output is read twice leaves its bias to another pass."""
    head = DepthHead(CHANNELS, 8, non_negative=True, align_corners=True).eval()
    model = to_openvino(head, Shape(torch.zeros(2, CHANNELS, 3, 4), IMAGE_AXES))
    nodes = openvino_core().compile_model(model, "CPU").get_runtime_model().get_ordered_ops()
    facts = [[node.get_rt_info()[key].astype(str) for key in ("layerType", "outputPrecisions")] for node in nodes]
    kinds = [kind for kind, precision in facts if precision in ("f32", "bf16")]  # shapes are integers
    assert kinds.count("Convolution") == 3
    assert "Eltwise" not in kinds, kinds
