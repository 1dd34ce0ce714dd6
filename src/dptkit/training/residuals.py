"""Residuals of depth losses: maps brought to one scale, whatever is not valid left out.

Letters and what is common to all losses: `dptkit.training.losses_depth`.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Below this mean deviation, absolute or in rounding units of the values, a map counts as constant.
_SMALLEST_DEVIATION = 1e-8
_SMALLEST_DEVIATION_IN_EPS = 64


def working(values: Tensor) -> Tensor:
    """float32, but float64 as it is."""
    return values if values.dtype == torch.float64 else values.float()


def check_shapes(*maps: Tensor) -> None:
    """Broadcasting [B, 1, H, W] against [B, H, W] would compare every image with every other."""
    shapes = [tuple(values.shape) for values in maps]
    if len(shapes[0]) != 3 or len(set(shapes)) != 1:
        raise ValueError(f"all maps must have one shape [B, H, W], not {shapes}")


def check_share(name: str, share: float) -> None:
    """Raises ValueError outside of [0, 1]."""
    if not 0 <= share <= 1:
        raise ValueError(f"{name} must be between 0 and 1, not {share}")


def root(square: Tensor) -> Tensor:
    """Square root with gradient 0, not infinity, at 0."""
    zero = square == 0
    return torch.where(zero, 0, torch.where(zero, 1, square).sqrt())


def _has_scale(deviation: Tensor, magnitude: Tensor, dtype: torch.dtype) -> Tensor:
    """Also where the deviation is NaN, so that a network that diverged is not taken for a constant."""
    return ~(deviation <= _SMALLEST_DEVIATION + _SMALLEST_DEVIATION_IN_EPS * torch.finfo(dtype).eps * magnitude)


def _normalise(values: Tensor, valid: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """x^ [B, H, W] and which images [B, 1, 1] have a scale; 0 where not valid, as values are, and without scale.

    The median is selected, not sorted for: a sixth of the time. Image by image, because the batched form also returns
    positions, which CUDA refuses to do deterministically.
    """
    counted = torch.where(valid, values, torch.nan)
    median = torch.stack([image.nanmedian() for image in counted])[:, None, None]
    centred = torch.where(valid, values - median, 0)
    deviation = centred.abs().sum(dim=(1, 2), keepdim=True) / count.clamp(min=1)
    deviation = torch.where(deviation.isinf(), torch.nan, deviation)
    magnitude = values.detach().abs().sum(dim=(1, 2), keepdim=True) / count.clamp(min=1)
    usable = _has_scale(deviation.detach(), magnitude, values.dtype)
    return centred / torch.where(usable, deviation, torch.inf), usable


def normalised_residual(p: Tensor, d: Tensor, valid: Tensor, clip: float | None) -> tuple[Tensor, Tensor]:
    """p^ - d^ [B, H, W], 0 outside the mask, and the mask: valid pixels of images where both have a scale."""
    count = valid.sum(dim=(1, 2), keepdim=True)
    p, p_usable = _normalise(torch.where(valid, p, 0), valid, count)
    d, d_usable = _normalise(torch.where(valid, d, 0), valid, count)
    if clip is not None:
        d = d.clamp(-clip, clip)
    usable = p_usable & d_usable
    return (p - d) * usable, valid & usable


def least_squares(p: Tensor, d: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scale, mean of p, mean of d, and which images have a scale in both; each [B]."""
    count = valid.sum(dim=(1, 2)).clamp(min=1)

    def mean(values: Tensor) -> Tensor:
        return torch.where(valid, values, 0).sum(dim=(1, 2)) / count

    x, y = torch.where(valid, p, 0), torch.where(valid, d, 0)
    mean_x, mean_y = mean(x), mean(y)
    centred_x, centred_y = x - mean_x[:, None, None], y - mean_y[:, None, None]
    variance = mean(centred_x.square())
    x_usable = _has_scale(variance.detach().sqrt(), mean(x.detach().abs()), p.dtype)
    y_usable = _has_scale(mean(centred_y.detach().square()).sqrt(), mean(y.detach().abs()), d.dtype)
    scale = torch.where(x_usable, mean(centred_x * centred_y) / torch.where(x_usable, variance, 1), 0)
    return scale, mean_x, mean_y, x_usable & y_usable


def aligned_residual(p: Tensor, d: Tensor, valid: Tensor, fixed_alignment: bool = False) -> tuple[Tensor, Tensor]:
    """a p + b - d [B, H, W], 0 outside the mask, and the mask, as `normalised_residual`."""
    alignment = least_squares(p.detach() if fixed_alignment else p, d, valid)
    scale, mean_p, mean_d, usable = (value[:, None, None] for value in alignment)
    mask = valid & usable
    p, d = torch.where(mask, p, 0), torch.where(mask, d, 0)
    return torch.where(mask, scale * (p - mean_p) - (d - mean_d), 0), mask


def smallest(residual: Tensor, mask: Tensor, share: float) -> list[tuple[Tensor, Tensor]]:
    """Per image the smallest `share` of the residuals inside the mask, unordered, and their places in the image."""
    # The added 1e-9 keeps 0.7 * 10 at 7 whatever the rounding of 1 - 0.3.
    kept = (mask.sum(dim=(1, 2)).double() * share + 1e-9).floor().long().tolist()
    hidden = torch.where(mask, residual, torch.inf).flatten(1)
    chosen = (image.topk(k, largest=False, sorted=False) for image, k in zip(hidden, kept, strict=True))
    return [(values, index) for values, index in chosen]
