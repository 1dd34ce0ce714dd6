"""Plain ViT encoder (DPT-Base, DPT-Large).

B batch · H W image · D width
"""

from __future__ import annotations

from torch import Tensor, nn

from dptkit.model.encoders.base import EncoderFeatures
from dptkit.model.encoders.transformer import Transformer
from dptkit.shapes import Float


class ViTEncoder(nn.Module):
    """Non-overlapping patches -> transformer with four taps (paper section 3.1; timm `vit_*_patch16_384`)."""

    def __init__(self, transformer: Transformer, patch_size: int) -> None:
        super().__init__()
        if len(transformer.out_indices) != 4:
            raise ValueError(f"a plain ViT is tapped at four blocks, not {len(transformer.out_indices)}")
        self.stride = patch_size
        width = transformer.prefix_tokens.shape[-1]
        self.patch_embedding = nn.Conv2d(3, width, patch_size, stride=patch_size)
        self.transformer = transformer

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> EncoderFeatures:
        maps, prefixes = self.transformer(self.patch_embedding(image))
        first, second, third, fourth = maps
        return EncoderFeatures((first, second, third, fourth), (prefixes[0], prefixes[1], prefixes[2], prefixes[3]))
