"""Reassemble (paper section 3.1, eq. 1 to 5): Read -> Concatenate -> Resample_s, tokens to maps at 1/s.

B batch · D token width · P prefix tokens · gh gw token grid · C channels · h w map
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from dptkit.model.encoders.base import EncoderFeatures
from dptkit.shapes import Float


class ReadIgnore(nn.Module):
    """Paper eq. 2: the readout token is dropped."""

    def forward(
        self, patches: Float[Tensor, "B D gh gw"], prefix: Float[Tensor, "B P D"]
    ) -> Float[Tensor, "B D gh gw"]:
        return patches


class ReadAdd(nn.Module):
    """Paper eq. 3: the readout token is added to every patch token.

    With a distillation token the mean of the two is added (isl-org/DPT `AddReadout`).
    """

    def forward(
        self, patches: Float[Tensor, "B D gh gw"], prefix: Float[Tensor, "B P D"]
    ) -> Float[Tensor, "B D gh gw"]:
        return patches + prefix[:, :2].mean(dim=1)[:, :, None, None]


class ReadProject(nn.Module):
    """Paper eq. 4: [patch, readout] -> Linear 2D to D -> exact GELU. Only the first prefix token is read.

    The linear layer is applied to the two halves apart, which spares the copies of the readout token and half of
    the products; sums are the same up to float rounding.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(2 * width, width)

    def forward(
        self, patches: Float[Tensor, "B D gh gw"], prefix: Float[Tensor, "B P D"]
    ) -> Float[Tensor, "B D gh gw"]:
        width = patches.shape[1]
        of_patches, of_readout = self.project.weight.split(width, dim=1)
        readout = F.linear(prefix[:, :1], of_readout, self.project.bias)
        tokens = F.linear(patches.permute(0, 2, 3, 1), of_patches) + readout[:, :, None]  # [B, gh, gw, D]
        return F.gelu(tokens).permute(0, 3, 1, 2)


def build_read(readout: Literal["ignore", "add", "project"], width: int) -> nn.Module:
    """The paper's Read operation by name."""
    if readout == "project":
        return ReadProject(width)
    return ReadAdd() if readout == "add" else ReadIgnore()


def build_resample(scale: Literal[4, 8, 16, 32], channels: int) -> nn.Module:
    """Resample_s from the token grid at 1/16 to 1/s.

    The paper's text describes 3x3 transpose convolutions; the published networks have kernel = stride = 4 and 2.
    """
    if scale == 32:
        return nn.Conv2d(channels, channels, 3, stride=2, padding=1)
    if scale == 16:
        return nn.Identity()
    factor = 16 // scale
    return nn.ConvTranspose2d(channels, channels, factor, stride=factor)


class ReassembleTokens(nn.Module):
    """One transformer stage: Read, project to the stage's channels (Concatenate's 1x1), Resample."""

    def __init__(self, read: nn.Module, projection: nn.Module, resample: nn.Module) -> None:
        super().__init__()
        self.read = read
        self.projection = projection
        self.resample = resample

    def forward(self, patches: Float[Tensor, "B D gh gw"], prefix: Float[Tensor, "B P D"]) -> Float[Tensor, "B C h w"]:
        return self.resample(self.projection(self.read(patches, prefix)))


class Reassemble(nn.Module):
    """Four stages to maps at 1/4, 1/8, 1/16 and 1/32. A convolutional stage (None) is a map already."""

    def __init__(self, stages: Sequence[ReassembleTokens | None]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stage if stage is not None else nn.Identity() for stage in stages)

    def forward(self, features: EncoderFeatures) -> list[Tensor]:
        return [
            stage(image_like) if prefix is None else stage(image_like, prefix)
            for stage, image_like, prefix in zip(self.stages, features.maps, features.prefixes, strict=True)
        ]
