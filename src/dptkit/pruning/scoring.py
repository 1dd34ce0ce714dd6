"""Importance from pictures: on the training loss where there is ground truth, else on the network's own output."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from dptkit.config import DepthDecoding, ModelSpec, PreprocessConfig
from dptkit.data.augment import Augment, Augmentation, RandomCrop, ResizeToHold, ToInverseDepth
from dptkit.data.batches import Batch, Collate, MixedSample
from dptkit.data.sample import Dataset
from dptkit.errors import DataError
from dptkit.model.dpt import DPT
from dptkit.pruning.importance import Importance, importance_of_gates
from dptkit.training.config import DepthLoss, LossConfig, MetricLoss, SegmentationLoss
from dptkit.training.objective import compute_objective

PROBES = 4
"""Random directions of the output, in place of its every pixel."""

_RELATIVE = ("depth_m", "inverse_depth")


def importance_on_data(
    spec: ModelSpec, network: DPT, dataset: Dataset, count: int, advance: Callable[[], None] = lambda: None
) -> list[Importance]:
    """Of `count` pictures from all over the data set, cropped to the model's input size; the same every time.

    With ground truth: the loss that such a model is trained with. Without: half the squared change of the raw output,
    which is what distillation from the unpruned network would have to undo. To first order it is that of the output's
    derivative by the gate, whose squared norm is estimated with `PROBES` random signs for each pixel (Hutchinson).

    Raises DataError where the ground truth is not for such a model, or a picture is broken.
    """
    batches = _batches(spec, dataset, count)
    loss = _loss_for(spec)
    decoding = spec.decoding if isinstance(spec.decoding, DepthDecoding) else None

    def of_truth(raw: Tensor, number: int) -> Sequence[Tensor]:
        return [compute_objective(raw, None, batches[number], loss, decoding).total]

    def of_output(raw: Tensor, number: int) -> Sequence[Tensor]:
        signs = torch.Generator().manual_seed(number)
        return [
            (raw * (torch.randint(0, 2, raw.shape, generator=signs) * 2 - 1)).sum() / raw.numel() ** 0.5
            for _ in range(PROBES)
        ]

    images = [batch.image for batch in batches]
    known = any(bool(batch.valid.any()) for batch in batches)
    return importance_of_gates(network, images, of_truth if known else of_output, advance)


def _loss_for(spec: ModelSpec) -> LossConfig:
    if spec.task == "segmentation":
        return SegmentationLoss(auxiliary=0.0)
    metric = isinstance(spec.decoding, DepthDecoding) and spec.decoding.quantity == "depth_m"
    return MetricLoss() if metric else DepthLoss()


def _batches(spec: ModelSpec, dataset: Dataset, count: int) -> list[Batch]:
    relative = spec.task == "depth" and isinstance(_loss_for(spec), DepthLoss)
    steps: list[Augmentation] = [ToInverseDepth()] if relative else []
    augment = Augment((*steps, ResizeToHold(spec.preprocess.size), RandomCrop(spec.preprocess.size)))
    wanted: tuple[str, ...] = _RELATIVE if relative else ("depth_m",)
    if spec.task == "segmentation":
        wanted = ("labels",)
    found = []
    for index in np.unique(np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int)).tolist():
        sample = dataset[index]
        if sample.valid.any() and sample.quantity not in wanted:
            raise DataError(
                f"{dataset.name}: {sample.name} holds {sample.quantity} in {sample.unit}; {spec.name} needs "
                f"{' or '.join(wanted)}, or pictures without ground truth (--dataset pictures)"
            )
        found.append(_batch(spec.preprocess, MixedSample(augment(sample, np.random.default_rng(index)), 0)))
    return found


def _batch(preprocess: PreprocessConfig, sample: MixedSample) -> Batch:
    return Collate(preprocess.mean, preprocess.std)([sample])
