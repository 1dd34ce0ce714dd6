"""How far a teacher can be believed, pixel by pixel: whether it says the same of other views of the same picture.

B batch · H W size · d the teacher's map of the picture · v its map of another view, put back in place · s(x) mean
|x - median(x)|, as in the losses

Maps are inverse depth up to scale and shift, so views are aligned before they are compared. All closed form, float32,
without gradient. A picture with NaN or infinity in a map, or whose map is constant, gets confidence 0 everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from dptkit.shapes import Float
from dptkit.training.losses_depth import align_scale_shift

ALIGNED_SHARE = 0.8
"""Share of the pixels that the alignment of two views rests on, those that fit best: views may differ in places."""
ALIGNMENTS = 3
"""How often that share is chosen anew; the first scale and shift, from all pixels, are somewhat off."""


@torch.no_grad()
def align_view(view: Float[Tensor, "B H W"], reference: Float[Tensor, "B H W"]) -> Float[Tensor, "B H W"]:
    """a v + b of each picture, next to `reference`, by least squares on the 80% of the pixels that fit best.

    First a = s(d) / s(v) and b = median(d) - a median(v); then, three times, least squares over the 80% of the pixels
    (rounded up) that the last a and b leave nearest: the concentration steps of least trimmed squares (Rousseeuw and
    Van Driessen, 2006). A view that is constant, or fits best upside down (a < 0), becomes their mean: it says nothing.
    """
    median_v, deviation_v = _median_and_deviation(view)
    median_d, deviation_d = _median_and_deviation(reference)
    scale = deviation_d / torch.where(deviation_v > 0, deviation_v, torch.inf)
    aligned = scale * (view - median_v) + median_d
    for _ in range(ALIGNMENTS):
        residual = (aligned - reference).abs().flatten(1)
        last = residual.shape[1] - int((1 - ALIGNED_SHARE) * residual.shape[1] + 1e-9) - 1
        kept = (residual <= residual.sort(dim=1).values[:, last : last + 1]).view_as(view)
        scale, shift = align_scale_shift(view, reference, kept)
        mean = torch.where(kept, reference, 0).sum(dim=(1, 2)) / kept.sum(dim=(1, 2))
        fitted = scale[:, None, None] * view + shift[:, None, None]
        aligned = torch.where((scale > 0)[:, None, None], fitted, mean[:, None, None])
    return aligned


@torch.no_grad()
def view_confidence(
    reference: Float[Tensor, "B H W"],
    views: Sequence[Float[Tensor, "B H W"]],
    *,
    tolerance: float,
    threshold: float = 0.0,
    quantile: float = 0.0,
) -> Float[Tensor, "B H W"]:
    """c = exp(-u / tolerance), in [0, 1]; u = max over the views of |a v + b - d| / s(d), see `align_view`.

    |a v + b - d| is the distance to the range that d has in the 3x3 pixels around: where an edge lies, maps of two
    views differ by up to a pixel, and edges are what a student should learn.
    threshold: confidence below it becomes 0, which masks the pixel. quantile: so do, in each picture, pixels below
    this quantile of its confidence (before the threshold; those that share the quantile's value stay).
    """
    d = reference.float()
    _, deviation = _median_and_deviation(d)
    high = F.max_pool2d(d[:, None], 3, 1, 1)[:, 0]
    low = -F.max_pool2d(-d[:, None], 3, 1, 1)[:, 0]
    worst = torch.zeros_like(d)
    for view in views:
        aligned = align_view(view.float(), d)
        worst = torch.maximum(worst, (aligned - high).clamp(min=0) + (low - aligned).clamp(min=0))
    # Rounding of a map that is constant is no scale either; as in the losses, 64 rounding units.
    noise = 64 * torch.finfo(d.dtype).eps * d.abs().mean(dim=(1, 2), keepdim=True)
    finite = torch.stack([d, *views]).isfinite().all(dim=3).all(dim=2).all(dim=0)[:, None, None]
    usable = finite & (deviation > noise)
    confidence = torch.where(usable, torch.exp(-worst / torch.where(usable, deviation, 1) / tolerance), 0)
    if quantile > 0:
        ordered = confidence.flatten(1).sort(dim=1).values
        bound = ordered[:, int(quantile * (ordered.shape[1] - 1))][:, None, None]
        confidence = torch.where(confidence < bound, 0, confidence)
    return torch.where(confidence < threshold, 0, confidence)


def _median_and_deviation(values: Tensor) -> tuple[Tensor, Tensor]:
    """Median (of an even number the lower middle one) and s, each [B, 1, 1]."""
    ordered = values.flatten(1).sort(dim=1).values
    middle = ordered[:, (ordered.shape[1] - 1) // 2][:, None, None]
    return middle, (values - middle).abs().mean(dim=(1, 2), keepdim=True)
