"""Heads: the finest fused map, at half resolution, to the raw output at full network resolution.

B batch · C fusion channels · K classes · h w half · H W network resolution (twice)
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from dptkit.shapes import Float


class DepthHead(nn.Module):
    """conv3x3 C to C/2 -> x2 bilinear -> conv3x3 -> ReLU -> conv1x1 to 1 -> ReLU where `non_negative`.

    There is no ReLU after the first convolution (isl-org/DPT `models.py`, `DPTDepthModel`).
    """

    def __init__(self, channels: int, hidden_channels: int, *, non_negative: bool, align_corners: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels // 2, 3, padding=1)
        self.conv2 = nn.Conv2d(channels // 2, hidden_channels, 3, padding=1)
        self.conv3 = nn.Conv2d(hidden_channels, 1, 1)
        self.output_channels = 1
        self.non_negative = non_negative
        self.align_corners = align_corners

    def forward(self, fused: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 1 H W"]:
        features = _double(self.conv1(fused), self.align_corners)
        raw = self.conv3(F.relu(self.conv2(features), inplace=True))
        return F.relu(raw) if self.non_negative else raw


class SegmentationHead(nn.Module):
    """conv3x3 without bias -> batch norm -> ReLU -> dropout -> conv1x1 to K -> x2 bilinear."""

    def __init__(self, channels: int, classes: int, *, dropout: float, align_corners: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Conv2d(channels, classes, 1)
        self.output_channels = classes
        self.align_corners = align_corners

    def forward(self, fused: Float[Tensor, "B C h w"]) -> Float[Tensor, "B K H W"]:
        return _double(self.classify(fused), self.align_corners)

    def classify(self, fused: Float[Tensor, "B C h w"]) -> Float[Tensor, "B K h w"]:
        """Logits before the last upsampling."""
        return self.classifier(self.dropout(F.relu(self.norm(self.conv(fused)))))


class AuxiliaryHead(SegmentationHead):
    """The same layers on the penultimate fused map (paper section 4.2), logits at that map's resolution."""

    def forward(self, fused: Float[Tensor, "B C h w"]) -> Float[Tensor, "B K h w"]:
        return self.classify(fused)


def _double(features: Tensor, align_corners: bool) -> Tensor:
    # By a factor: a size would be read from the features, and OpenVINO does not take the bias into a convolution whose
    # output is read twice, but adds it in another pass over the features.
    return F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=align_corners)
