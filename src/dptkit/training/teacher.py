"""Labels for pictures that have none: a teacher's output, and how far each pixel of it can be believed.

B batch · K classes · h w crop
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from dptkit.config import ModelSpec, PreprocessConfig, SegmentationDecoding
from dptkit.data.sample import IGNORED
from dptkit.errors import ConfigError
from dptkit.model.dpt import DPT
from dptkit.shapes import Bool, Float, Int
from dptkit.training.confidence import view_confidence
from dptkit.training.teacher_config import Confidence, TeacherConfig
from dptkit.weights.load import LoadedModel, load_model


class PseudoLabels(NamedTuple):
    """target: inverse depth up to scale and shift, or class ids with 255 = ignored. confidence: 0 masks a pixel."""

    target: Float[Tensor, "B h w"] | Int[Tensor, "B h w"]
    confidence: Float[Tensor, "B h w"]

    def where(self, shown: Bool[Tensor, "B h w"]) -> PseudoLabels:
        """Nothing is known where no picture is."""
        target = self.target if self.target.is_floating_point() else torch.where(shown, self.target, IGNORED)
        return PseudoLabels(target, torch.where(shown, self.confidence, 0))

    def mixed(self, order: list[int], from_other: Bool[Tensor, "B h w"]) -> PseudoLabels:
        """Those of pictures in which a part shows another picture of the batch: `order` says which."""
        target, confidence = (
            torch.where(from_other, values[order], values) for values in (self.target, self.confidence)
        )
        return PseudoLabels(target, confidence)


@dataclass(frozen=True)
class Teacher:
    """A network that labels pictures as the student's loader normalises them.

    network: in evaluation mode, without gradients. task: what both are for. size: shorter side of its view.
    """

    network: Callable[[Tensor], Tensor]
    task: str
    preprocess: PreprocessConfig
    student: PreprocessConfig
    confidence: Confidence
    size: int | None = None

    @torch.no_grad()
    def label(self, image: Float[Tensor, "B 3 h w"]) -> PseudoLabels:
        """Labels at the pictures' own size. Raw outputs are affine in inverse depth, a metric model's too."""
        own = self._normalised_for_teacher(image)
        height, width = self._size(image.shape[2], image.shape[3])
        wanted = image.shape[2:]
        if self.task == "segmentation":
            probability, labels = self._predict(own, (height, width), wanted).softmax(1).max(1)
            sure = probability >= self.confidence.probability
            return PseudoLabels(torch.where(sure, labels, IGNORED), sure.float())
        depth = self._predict(own, (height, width), wanted)[:, 0]
        flipped = self._predict(own.flip(3), (height, width), wanted)[:, 0].flip(2)
        scaled = self._predict(own, (self._scaled(height), self._scaled(width)), wanted)[:, 0]
        rule = self.confidence
        confidence = view_confidence(
            depth, (flipped, scaled), tolerance=rule.tolerance, threshold=rule.threshold, quantile=rule.quantile
        )
        return PseudoLabels(depth, confidence)

    def _normalised_for_teacher(self, image: Tensor) -> Tensor:
        if (self.preprocess.mean, self.preprocess.std) == (self.student.mean, self.student.std):
            return image

        def channels(values: tuple[float, float, float]) -> Tensor:
            return image.new_tensor(values)[:, None, None]

        picture = image * channels(self.student.std) + channels(self.student.mean)
        return (picture - channels(self.preprocess.mean)) / channels(self.preprocess.std)

    def _predict(self, image: Tensor, size: tuple[int, int], wanted: torch.Size) -> Tensor:
        """The raw output for the image resized to `size`, resized to `wanted`."""
        if image.shape[2:] != size:
            image = F.interpolate(image, size=size, mode="bilinear", antialias=True)
        raw = self.network(image).float()
        return raw if raw.shape[2:] == wanted else F.interpolate(raw, size=wanted, mode="bilinear")

    def _size(self, height: int, width: int) -> tuple[int, int]:
        if self.size is None:
            return height, width
        multiple, scale = self.preprocess.multiple_of, self.size / min(height, width)
        return max(1, round(height * scale / multiple)) * multiple, max(1, round(width * scale / multiple)) * multiple

    def _scaled(self, side: int) -> int:
        """The second view's side: another multiple of what the network needs, near `confidence.scale` times it."""
        multiple, scale = self.preprocess.multiple_of, self.confidence.scale
        scaled = max(multiple, round(side * scale / multiple) * multiple)
        if scaled != side:
            return scaled
        return side - multiple if scale < 1 and side > multiple else side + multiple


def load_teacher(config: TeacherConfig) -> LoadedModel:
    """The teacher's network, frozen. Raises WeightsError or UnknownModelError in one line."""
    architecture, weights = config.architecture, config.weights
    loaded = load_model(weights) if architecture is None else load_model(architecture, weights)
    loaded.network.freeze()
    return loaded


def check_teacher(teacher: ModelSpec, student: ModelSpec, config: TeacherConfig, sizes: set[int]) -> None:
    """Raises ConfigError where a teacher cannot label for a student, or not pictures of these sizes."""
    if teacher.task != student.task:
        raise ConfigError(f"teacher: {teacher.name} is for {teacher.task}, the student for {student.task}")
    mine, theirs = student.decoding, teacher.decoding
    if (
        isinstance(mine, SegmentationDecoding)
        and isinstance(theirs, SegmentationDecoding)
        and mine.class_names != theirs.class_names
    ):
        raise ConfigError(f"teacher: {teacher.name} knows other classes than the student")
    multiple = teacher.preprocess.multiple_of
    for size in sizes if config.size is None else {config.size}:
        if size % multiple:
            raise ConfigError(f"teacher.size: {size} is not a multiple of {multiple}, which {teacher.name} needs")


def averaged_teacher(network: DPT) -> DPT:
    """A network like the student for its moving average to be put into: evaluation mode, no gradients."""
    copy = deepcopy(network).eval().requires_grad_(False)
    copy.set_gradient_checkpointing(False)
    return copy
