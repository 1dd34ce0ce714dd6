"""Losses for depth and inverse depth: maps in, one number out.

B batch · H W size · M valid pixels of an image · p prediction · d target or teacher
t(x) = median of x over the valid pixels (of an even number the lower middle one, as `torch.median`) ·
s(x) = mean |x - t(x)| · x^ = (x - t(x)) / s(x)

Common to all:
- Arithmetic in float32, also on bfloat16 maps and under autocast; float64 stays float64.
- Pixels that are not valid have no influence, whatever they hold (NaN too).
- Sums over the batch are divided by the valid pixels of the batch ("batch-based", the default of the authors' gist
  dvdhfnr/732c26b61a0e63a0abc8a5d769dbebd0; the paper prints a mean of the images' means, the same thing where all
  images have equally many valid pixels). So sparse images weigh less, and an image without valid pixels does nothing.
- An image whose prediction or target is constant has no scale. The scale-free losses treat it like one without valid
  pixels: zero loss, zero gradient, not counted.
- A batch that has nothing to compare gives 0 with a zero gradient, never NaN. NaN or infinity predicted at a valid
  pixel makes the loss NaN or infinite, also where large residuals are left out.

"MiDaS" below: Ranftl et al., "Towards Robust Monocular Depth Estimation", TPAMI 2022, section 5.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dptkit.shapes import Bool, Float

# Below this mean deviation, absolute or in rounding units of the values, a map counts as constant.
_SMALLEST_DEVIATION = 1e-8
_SMALLEST_DEVIATION_IN_EPS = 64
# Metres. Predictions at or below have no logarithm; a micrometre is nearer than any camera sees.
_SMALLEST_DEPTH = 1e-6


def scale_shift_invariant_loss(
    prediction: Float[Tensor, "B H W"],
    target: Float[Tensor, "B H W"],
    valid: Bool[Tensor, "B H W"],
    *,
    trim: float = 0.2,
    clip: float | None = None,
) -> Float[Tensor, ""]:
    """MiDaS' trimmed loss L_ssitrim, on inverse depth: 1/(2M) * sum of the U smallest |p^ - d^|, U = (1 - trim) M.

    trim: share of the pixels of every image, those with the largest residuals, that is left out: wrong ground truth.
        The normaliser keeps all M. 0 gives L_ssimae. Outliers still reach the loss through s(d), which is a mean.
    clip: the normalised target is limited to +-clip first, against images whose median deviation is tiny.

    The same for a*p + b and a*d + b with a > 0. Gradients flow through t(p) and s(p); of pixels that share the median
    each gets an equal part.
    Departures: U is rounded down; `clip` is ours. Public ports that trim across the whole batch, or align by least
    squares here, compute something else.
    """
    _check_shapes(prediction, target, valid)
    _check_share("trim", trim)
    residual, mask = _normalised_residual(_working(prediction), _working(target), valid, clip)
    total = torch.stack([values.sum() for values, _ in _smallest(residual.abs(), mask, 1 - trim)]).sum()
    return total / (2 * mask.sum().clamp(min=1))


def scale_shift_invariant_mse(
    prediction: Float[Tensor, "B H W"], target: Float[Tensor, "B H W"], valid: Bool[Tensor, "B H W"]
) -> Float[Tensor, ""]:
    """MiDaS' L_ssimse: 1/(2M) * sum (a p + b - d)^2 with the image's best a and b, see `align_scale_shift`.

    The same for any affine change of p; quadratic in the target's scale (MiDaS brings targets to [0, 1] first).
    a and b are taken as constants in the backward pass: at the least-squares optimum the derivatives of the sum with
    respect to them are zero, so the gradient is exact.
    """
    _check_shapes(prediction, target, valid)
    p, d = _working(prediction), _working(target)
    residual, mask = _aligned_residual(p, d, valid, fixed_alignment=True)
    return residual.square().sum() / (2 * mask.sum().clamp(min=1))


def align_scale_shift(
    prediction: Float[Tensor, "B H W"], target: Float[Tensor, "B H W"], valid: Bool[Tensor, "B H W"]
) -> tuple[Float[Tensor, "B"], Float[Tensor, "B"]]:
    """Scale a and shift b that minimise sum (a p + b - d)^2 over the valid pixels of each image; differentiable.

    a = cov(p, d) / var(p), b = mean(d) - a mean(p): the normal equations of MiDaS, equation 4, centred, so that a large
    offset does not ruin them. a may be negative.
    A constant prediction: a = 0, b = mean(d). No valid pixel: a = b = 0 (as the authors' gist for a singular system).
    """
    _check_shapes(prediction, target, valid)
    p, d = _working(prediction), _working(target)
    scale, mean_p, mean_d, _ = _least_squares(p, d, valid)
    return scale, mean_d - scale * mean_p


def gradient_matching_loss(
    prediction: Float[Tensor, "B H W"],
    target: Float[Tensor, "B H W"],
    valid: Bool[Tensor, "B H W"],
    *,
    scales: int = 4,
    alignment: Literal["median", "least_squares"] = "median",
    clip: float | None = None,
) -> Float[Tensor, ""]:
    """MiDaS' regulariser L_reg: sum over k < scales of 1/M_k * sum |dx R_k| + |dy R_k|, sharp edges where d has them.

    R: the aligned residual, p^ - d^ for "median" (the same for a*p + b and a*d + b, a > 0), a p + b - d for
        "least_squares" (in the target's scale). R_k takes every 2^k-th row and column of R, from the first, unpooled.
    dx, dy: forward differences, where both pixels are valid. M_k: valid pixels of R_k.
    clip: as in `scale_shift_invariant_loss`; only with "median".

    MiDaS weighs it by 0.5 and Depth Anything V2 by 2 relative to the loss above; here the weight is 1.
    M_k follows the authors' gist and MegaDepth; the paper prints one M for all scales, which would all but silence the
    coarse ones.
    """
    _check_shapes(prediction, target, valid)
    if scales < 1:
        raise ValueError(f"scales must be 1 or more, not {scales}")
    p, d = _working(prediction), _working(target)
    if alignment == "median":
        residual, mask = _normalised_residual(p, d, valid, clip)
    elif clip is not None:
        raise ValueError("clip is a number of median deviations; it has no meaning with least squares")
    else:
        residual, mask = _aligned_residual(p, d, valid)
    loss = residual.new_zeros(())
    for step in (2**k for k in range(scales)):
        r, m = residual[:, ::step, ::step], mask[:, ::step, ::step]
        along_x = torch.where(m[:, :, 1:] & m[:, :, :-1], (r[:, :, 1:] - r[:, :, :-1]).abs(), 0)
        along_y = torch.where(m[:, 1:] & m[:, :-1], (r[:, 1:] - r[:, :-1]).abs(), 0)
        loss = loss + (along_x.sum() + along_y.sum()) / m.sum().clamp(min=1)
    return loss


def scale_invariant_log_loss(
    prediction_m: Float[Tensor, "B H W"],
    target_m: Float[Tensor, "B H W"],
    valid: Bool[Tensor, "B H W"],
    *,
    variance_focus: float = 0.85,
    weight: float = 10.0,
) -> Float[Tensor, ""]:
    """Eigen's scale-invariant error on metric depth: weight * sqrt(mean g^2 - variance_focus * mean(g)^2), g = ln p/d.

    Means over the valid pixels of the whole batch, as BTS (`silog_loss`) and AdaBins, whose 0.85 and 10 are the
    defaults. Depth Anything V2: 0.5 and 1. Eigen et al., NIPS 2014: 0.5, per image, without the root.
    variance_focus = 1 makes it the same for a*p, one a > 0 for the batch. A constant map is no special case here: it
    has a scale.
    Departures: computed as var(g) + (1 - variance_focus) mean(g)^2, which is the same and never negative; a gradient
    of 0 instead of infinity at a perfect match; targets of 0 m or less are not valid; predictions are limited to a
    micrometre from below (without gradient there: the head must be positive by itself).
    """
    _check_shapes(prediction_m, target_m, valid)
    _check_share("variance_focus", variance_focus)
    p, d = _working(prediction_m), _working(target_m)
    mask = valid & (d > 0)
    ones = torch.ones_like(d)
    g = torch.where(mask, p, ones).clamp(min=_SMALLEST_DEPTH).log() - torch.where(mask, d, ones).log()
    count = mask.sum().clamp(min=1)
    mean = g.sum() / count
    variance = torch.where(mask, g - mean, 0).square().sum() / count
    return weight * _root(variance + (1 - variance_focus) * mean.square())


def affine_invariant_distillation_loss(
    student: Float[Tensor, "B H W"],
    teacher: Float[Tensor, "B H W"],
    valid: Bool[Tensor, "B H W"] | None = None,
    *,
    confidence: Float[Tensor, "B H W"] | None = None,
    ignore_share: float = 0.1,
) -> Float[Tensor, ""]:
    """Depth Anything's loss on pseudo labels: sum c |p^ - d^| / sum c over the pixels kept, d the teacher's output.

    ignore_share: share of the pixels of every image, those with the largest |p^ - d^|, that is left out and not
        counted (V2 ignores the top 10%; V1 nothing). The number kept is rounded down.
    confidence: weights c >= 0, by default 1. They do not enter median and deviation, nor the choice of pixels.
    The same for affine changes of student and of teacher with positive scale. No gradient to teacher and confidence.
    Source: Yang et al., "Depth Anything" (2401.10891, equation 4) and "Depth Anything V2" (2406.09414, appendix).
    """
    valid = torch.ones_like(student, dtype=torch.bool) if valid is None else valid
    confidence = torch.ones_like(student) if confidence is None else confidence
    _check_shapes(student, teacher, valid, confidence)
    _check_share("ignore_share", ignore_share)
    residual, mask = _normalised_residual(_working(student), _working(teacher.detach()), valid, None)
    kept = _smallest(residual.abs(), mask, 1 - ignore_share)
    weights = [_working(c).flatten()[index] for c, (_, index) in zip(confidence.detach(), kept, strict=True)]
    total = torch.stack([(w * values).sum() for w, (values, _) in zip(weights, kept, strict=True)]).sum()
    weight = torch.stack([w.sum() for w in weights]).sum()
    return torch.where(weight > 0, total / torch.where(weight > 0, weight, 1), 0)


def output_scale_anchor(
    prediction: Float[Tensor, "B H W"], *, low: float = 0.1, high: float = 10.0
) -> Float[Tensor, ""]:
    """Keeps a scale-free output where float16 can hold it: ln(max(size, high)/high)^2 + (1 - min(spread, low)/low)^2.

    size: root mean square of the batch's outputs. spread: the same after subtracting each image's mean.
    Zero, with zero gradient, where size <= high and spread >= low; an offset is thereby at most high.

    Why it is needed: the gradient of a scale-free loss is orthogonal to p, so every step away lengthens p; a trial
    drifted to 1e6. Why of this form: the anchor depends on p by the images' means and variances only, so its gradient
    is, per image, a combination of p and 1, along which no scale-and-shift-free loss changes. It cannot argue with
    them, inside the zone or outside. (A mean absolute value would: its gradient is sign(p).) The logarithm falls off
    as 1/size, as the scale-free losses' own gradient does; the second term's gradient stays bounded however flat the
    output. A constant output (spread exactly 0) gets no gradient from the second term: it has no direction.
    Ours; no published recipe has it. Give high some room above what pretrained weights put out: MiDaS' reach thousands.
    """
    if not 0 < low < high:
        raise ValueError(f"0 < low < high must hold, not {low} and {high}")
    p = _working(prediction)
    size = _root(p.square().mean())
    spread = _root((p - p.mean(dim=(1, 2), keepdim=True)).square().mean())
    return (size.clamp(min=high) / high).log().square() + (1 - spread.clamp(max=low) / low).square()


def _working(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


def _check_shapes(*maps: Tensor) -> None:
    """Broadcasting [B, 1, H, W] against [B, H, W] would compare every image with every other."""
    shapes = [tuple(values.shape) for values in maps]
    if len(shapes[0]) != 3 or len(set(shapes)) != 1:
        raise ValueError(f"all maps must have one shape [B, H, W], not {shapes}")


def _check_share(name: str, share: float) -> None:
    if not 0 <= share <= 1:
        raise ValueError(f"{name} must be between 0 and 1, not {share}")


def _root(square: Tensor) -> Tensor:
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


def _normalised_residual(p: Tensor, d: Tensor, valid: Tensor, clip: float | None) -> tuple[Tensor, Tensor]:
    """p^ - d^ [B, H, W], 0 outside the mask, and the mask: valid pixels of images where both have a scale."""
    count = valid.sum(dim=(1, 2), keepdim=True)
    p, p_usable = _normalise(torch.where(valid, p, 0), valid, count)
    d, d_usable = _normalise(torch.where(valid, d, 0), valid, count)
    if clip is not None:
        d = d.clamp(-clip, clip)
    usable = p_usable & d_usable
    return (p - d) * usable, valid & usable


def _least_squares(p: Tensor, d: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
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


def _aligned_residual(p: Tensor, d: Tensor, valid: Tensor, fixed_alignment: bool = False) -> tuple[Tensor, Tensor]:
    """a p + b - d [B, H, W], 0 outside the mask, and the mask, as `_normalised_residual`."""
    alignment = _least_squares(p.detach() if fixed_alignment else p, d, valid)
    scale, mean_p, mean_d, usable = (value[:, None, None] for value in alignment)
    mask = valid & usable
    p, d = torch.where(mask, p, 0), torch.where(mask, d, 0)
    return torch.where(mask, scale * (p - mean_p) - (d - mean_d), 0), mask


def _smallest(residual: Tensor, mask: Tensor, share: float) -> list[tuple[Tensor, Tensor]]:
    """Per image the smallest `share` of the residuals inside the mask, unordered, and their places in the image."""
    # The added 1e-9 keeps 0.7 * 10 at 7 whatever the rounding of 1 - 0.3.
    kept = (mask.sum(dim=(1, 2)).double() * share + 1e-9).floor().long().tolist()
    hidden = torch.where(mask, residual, torch.inf).flatten(1)
    chosen = (image.topk(k, largest=False, sorted=False) for image, k in zip(hidden, kept, strict=True))
    return [(values, index) for values, index in chosen]
