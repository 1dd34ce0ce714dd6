"""DPT-Hybrid's encoder: a ResNetV2 stem to stride 16, then a ViT on its map.

B batch · H W image · C channels · D width

As timm `vit_base_resnet50_384`: three stages of post-activation bottlenecks (the paper says pre-activation; the
published network is not), weight-standardised convolutions with TensorFlow padding, group norm with 32 groups.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dptkit.model.encoders.base import EncoderFeatures
from dptkit.model.encoders.same_padding import same_padding
from dptkit.model.encoders.transformer import Transformer
from dptkit.shapes import Float


class StandardisedConv2d(nn.Conv2d):
    """Convolution whose filters are brought to zero mean and unit variance (Qiao et al. 2019), "SAME" padding.

    eps: 1e-8 in timm's network, which the published weights come from, and in transformers' port.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, eps: float) -> None:
        super().__init__(inputs, outputs, kernel, stride=stride, bias=False)
        self.eps = eps
        self.same_padding = same_padding(kernel, stride)

    def forward(self, features: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True, correction=0)
        weight = (self.weight - mean) * torch.rsqrt(variance + self.eps)
        if any(self.same_padding):
            features = F.pad(features, self.same_padding)
        return F.conv2d(features, weight, stride=self.stride)


class Bottleneck(nn.Module):
    """1x1, 3x3 (strided), 1x1, each with group norm; ReLU after the first two and after the sum."""

    def __init__(self, inputs: int, outputs: int, stride: int, groups: int, eps: float) -> None:
        super().__init__()
        middle = outputs // 4
        self.conv1 = StandardisedConv2d(inputs, middle, 1, eps=eps)
        self.norm1 = nn.GroupNorm(groups, middle)
        self.conv2 = StandardisedConv2d(middle, middle, 3, stride, eps=eps)
        self.norm2 = nn.GroupNorm(groups, middle)
        self.conv3 = StandardisedConv2d(middle, outputs, 1, eps=eps)
        self.norm3 = nn.GroupNorm(groups, outputs)
        self.shortcut: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                StandardisedConv2d(inputs, outputs, 1, stride, eps=eps), nn.GroupNorm(groups, outputs)
            )

    def forward(self, features: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        shortcut = features if self.shortcut is None else self.shortcut(features)
        inner = F.relu(self.norm1(self.conv1(features)))
        inner = F.relu(self.norm2(self.conv2(inner)))
        return F.relu(self.norm3(self.conv3(inner)) + shortcut)


class ResNetStem(nn.Module):
    """ResNetV2 down to stride 16. Returns its stage outputs at 1/4, 1/8 and 1/16."""

    def __init__(self, width: int, depths: Sequence[int], eps: float) -> None:
        super().__init__()
        groups = min(32, width // 2)
        self.conv = StandardisedConv2d(3, width, 7, stride=2, eps=eps)
        self.norm = nn.GroupNorm(groups, width)
        self.stages = nn.ModuleList()
        inputs = width
        for index, depth in enumerate(depths):
            outputs = width * 4 * 2**index
            blocks = []
            for block in range(depth):
                blocks.append(Bottleneck(inputs, outputs, 2 if block == 0 and index > 0 else 1, groups, eps))
                inputs = outputs
            self.stages.append(nn.Sequential(*blocks))

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> list[Tensor]:
        features = F.relu(self.norm(self.conv(image)))
        # Zero padding equals timm's minus infinity here: the maximum of ReLU outputs is never negative.
        features = F.max_pool2d(F.pad(features, same_padding(3, 2)), kernel_size=3, stride=2)
        outputs = []
        for stage in self.stages:
            features = stage(features)
            outputs.append(features)
        return outputs


class HybridEncoder(nn.Module):
    """Taps: stem stages at 1/4 and 1/8, then two transformer blocks (paper section 3.1, ViT-Hybrid).

    With four blocks to tap, none of the stem's stages (paper, Table 6).
    """

    stride = 16

    def __init__(self, stem: ResNetStem, transformer: Transformer) -> None:
        super().__init__()
        if len(transformer.out_indices) not in (2, 4):
            raise ValueError(f"a hybrid is tapped at two blocks or four, not {len(transformer.out_indices)}")
        self.stem = stem
        stem_channels = stem.conv.out_channels * 16
        self.patch_embedding = nn.Conv2d(stem_channels, transformer.prefix_tokens.shape[-1], 1)
        self.transformer = transformer

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> EncoderFeatures:
        quarter, eighth, sixteenth = self.stem(image)
        maps, prefixes = self.transformer(self.patch_embedding(sixteenth))
        if len(maps) == 4:
            return EncoderFeatures(
                (maps[0], maps[1], maps[2], maps[3]), (prefixes[0], prefixes[1], prefixes[2], prefixes[3])
            )
        return EncoderFeatures((quarter, eighth, maps[0], maps[1]), (None, None, prefixes[0], prefixes[1]))
