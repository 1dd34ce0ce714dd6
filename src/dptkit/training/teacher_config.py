"""What a run learns from pictures without ground truth, and from whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from dptkit.errors import ConfigError
from dptkit.training.config_data import FORBID, NonNegative, Positive, Share

AVERAGE = "average"
"""`TeacherConfig.weights` of a run without a teacher: its own moving average takes the part."""


@dataclass(frozen=True)
class Strong:
    """Chances of the student's distortions, see `dptkit.data.strong_augment`. strength: of the colour jitter."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    colour: Share = 0.8
    grey: Share = 0.2
    blur: Share = 0.5
    jpeg: Share = 0.3
    cutmix: Share = 0.5
    strength: Share = 1.0


@dataclass(frozen=True)
class Confidence:
    """Which pixels of the teacher's are believed, see `dptkit.training.confidence` for depth.

    scale: of the second view's sides. tolerance: disagreement, in mean absolute deviations of the picture's inverse
    depth, at which confidence is 1/e. threshold: confidence below it masks a pixel; so do, in each picture, the least
    confident pixels up to `quantile`. probability: for segmentation, what the likeliest class needs at least.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    scale: Annotated[float, Field(gt=0, le=4)] = 0.75
    tolerance: Annotated[float, Field(gt=0)] = 0.3
    threshold: Share = 0.3
    quantile: Annotated[float, Field(ge=0, lt=1)] = 0.0
    probability: Share = 0.9


@dataclass(frozen=True)
class Pictures:
    """A folder of pictures. Any other registered data set may be named too: its ground truth is not looked at.

    In a configuration, the folder's path alone does.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    root: str
    dataset: str = "pictures"
    split: str = "train"
    weight: NonNegative = 1.0
    options: dict[str, str | int | float | bool | list[str]] = field(default_factory=dict)


def _named_root(value: object) -> object:
    return {"root": value} if isinstance(value, str) else value


@dataclass(frozen=True)
class TeacherConfig:
    """Pictures without ground truth beside those with it, and who labels them.

    weights: a model file of ours, a published model's name, or "average": the student's own moving average.
    architecture: the published model whose network `weights` holds, where the file does not say.
    size: shorter side that pictures are resized to for the teacher, by default that of the phase's crops.
    share: of the pictures of a step that come without ground truth, beside the phase's `batch_size` with it.
    weight: of the loss on them. ignore_share: of the pixels of every picture, those where student and teacher differ
    most, that is left out. start: the step from which on they are learned from.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    sources: Annotated[tuple[Annotated[Pictures, BeforeValidator(_named_root)], ...], Field(min_length=1)]
    weights: str = AVERAGE
    architecture: str | None = None
    size: Positive | None = None
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    weight: NonNegative = 1.0
    ignore_share: Share = 0.1
    start: Annotated[int, Field(ge=0)] = 0
    strong: Strong = Strong()
    confidence: Confidence = Confidence()

    def pictures_beside(self, labelled: int) -> int:
        """How many pictures without ground truth come beside so many with it, at least one."""
        return max(1, round(labelled * self.share / (1 - self.share)))

    def check(self, ema_decay: float, steps: int) -> None:
        """Raises ConfigError for what does not go together."""
        if self.weights == AVERAGE and not ema_decay:
            raise ConfigError("teacher.weights: average is the moving average: set ema_decay, such as 0.999")
        if self.weights == AVERAGE and self.architecture is not None:
            raise ConfigError("teacher.architecture: the moving average has the student's")
        if self.start >= steps:
            raise ConfigError(f"teacher.start: step {self.start} is not below steps ({steps})")
        if not sum(source.weight for source in self.sources):
            raise ConfigError("teacher.sources: all weights are 0")


def _named_weights(value: object) -> object:
    return {"weights": value} if isinstance(value, str) else value


Teacher = Annotated[TeacherConfig, BeforeValidator(_named_weights)]
"""A `TeacherConfig`; a single text is its `weights`, so that `teacher=FILE` replaces those of a section."""
