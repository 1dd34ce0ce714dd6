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
from dptkit.training.residuals import (
    aligned_residual,
    check_shapes,
    check_share,
    least_squares,
    normalised_residual,
    root,
    smallest,
    working,
)

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
    check_shapes(prediction, target, valid)
    check_share("trim", trim)
    residual, mask = normalised_residual(working(prediction), working(target), valid, clip)
    total = torch.stack([values.sum() for values, _ in smallest(residual.abs(), mask, 1 - trim)]).sum()
    return total / (2 * mask.sum().clamp(min=1))


def scale_shift_invariant_mse(
    prediction: Float[Tensor, "B H W"], target: Float[Tensor, "B H W"], valid: Bool[Tensor, "B H W"]
) -> Float[Tensor, ""]:
    """MiDaS' L_ssimse: 1/(2M) * sum (a p + b - d)^2 with the image's best a and b, see `align_scale_shift`.

    The same for any affine change of p; quadratic in the target's scale (MiDaS brings targets to [0, 1] first).
    a and b are taken as constants in the backward pass: at the least-squares optimum the derivatives of the sum with
    respect to them are zero, so the gradient is exact.
    """
    check_shapes(prediction, target, valid)
    p, d = working(prediction), working(target)
    residual, mask = aligned_residual(p, d, valid, fixed_alignment=True)
    return residual.square().sum() / (2 * mask.sum().clamp(min=1))


def align_scale_shift(
    prediction: Float[Tensor, "B H W"], target: Float[Tensor, "B H W"], valid: Bool[Tensor, "B H W"]
) -> tuple[Float[Tensor, "B"], Float[Tensor, "B"]]:
    """Scale a and shift b that minimise sum (a p + b - d)^2 over the valid pixels of each image; differentiable.

    a = cov(p, d) / var(p), b = mean(d) - a mean(p): the normal equations of MiDaS, equation 4, centred, so that a large
    offset does not ruin them. a may be negative.
    A constant prediction: a = 0, b = mean(d). No valid pixel: a = b = 0 (as the authors' gist for a singular system).
    """
    check_shapes(prediction, target, valid)
    p, d = working(prediction), working(target)
    scale, mean_p, mean_d, _ = least_squares(p, d, valid)
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
    check_shapes(prediction, target, valid)
    if scales < 1:
        raise ValueError(f"scales must be 1 or more, not {scales}")
    p, d = working(prediction), working(target)
    if alignment == "median":
        residual, mask = normalised_residual(p, d, valid, clip)
    elif clip is not None:
        raise ValueError("clip is a number of median deviations; it has no meaning with least squares")
    else:
        residual, mask = aligned_residual(p, d, valid)
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
    check_shapes(prediction_m, target_m, valid)
    check_share("variance_focus", variance_focus)
    p, d = working(prediction_m), working(target_m)
    mask = valid & (d > 0)
    ones = torch.ones_like(d)
    g = torch.where(mask, p, ones).clamp(min=_SMALLEST_DEPTH).log() - torch.where(mask, d, ones).log()
    count = mask.sum().clamp(min=1)
    mean = g.sum() / count
    variance = torch.where(mask, g - mean, 0).square().sum() / count
    return weight * root(variance + (1 - variance_focus) * mean.square())


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
    check_shapes(student, teacher, valid, confidence)
    check_share("ignore_share", ignore_share)
    residual, mask = normalised_residual(working(student), working(teacher.detach()), valid, None)
    kept = smallest(residual.abs(), mask, 1 - ignore_share)
    weights = [working(c).flatten()[index] for c, (_, index) in zip(confidence.detach(), kept, strict=True)]
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
    p = working(prediction)
    size = root(p.square().mean())
    spread = root((p - p.mean(dim=(1, 2), keepdim=True)).square().mean())
    return (size.clamp(min=high) / high).log().square() + (1 - spread.clamp(max=low) / low).square()
