"""Learning from pictures without ground truth, beside those with it: the second batch of a step and its gradient.

B batch · K classes · h w crop · N pixels of the pictures without ground truth of a step, over all processes
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from dptkit.config import ModelSpec
from dptkit.data.augment import Augment
from dptkit.data.batches import MixedBatches
from dptkit.data.mixing import Mixture
from dptkit.data.strong_augment import StrongAugment
from dptkit.data.unlabelled import WithoutGroundTruth
from dptkit.data.views import MixedViews, ViewBatch, neighbours, view_loader
from dptkit.errors import TrainingError
from dptkit.image_io.atomic import write_bytes
from dptkit.model.dpt import DPT
from dptkit.shapes import Bool, Float
from dptkit.training.config import LossConfig, OnDisk, SegmentationLoss, TrainConfig
from dptkit.training.losses import affine_invariant_distillation_loss, segmentation_loss
from dptkit.training.objective import run_network
from dptkit.training.optimiser import MovingAverage
from dptkit.training.sources import build_cropping, open_source
from dptkit.training.teacher import PseudoLabels, Teacher, averaged_teacher, check_teacher, load_teacher
from dptkit.training.teacher_config import AVERAGE, TeacherConfig

_SEED = 1 << 40  # the unlabelled pictures' sequence is another than that of the labelled ones of the same run
RECORD = "teacher.sha256"
"""File in a run's folder: the hash of the teacher's weights, so that a run does not go on with another teacher."""


class SemiSupervised:
    """What a run with `config.teacher` does more than one without. What comes at a step is a function of the step.

    Raises DataError, WeightsError or ConfigError, when made, for what is missing or does not go together.
    """

    def __init__(self, config: TrainConfig, teacher: TeacherConfig, spec: ModelSpec, rank: int, ranks: int) -> None:
        self.config, self.teacher, self.spec = config, teacher, spec
        self.rank, self.ranks = rank, ranks
        self.datasets = [
            open_source(
                OnDisk(source.dataset, source.root, source.split, options=source.options), f"teacher.sources.{n}"
            )
            for n, source in enumerate(teacher.sources)
        ]
        self.loaded = None if teacher.weights == AVERAGE else load_teacher(teacher)
        sizes = {side for phase in config.phases for crop in phase.crops for side in crop}
        check_teacher(spec if self.loaded is None else self.loaded.spec, spec, teacher, sizes)
        self.network: DPT | None = None

    def record(self, folder: Path) -> None:
        """Note the teacher in a run's folder. Raises TrainingError if the run began with another."""
        if self.loaded is None:
            return
        path = folder / RECORD
        if path.is_file() and path.read_text("utf-8").strip() != self.loaded.sha256:
            raise TrainingError(f"{self.teacher.weights}: not the teacher that the run in {folder} began with")
        write_bytes(path, f"{self.loaded.sha256}\n".encode())

    def from_step(self, first: int) -> Iterator[ViewBatch | None]:
        """One batch per step from `first` on, to the end of its phase; None before `teacher.start`."""
        config, teacher = self.config, self.teacher
        phase = config.phase_at(first)
        number = config.phases.index(phase)
        end = config.phases[number + 1].start if number + 1 < len(config.phases) else config.steps
        begin = min(end, max(first, teacher.start))
        yield from repeat(None, begin - first)
        if begin == end:
            return
        batch_size = teacher.pictures_beside(phase.batch_size // self.ranks) * self.ranks
        mixture = Mixture(
            tuple(len(dataset) for dataset in self.datasets),
            config.seed + number + _SEED,
            batch_size,
            tuple(source.weight for source in teacher.sources),
        )
        # Both views are crops as the labelled pictures' are; what changes colours is the student's alone.
        weak = [
            Augment((WithoutGroundTruth(), *build_cropping(config.augment, size, training=True)))
            for size in phase.crops
        ]
        batches = MixedBatches(
            self.datasets, mixture, weak, end - phase.start, begin - phase.start, self.rank, self.ranks
        )
        chances = teacher.strong
        strong = StrongAugment(chances.colour, chances.grey, chances.blur, chances.jpeg, chances.strength)
        # The loader yields what CollateViews makes of a list of views.
        yield from view_loader(MixedViews(batches, strong, chances.cutmix), self.spec.preprocess, config.workers)

    def add_gradients(
        self, fabric: Fabric, student: Any, network: DPT, average: MovingAverage | None, batch: ViewBatch | None
    ) -> dict[str, Tensor]:
        """Add the loss of one batch to the gradients of `student`, a wrapped `network`; returns what to log.

        Processes do not share these gradients here: the backward pass of the labelled pictures, which follows, does.
        """
        if batch is None:
            zero = torch.zeros((), device=fabric.device)
            return {"pseudo": zero, "confidence": zero}
        images: ViewBatch = fabric.to_device(batch)
        with fabric.autocast():
            labels = self._teacher(fabric, network, average).label(images.clean)
        labels = labels.where(images.shown).mixed(neighbours(len(images.names)), images.from_other)
        pixels, total = labels.confidence.numel(), torch.zeros((), device=fabric.device)
        chunk = -(-len(images.names) // self.config.accumulate)
        for first in range(0, len(images.names), chunk):
            part = slice(first, first + chunk)
            with fabric.no_backward_sync(student):
                with fabric.autocast():  # Fabric's own is around forward, not around forward_auxiliary
                    raw, auxiliary = run_network(student, images.strong[part], self.config.loss)
                loss = pseudo_label_loss(
                    raw,
                    auxiliary,
                    PseudoLabels(labels.target[part], labels.confidence[part]),
                    images.from_other[part],
                    self.config.loss,
                    ignore_share=self.teacher.ignore_share,
                    pixels=pixels,
                )
                fabric.backward(self.teacher.weight * loss)
            total += loss.detach()
        return {"pseudo": total, "confidence": labels.confidence.mean()}

    def _teacher(self, fabric: Fabric, network: DPT, average: MovingAverage | None) -> Teacher:
        if self.network is None:
            self.network = averaged_teacher(network) if self.loaded is None else self.loaded.network
            self.network.to(fabric.device)
        if self.loaded is None:
            assert average is not None
            self.network.load_state_dict(average.tensors)
        preprocess = self.spec.preprocess if self.loaded is None else self.loaded.spec.preprocess
        teacher = self.teacher
        return Teacher(self.network, self.spec.task, preprocess, self.spec.preprocess, teacher.confidence, teacher.size)


def pseudo_label_loss(
    raw: Float[Tensor, "B K h w"],
    auxiliary: Float[Tensor, "B K a b"] | None,
    labels: PseudoLabels,
    from_other: Bool[Tensor, "B h w"],
    loss: LossConfig,
    *,
    ignore_share: float,
    pixels: int,
) -> Float[Tensor, ""]:
    """Student against pseudo labels, where these have confidence; a batch that has none gives 0.

    Depth: sum over the parts P of (sum of c in P) / N * L_P, with L_P the affine-invariant distillation loss inside P,
    and P the pixels of a picture's own and those that CutMix took from another: each has a scale and shift of its own.
    Segmentation: cross-entropy (and the auxiliary head's), times the share of the N pixels that are labelled.
    pixels: N. Dividing by all pixels, also masked ones, gives few labels little weight, as FixMatch does (Sohn et al.,
    2001.07685, section 2.2), and makes the mean over processes what one process computes: exactly with an ignore_share
    of 0, else but for how much confidence the ignored pixels of each have.
    Source of the parts and their weights: Yang et al., "Depth Anything" (2401.10891, section 3.2).
    """
    if isinstance(loss, SegmentationLoss):
        share = labels.confidence.sum() / pixels
        return share * segmentation_loss(raw, labels.target, auxiliary, auxiliary_weight=loss.auxiliary)
    student = raw[:, 0].float()
    total = student.new_zeros(())
    for part in (~from_other, from_other):
        valid = part & (labels.confidence > 0)
        found = affine_invariant_distillation_loss(
            student, labels.target, valid, confidence=labels.confidence, ignore_share=ignore_share
        )
        total = total + torch.where(valid, labels.confidence, 0).sum() / pixels * found
    return total
