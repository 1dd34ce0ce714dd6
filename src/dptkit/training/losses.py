"""Every loss, in one place to import from. Each is a pure function of tensors; weights belong to the recipe."""

from __future__ import annotations

from dptkit.training.losses_depth import (
    affine_invariant_distillation_loss,
    align_scale_shift,
    gradient_matching_loss,
    output_scale_anchor,
    scale_invariant_log_loss,
    scale_shift_invariant_loss,
    scale_shift_invariant_mse,
)
from dptkit.training.losses_segmentation import segmentation_loss

__all__ = [
    "affine_invariant_distillation_loss",
    "align_scale_shift",
    "gradient_matching_loss",
    "output_scale_anchor",
    "scale_invariant_log_loss",
    "scale_shift_invariant_loss",
    "scale_shift_invariant_mse",
    "segmentation_loss",
]
