"""Every published model in miniature: the same structure, small enough that a test takes milliseconds.

`import miniatures` works in any test: pytest puts the folder of `tests/conftest.py` on the path.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from dptkit.config import (
    DepthDecoding,
    DepthHeadConfig,
    HybridConfig,
    ModelConfig,
    ModelSpec,
    SegmentationDecoding,
    SegmentationHeadConfig,
    ViTConfig,
)
from dptkit.model.build import build_model
from dptkit.model.dpt import DPT
from dptkit.presets import DPT_BASE, PRESETS

CLASSES = 5
BASE_SPEC = ModelSpec(
    "dpt-base", DPT_BASE, PRESETS["dpt-large"].spec.preprocess, DepthDecoding("inverse_depth"), "MIT", "nothing"
)
"""DPT-Base was never published, so it is no preset; its structure is tested all the same."""

SPECS: dict[str, ModelSpec] = {"dpt-base": BASE_SPEC, **{name: preset.spec for name, preset in PRESETS.items()}}
DEPTH_NAMES = tuple(name for name, spec in SPECS.items() if spec.task == "depth")
SEGMENTATION_NAMES = tuple(name for name, spec in SPECS.items() if spec.task == "segmentation")


def shrink(config: ModelConfig) -> ModelConfig:
    """Fewer channels and blocks; every branch that the full-size configuration takes is taken too."""
    encoder, decoder, head = config.encoder, config.decoder, config.head
    if isinstance(encoder, ViTConfig):
        small = replace(encoder, width=32, depth=4, heads=2, out_indices=(0, 1, 2, 3), position_grid=(4, 4))
        channels = (8, 12, 16, 20)
    elif isinstance(encoder, HybridConfig):
        small = replace(
            encoder,
            width=32,
            depth=2,
            heads=2,
            out_indices=(0, 1),
            position_grid=(4, 4),
            stem_width=16,
            stem_depths=(1, 1, 1),
        )
        channels = (64, 128, 16, 20)
    else:
        small = replace(encoder, width=32, depth=2, heads=2, out_indices=(0, 1), position_grid=(4, 4))
        channels = (24, 40, 32, 32)
    if isinstance(head, DepthHeadConfig):
        small_head: DepthHeadConfig | SegmentationHeadConfig = replace(head, hidden_channels=8)
    else:
        small_head = replace(head, classes=CLASSES)
    return ModelConfig(small, replace(decoder, reassemble_channels=channels, fusion_channels=16), small_head)


def miniature_spec(name: str) -> ModelSpec:
    """The preset's specification with its network shrunk."""
    spec = SPECS[name]
    decoding = spec.decoding
    if isinstance(decoding, SegmentationDecoding):
        decoding = replace(decoding, class_names=decoding.class_names[:CLASSES], palette=decoding.palette[:CLASSES])
    return replace(spec, model=shrink(spec.model), decoding=decoding)


def build_miniature(name: str, seed: int = 0) -> DPT:
    """Random weights, the same for the same seed, in evaluation mode; no tensor is left at a telling zero or one.

    Norms, their running statistics and all biases are drawn too, so that two networks which differ only in how
    they use one of them cannot agree by accident.
    """
    torch.manual_seed(seed)
    network = build_model(miniature_spec(name).model)
    with torch.no_grad():
        for tensor_name, tensor in network.state_dict().items():
            if tensor_name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif tensor.ndim == 1:
                tensor.add_(0.1 * torch.randn_like(tensor))
        if SPECS[name].task == "depth":
            network.head.conv3.bias.fill_(1.0)  # off the final ReLU's zero
    return network.eval()


def random_image(*shape: int, seed: int = 1) -> torch.Tensor:
    """Standard normal, as normalised pictures roughly are."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
