"""What every encoder returns.

B batch · H W image · gh gw token grid · D token width · P prefix tokens
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor


class EncoderFeatures(NamedTuple):
    """Four tapped stages, shallow to deep.

    maps: image-like features [B, C, h, w]; for a transformer stage the patch tokens as [B, D, gh, gw] (a view).
    prefixes: prefix tokens [B, P, D] of the same stage, the readout token first; None for a convolutional stage.
    """

    maps: tuple[Tensor, Tensor, Tensor, Tensor]
    prefixes: tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]


@runtime_checkable
class Encoder(Protocol):
    """Image [B, 3, H, W] -> four features. H and W are multiples of `stride`."""

    stride: int

    def __call__(self, image: Tensor) -> EncoderFeatures: ...
