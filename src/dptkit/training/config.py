"""What a training run is: typed, validated before anything heavy is imported, the same from file and command line.

Its parts: `config_model` (start), `config_data` (sources, augmentation), `config_objective` (losses, optimiser).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, TypeAdapter, ValidationError

from dptkit.errors import ConfigError
from dptkit.training.config_data import FORBID, Augment, OnDisk, Phase, Positive, Procedural, Source
from dptkit.training.config_mistakes import describe_mistake
from dptkit.training.config_model import ModelStart
from dptkit.training.config_objective import DepthLoss, LossConfig, MetricLoss, Optimiser, SegmentationLoss
from dptkit.training.config_overrides import apply_overrides, read_yaml, take_shortcuts
from dptkit.training.teacher_config import Teacher

__all__ = [
    "UNSTATED",
    "Augment",
    "DepthLoss",
    "LossConfig",
    "MetricLoss",
    "ModelStart",
    "OnDisk",
    "Optimiser",
    "Phase",
    "Procedural",
    "SegmentationLoss",
    "Source",
    "TrainConfig",
    "parse_config",
    "read_config",
    "to_plain",
]


UNSTATED = "unstated"
"""`TrainConfig.license` and `trained_on` of a file that says nothing of them."""


@dataclass(frozen=True)
class TrainConfig:
    """One run. `steps` counts optimiser steps; a step sees `batch_size` of its phase, over all processes together.

    panels_every: steps between pictures of predictions, 0 for none. tensorboard: write its events too.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    name: str
    model: ModelStart
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    loss: LossConfig
    steps: Positive
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    optimiser: Optimiser = field(default_factory=Optimiser)
    augment: Augment = field(default_factory=Augment)
    seed: Annotated[int, Field(ge=0, lt=2**62)] = 0
    workers: Annotated[int, Field(ge=0)] = 2
    accumulate: Positive = 1
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    channels_last: bool = False
    gradient_checkpointing: bool = False
    sync_batch_norm: bool = False
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    devices: Positive = 1
    nodes: Positive = 1
    validation: tuple[Source, ...] = ()
    validation_pictures: Positive = 64
    validate_every: Annotated[int, Field(ge=0)] = 0
    checkpoint_every: Positive = 1000
    keep_checkpoints: Positive = 2
    log_every: Positive = 50
    tensorboard: bool = False
    panels_every: Annotated[int, Field(ge=0)] = 0
    license: str = UNSTATED
    trained_on: str = UNSTATED
    teacher: Teacher | None = None

    def __post_init__(self) -> None:
        starts = [phase.start for phase in self.phases]
        if starts[0] != 0 or starts != sorted(set(starts)) or starts[-1] >= self.steps:
            raise ConfigError(f"phases: starts {starts} must rise from 0 and stay below steps ({self.steps})")
        processes = self.devices * self.nodes
        for number, phase in enumerate(self.phases):
            if phase.batch_size % processes or phase.batch_size < processes * self.accumulate:
                raise ConfigError(
                    f"phases.{number}.batch_size: {phase.batch_size} pictures cannot be shared among {processes} "
                    f"processes (devices x nodes), each with at least {self.accumulate} (accumulate)"
                )
        if self.validate_every and not self.validation:
            raise ConfigError("validate_every: there are no validation sources; set it to 0")
        for problem in (self.model.problem(), self.augment.problem()):
            if problem is not None:
                raise ConfigError(problem)
        if self.augment.cutmix and isinstance(self.loss, DepthLoss):
            raise ConfigError("augment.cutmix: not with relative_depth: scale and shift are a picture's own")
        if self.model.classes is not None and not isinstance(self.loss, SegmentationLoss):
            raise ConfigError("model.classes: goes with a segmentation loss only")
        if self.model.metric_cap_m is not None and not isinstance(self.loss, MetricLoss):
            raise ConfigError("model.metric_cap_m: goes with a metric loss only")
        if self.optimiser.multi_objective == "mgda" and self.precision == "16-mixed":
            raise ConfigError("optimiser.multi_objective: mgda needs gradients that are not scaled: no 16-mixed")
        if self.teacher is not None:
            self.teacher.check(self.ema_decay, self.steps)
            if self.optimiser.multi_objective == "mgda":
                raise ConfigError("optimiser.multi_objective: mgda weighs data sets with ground truth: no teacher")

    def phase_at(self, step: int) -> Phase:
        """The phase that a step belongs to."""
        return [phase for phase in self.phases if phase.start <= step][-1]

    def doubts(self) -> list[str]:
        """What can be meant, and mostly is not; each one line."""
        found = []
        warmup, steps = self.optimiser.warmup_steps, self.steps
        if warmup >= steps and self.optimiser.encoder_lr + self.optimiser.decoder_lr > 0:
            found.append(f"optimiser.warmup_steps: {warmup} of {steps} steps: learning rates stay below what is set")
        for number, held in enumerate(self.validation):
            for other, source in enumerate(self.sources):
                if isinstance(held, OnDisk) and isinstance(source, OnDisk):
                    same = (held.dataset, held.root, held.options) == (source.dataset, source.root, source.options)
                    if same and source.split in (held.split, "all"):
                        found.append(f"validation.{number}: its pictures are trained on too, in sources.{other}")
        return found


def read_config(path: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """A YAML file, with `key.sub=value`, or a short name of the file's own, replacing values (in YAML too).

    Relative paths inside stay as they are written, relative to the working folder. Raises ConfigError naming the file
    and the key, with the nearest known key for an unknown one.
    """
    content = read_yaml(path)
    shortcuts = take_shortcuts(content, str(path))
    apply_overrides(content, overrides, shortcuts, TrainConfig.__dataclass_fields__)
    return parse_config(content, str(path))


def parse_config(content: Mapping[str, Any], where: str) -> TrainConfig:
    """Plain values -> TrainConfig. Raises ConfigError."""
    try:
        return TypeAdapter(TrainConfig).validate_python(content)
    except ValidationError as error:
        raise ConfigError(f"{where}: {describe_mistake(error, content, TrainConfig)}") from None


def to_plain(config: TrainConfig) -> dict[str, Any]:
    """The configuration as plain values, which `parse_config` gives back equal."""
    return asdict(config)
