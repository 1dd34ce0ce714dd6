"""The loss for semantic segmentation.

B batch · K classes · H W size of the labels · h w, a b sizes of the logits
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from dptkit.shapes import Float, Int, UInt8


def segmentation_loss(
    logits: Float[Tensor, "B K h w"],
    labels: Int[Tensor, "B H W"] | UInt8[Tensor, "B H W"],
    auxiliary_logits: Float[Tensor, "B K a b"] | None = None,
    *,
    auxiliary_weight: float = 0.2,
    ignore: int = 255,
    class_weights: Float[Tensor, "K"] | None = None,
) -> Float[Tensor, ""]:
    """Cross-entropy of the logits + auxiliary_weight * cross-entropy of the auxiliary head's.

    -ln softmax(logits)[label], mean over the pixels of the batch whose label is not `ignore`; 0 with zero gradient
    where there are none. With `class_weights` each pixel counts by its label's, and the mean is the weighted one.
    Logits of another size are resized to the labels first, bilinearly with corners aligned, as PyTorch-Encoding does
    and as the network's own last upsampling. float32 arithmetic, also under autocast.
    Source: Ranftl et al., ICCV 2021, section 4.2 (weight 0.2); zhanghang1989/PyTorch-Encoding, `SegmentationLosses`.
    Raises IndexError (on a GPU: a device assertion) for a label that is neither a class nor `ignore`.
    """
    loss = _cross_entropy(logits, labels, ignore, class_weights)
    if auxiliary_logits is None:
        return loss
    return loss + auxiliary_weight * _cross_entropy(auxiliary_logits, labels, ignore, class_weights)


def _cross_entropy(logits: Tensor, labels: Tensor, ignore: int, class_weights: Tensor | None) -> Tensor:
    logits = logits if logits.dtype.itemsize == 8 else logits.float()
    if logits.shape[2:] != labels.shape[1:]:
        logits = F.interpolate(logits, size=labels.shape[1:], mode="bilinear", align_corners=True)
    known = labels != ignore
    if class_weights is None:
        return F.cross_entropy(logits, labels.long(), ignore_index=ignore, reduction="sum") / known.sum().clamp(min=1)
    weights = class_weights.to(logits.dtype)
    total = F.cross_entropy(logits, labels.long(), weights, ignore_index=ignore, reduction="sum")
    weight = weights[torch.where(known, labels, 0).long()][known].sum()
    return torch.where(weight > 0, total / torch.where(weight > 0, weight, 1), 0)
