"""RefineNet-style fusion (paper section 3.1 and figure 1 right), coarse to fine.

B batch · C fusion channels · h w map · h2 w2 the next finer map
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from dptkit.shapes import Float


class ResidualConvUnit(nn.Module):
    """x + conv(relu(conv(relu(x)))), 3x3, with batch norm after each convolution where asked for.

    The ReLU is not in place: the sum takes x itself, negative values included (isl-org/DPT `blocks.py`).
    """

    def __init__(self, channels: int, batch_norm: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=not batch_norm)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=not batch_norm)
        self.norm1: nn.Module = nn.BatchNorm2d(channels) if batch_norm else nn.Identity()
        self.norm2: nn.Module = nn.BatchNorm2d(channels) if batch_norm else nn.Identity()

    def forward(self, features: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
        inner = self.norm1(self.conv1(F.relu(features)))
        return features + self.norm2(self.conv2(F.relu(inner)))


class FusionBlock(nn.Module):
    """features + unit1(skip) -> unit2 -> 1x1 projection -> upsample.

    The original upsamples first and projects then. A 1x1 convolution commutes with bilinear interpolation, whose
    weights sum to one, so ours is the same function at a quarter of the cost, up to float rounding.
    The coarsest block takes no skip; the unit the original stores for it is never run and not built.
    """

    def __init__(self, channels: int, *, skip: bool, batch_norm: bool, align_corners: bool) -> None:
        super().__init__()
        self.unit1 = ResidualConvUnit(channels, batch_norm) if skip else None
        self.unit2 = ResidualConvUnit(channels, batch_norm)
        self.projection = nn.Conv2d(channels, channels, 1)
        self.align_corners = align_corners

    def forward(
        self,
        features: Float[Tensor, "B C h w"],
        skip: Float[Tensor, "B C h w"] | None,
        size: tuple[int, int],
    ) -> Float[Tensor, "B C h2 w2"]:
        """`size`: (h2, w2). isl-org/DPT doubles; the next map's size is the same for sizes divisible by 32."""
        if self.unit1 is not None and skip is not None:
            features = features + self.unit1(skip)
        features = self.projection(self.unit2(features))
        return F.interpolate(features, size=size, mode="bilinear", align_corners=self.align_corners)


class Fusion(nn.Module):
    """Four maps, fine to coarse as Reassemble gives them, to four fused ones, coarse to fine.

    inputs: 3x3 convolutions to the common width (`scratch.layer*_rn` of the original).
    blocks[0] is the coarsest (`refinenet4`).
    """

    def __init__(self, input_channels: Sequence[int], channels: int, *, batch_norm: bool, align_corners: bool) -> None:
        super().__init__()
        self.inputs = nn.ModuleList(nn.Conv2d(c, channels, 3, padding=1, bias=False) for c in input_channels)
        self.blocks = nn.ModuleList(
            FusionBlock(channels, skip=index > 0, batch_norm=batch_norm, align_corners=align_corners)
            for index in range(len(input_channels))
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Maps at 1/4, 1/8, 1/16, 1/32 -> fused maps at 1/16, 1/8, 1/4, 1/2."""
        skips = [convolve(features) for convolve, features in zip(self.inputs, maps, strict=True)][::-1]
        finest_height, finest_width = skips[-1].shape[2:]
        sizes = [(skip.shape[2], skip.shape[3]) for skip in skips[1:]] + [(2 * finest_height, 2 * finest_width)]
        fused = [self.blocks[0](skips[0], None, sizes[0])]
        for block, skip, size in zip(self.blocks[1:], skips[1:], sizes[1:], strict=True):
            fused.append(block(fused[-1], skip, size))
        return fused
