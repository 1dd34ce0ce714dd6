"""What a run minimises: the configured losses of one batch, and how several processes share their normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dptkit.config import DepthDecoding
from dptkit.data.batches import Batch
from dptkit.data.sample import IGNORED
from dptkit.model.dpt import DPT
from dptkit.postprocess import SMALLEST_INVERSE_DEPTH
from dptkit.training.config import DepthLoss, LossConfig, MetricLoss, SegmentationLoss
from dptkit.training.losses import (
    gradient_matching_loss,
    output_scale_anchor,
    scale_invariant_log_loss,
    scale_shift_invariant_loss,
    scale_shift_invariant_mse,
    segmentation_loss,
)

TARGET_CLIP = 20.0
"""Normalised targets are clipped there: a few pixels at the camera would outweigh the picture otherwise."""

_SMALLEST_MEASURE = 1e-12  # below any that is not zero


class Objective(NamedTuple):
    """`total` is what is minimised; `parts` are its unweighted terms, by name, for the log.

    measure: by how much this batch counts beside other parts of a step, see `batch_measure`.
    """

    total: Tensor
    parts: dict[str, Tensor]
    measure: Tensor


def run_network(network: Any, image: Tensor, loss: LossConfig) -> tuple[Tensor, Tensor | None]:
    """Raw output, and the auxiliary logits where the loss has a use for them. `network`: a DPT, perhaps wrapped."""
    if isinstance(loss, SegmentationLoss) and loss.auxiliary > 0:
        raw, auxiliary = network.forward_auxiliary(image)
        return raw, auxiliary
    return network(image), None


def freeze_unused(network: DPT, loss: LossConfig) -> None:
    """An auxiliary head that the loss has no use for does not learn: processes would wait for its gradients."""
    if network.auxiliary_head is not None and not (isinstance(loss, SegmentationLoss) and loss.auxiliary > 0):
        network.auxiliary_head.requires_grad_(False)


def compute_objective(
    raw: Tensor, auxiliary: Tensor | None, batch: Batch, loss: LossConfig, decoding: DepthDecoding | None
) -> Objective:
    """The losses of a batch. `decoding`: of a metric model, whose raw output becomes metres first."""
    measure = batch_measure(batch, loss)
    if isinstance(loss, SegmentationLoss):
        weights = _class_weights(loss, raw.device)
        total = segmentation_loss(raw, batch.target, auxiliary, auxiliary_weight=loss.auxiliary, class_weights=weights)
        return Objective(total, {"segmentation": total.detach()}, measure)
    if isinstance(loss, MetricLoss):
        return _metric(raw[:, 0].float(), batch, loss, decoding, measure)
    return _relative(raw[:, 0].float(), batch, loss, measure)


def batch_measure(batch: Batch, loss: LossConfig) -> Tensor:
    """What the means of a batch's losses are divided by: valid pixels; of labels, the weights of their classes.

    Parts of a step, on other processes or one after the other, each count by it, and are one batch together.
    """
    if not isinstance(loss, SegmentationLoss):
        return batch.valid.sum().to(torch.float32)
    known = batch.target[batch.target != IGNORED]
    weights = _class_weights(loss, known.device)
    if weights is None:
        return torch.tensor(known.numel(), dtype=torch.float32, device=known.device)
    # A label beyond the classes is the loss's to complain of.
    return weights[known.clamp(max=len(weights) - 1)].sum()


def share_of_step(part: Objective, everywhere: Tensor, processes: int) -> Tensor:
    """What a part adds to the objective of its step; everywhere: the measure of the whole step, over all processes.

    Gradients are added up over the parts of a process and averaged over processes: hence their number.
    """
    return part.total * (part.measure * processes / everywhere.clamp(min=_SMALLEST_MEASURE))


def mean_objective(parts: Sequence[Objective]) -> Objective:
    """What the parts of a step come to together, for the log."""
    if len(parts) == 1:
        return parts[0]
    measure = torch.stack([part.measure for part in parts])
    share = measure / measure.sum().clamp(min=_SMALLEST_MEASURE)

    def mean(values: list[Tensor]) -> Tensor:
        return (torch.stack(values).detach() * share).sum()

    terms = {name: mean([part.parts[name] for part in parts]) for name in parts[0].parts}
    return Objective(mean([part.total for part in parts]), terms, measure.sum())


def _class_weights(loss: SegmentationLoss, device: torch.device) -> Tensor | None:
    return torch.tensor(loss.class_weights, device=device) if loss.class_weights else None


def _relative(prediction: Tensor, batch: Batch, loss: DepthLoss, measure: Tensor) -> Objective:
    target, valid = batch.target, batch.valid
    if loss.normalisation == "median":
        data = scale_shift_invariant_loss(prediction, target, valid, trim=loss.trim, clip=TARGET_CLIP)
        clip: float | None = TARGET_CLIP
    else:
        target = _unit_range(target, valid)
        data, clip = scale_shift_invariant_mse(prediction, target, valid), None
    parts, total = {"data": data.detach()}, data
    if loss.gradient:
        gradient = gradient_matching_loss(
            prediction, target, valid, scales=loss.scales, alignment=loss.normalisation, clip=clip
        )
        parts["gradient"], total = gradient.detach(), total + loss.gradient * gradient
    if loss.anchor:
        anchor = output_scale_anchor(prediction, high=loss.anchor_high)
        parts["anchor"], total = anchor.detach(), total + loss.anchor * anchor
    return Objective(total, parts, measure)


def _unit_range(target: Tensor, valid: Tensor) -> Tensor:
    """The valid inverse depth of each picture in [0, 1], as MiDaS has it; 0 where it is constant.

    Least squares are in the target's scale: a data set in 1/m and one in pixels of disparity would else weigh as the
    squares of their numbers do.
    """
    low = torch.where(valid, target, torch.inf).amin(dim=(1, 2), keepdim=True)
    high = torch.where(valid, target, -torch.inf).amax(dim=(1, 2), keepdim=True)
    varies = high > low
    return torch.where(valid & varies, (target - low) / torch.where(varies, high - low, 1), 0)


def _metric(raw: Tensor, batch: Batch, loss: MetricLoss, decoding: DepthDecoding | None, measure: Tensor) -> Objective:
    assert decoding is not None
    inverse = (decoding.scale * raw + decoding.shift).clamp(min=SMALLEST_INVERSE_DEPTH)
    metres = 1 / inverse
    data = scale_invariant_log_loss(
        metres, batch.target, batch.valid, variance_focus=loss.variance_focus, weight=loss.weight
    )
    parts, total = {"data": data.detach()}, data
    if loss.gradient:
        valid = batch.valid & (batch.target > 0)
        gradient = gradient_matching_loss(metres.log(), torch.where(valid, batch.target, 1).log(), valid)
        parts["gradient"], total = gradient.detach(), total + loss.gradient * gradient
    return Objective(total, parts, measure)


class Outputs(NamedTuple):
    """What a network made of a batch: raw output, and the auxiliary logits where the loss asks for them."""

    raw: Tensor
    auxiliary: Tensor | None


def select_source(batch: Batch, raw: Tensor, auxiliary: Tensor | None, source: int) -> tuple[Batch, Outputs]:
    """What of a batch and of its outputs belongs to one data set; perhaps nothing."""
    chosen = batch.source == source
    part = batch._replace(
        image=batch.image[chosen],
        target=batch.target[chosen],
        valid=batch.valid[chosen],
        source=batch.source[chosen],
        names=tuple(name for name, own in zip(batch.names, chosen.tolist(), strict=True) if own),
    )
    return part, Outputs(raw[chosen], None if auxiliary is None else auxiliary[chosen])


def slice_batch(batch: Batch, number: int, parts: int) -> Batch:
    """Part `number` of `parts`, in order, as even as can be."""
    samples = batch.image.shape[0]
    chosen = slice(number * samples // parts, (number + 1) * samples // parts)
    return batch._replace(
        image=batch.image[chosen],
        target=batch.target[chosen],
        valid=batch.valid[chosen],
        source=batch.source[chosen],
        names=batch.names[chosen],
    )


def shared_parameters(network: DPT) -> list[Tensor]:
    """What all data sets train: every parameter that learns."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]
