"""DPT-Lite's encoder, ours: an EfficientNet-Lite0 stem, then a small ViT on its map at stride 16.

B batch · H W image · C channels · D width · gh gw token grid

The stem is the first five or six stages of EfficientNet-Lite0 (tensorflow/tpu, `efficientnet/lite`): inverted
residuals without squeeze-and-excite, ReLU6, batch norm with eps 1e-3, TensorFlow padding. The sixth works at stride 32;
what it sees there, the most that ImageNet taught, is added to the tokens at stride 16.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
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
    Stage(4, 5, 2, 6, 192),
)
QUARTER, EIGHTH, SIXTEENTH = 1, 2, 4
"""Stages whose outputs are used, beside the last one's."""


class ConvNorm(nn.Module):
    """Convolution with "SAME" padding, batch norm, and ReLU6 where asked for.

    A norm that is not training is folded into the convolution's weights, here and now, so that gradients still reach
    both: two passes fewer over the features, forward and backward. The same function up to float rounding.
    """

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
        features = self.norm(self.conv(features)) if self.norm.training else self._folded(features)
        return F.relu6(features, inplace=True) if self.activate else features

    def _folded(self, features: Tensor) -> Tensor:
        mean, variance = self.norm.running_mean, self.norm.running_var
        assert mean is not None
        assert variance is not None
        scale = self.norm.weight * torch.rsqrt(variance + self.norm.eps)
        weight, bias = self.conv.weight * scale[:, None, None, None], self.norm.bias - mean * scale
        conv = self.conv
        if conv.groups > 1 and features.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            # oneDNN's bfloat16 gradients of depthwise convolutions take three to eight times as long as in float32.
            with torch.autocast("cpu", enabled=False):
                return F.conv2d(
                    features.float(), weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups
                ).to(features.dtype)
        return F.conv2d(features, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)


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
    """EfficientNet-Lite0's first stages: maps at 1/4 (24 channels), 1/8 (40), 1/16 (112), perhaps 1/32 (192)."""

    def __init__(self, stages: int = 5) -> None:
        super().__init__()
        if stages not in (5, 6):
            raise ValueError(f"the lite stem has 5 or 6 stages, not {stages}")
        self.conv = ConvNorm(3, STEM_CHANNELS, 3, stride=2)
        self.stages = nn.ModuleList()
        inputs = STEM_CHANNELS
        for blocks, kernel, stride, expansion, channels in STAGES[:stages]:
            layers = []
            for block in range(blocks):
                layers.append(InvertedResidual(inputs, channels, kernel, stride if block == 0 else 1, expansion))
                inputs = channels
            self.stages.append(nn.Sequential(*layers))

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> tuple[Tensor, ...]:
        features = self.conv(image)
        outputs = []
        for stage in self.stages:
            features = stage(features)
            outputs.append(features)
        return outputs[QUARTER], outputs[EIGHTH], *outputs[SIXTEENTH:]


class LiteEncoder(nn.Module):
    """Taps: stem maps at 1/4 and 1/8, then two transformer blocks.

    Tokens are the stem's map at 1/16 through a 1x1 convolution; with a stem of six stages its map at 1/32 is added,
    through a 1x1 convolution and bilinearly enlarged.
    """

    def __init__(self, stem: LiteStem, transformer: Transformer) -> None:
        super().__init__()
        if len(transformer.out_indices) != 2:
            raise ValueError(f"the lite encoder is tapped at two blocks, not {len(transformer.out_indices)}")
        width = transformer.prefix_tokens.shape[-1]
        self.stem = stem
        self.patch_embedding = nn.Conv2d(STAGES[SIXTEENTH].channels, width, 1)
        deep = len(stem.stages) > SIXTEENTH + 1
        self.deep_embedding = nn.Conv2d(STAGES[-1].channels, width, 1, bias=False) if deep else None
        self.stride = 32 if deep else 16
        self.transformer = transformer

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> EncoderFeatures:
        quarter, eighth, sixteenth, *deeper = self.stem(image)
        tokens = self.patch_embedding(sixteenth)
        if self.deep_embedding is not None:
            deep = self.deep_embedding(deeper[0])
            tokens = tokens + F.interpolate(deep, size=tokens.shape[2:], mode="bilinear", align_corners=False)
        maps, prefixes = self.transformer(tokens)
        return EncoderFeatures((quarter, eighth, maps[0], maps[1]), (None, None, prefixes[0], prefixes[1]))
