"""DPT-Lite's encoder, ours: an EfficientNet-Lite0 stem to stride 16, then a small ViT on its map.

B batch · H W image · C channels · D width

The stem is the first eleven blocks of EfficientNet-Lite0 (tensorflow/tpu, `efficientnet/lite`): inverted
residuals without squeeze-and-excite, ReLU6, batch norm with eps 1e-3, TensorFlow padding.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from dptkit.model.encoders.base import EncoderFeatures
from dptkit.model.encoders.same_padding import same_padding
from dptkit.model.encoders.transformer import Transformer
from dptkit.shapes import Float

BATCH_NORM_EPS = 1e-3
STEM_CHANNELS = 32


class Stage(NamedTuple):
    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
)
QUARTER, EIGHTH = 1, 2
"""Stages whose outputs are tapped."""


class ConvNorm(nn.Module):
    """Convolution with "SAME" padding, batch norm, and ReLU6 where asked for."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, activate: bool = True
    ) -> None:
        super().__init__()
        left, right, *_ = same_padding(kernel, stride)
        symmetric = left == right
        self.padding = None if symmetric else same_padding(kernel, stride)
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, left if symmetric else 0, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=BATCH_NORM_EPS, momentum=0.01)
        self.activate = activate

    def forward(self, features: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        if self.padding is not None:
            features = F.pad(features, self.padding)
        features = self.norm(self.conv(features))
        return F.relu6(features) if self.activate else features


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise, project 1x1; added to the input where shapes agree (Sandler et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = inputs * expansion
        self.expand = ConvNorm(inputs, middle, 1) if expansion != 1 else None
        self.depthwise = ConvNorm(middle, middle, kernel, stride, groups=middle)
        self.project = ConvNorm(middle, outputs, 1, activate=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, features: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        inner = features if self.expand is None else self.expand(features)
        inner = self.project(self.depthwise(inner))
        return features + inner if self.residual else inner


class LiteStem(nn.Module):
    """EfficientNet-Lite0 down to stride 16. Returns maps at 1/4 (24 channels), 1/8 (40) and 1/16 (112)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = ConvNorm(3, STEM_CHANNELS, 3, stride=2)
        self.stages = nn.ModuleList()
        inputs = STEM_CHANNELS
        for blocks, kernel, stride, expansion, channels in STAGES:
            layers = []
            for block in range(blocks):
                layers.append(InvertedResidual(inputs, channels, kernel, stride if block == 0 else 1, expansion))
                inputs = channels
            self.stages.append(nn.Sequential(*layers))

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> tuple[Tensor, Tensor, Tensor]:
        features = self.conv(image)
        outputs = []
        for stage in self.stages:
            features = stage(features)
            outputs.append(features)
        return outputs[QUARTER], outputs[EIGHTH], outputs[-1]


class LiteEncoder(nn.Module):
    """Taps: stem maps at 1/4 and 1/8, then two transformer blocks."""

    stride = 16

    def __init__(self, stem: LiteStem, transformer: Transformer) -> None:
        super().__init__()
        if len(transformer.out_indices) != 2:
            raise ValueError(f"the lite encoder is tapped at two blocks, not {len(transformer.out_indices)}")
        self.stem = stem
        self.patch_embedding = nn.Conv2d(STAGES[-1].channels, transformer.prefix_tokens.shape[-1], 1)
        self.transformer = transformer

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> EncoderFeatures:
        quarter, eighth, sixteenth = self.stem(image)
        maps, prefixes = self.transformer(self.patch_embedding(sixteenth))
        return EncoderFeatures((quarter, eighth, maps[0], maps[1]), (None, None, prefixes[0], prefixes[1]))
