"""What a training run is: typed, validated before anything heavy is imported, the same from file and command line.

Its parts: `config_model` (start), `config_data` (sources, augmentation), `config_objective` (losses, optimiser).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, TypeAdapter, ValidationError

from dptkit.errors import ConfigError
from dptkit.training.config_data import FORBID, Augment, OnDisk, Phase, Positive, Procedural, Share, Source
from dptkit.training.config_model import ModelStart
from dptkit.training.config_objective import DepthLoss, LossConfig, MetricLoss, Optimiser, SegmentationLoss
from dptkit.training.config_overrides import apply_overrides, read_yaml, take_shortcuts
from dptkit.training.teacher_config import TEACHER_SECTIONS, Teacher

__all__ = [
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
    seed: int = 0
    workers: Annotated[int, Field(ge=0)] = 2
    accumulate: Positive = 1
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    channels_last: bool = False
    gradient_checkpointing: bool = False
    sync_batch_norm: bool = False
    ema_decay: Share = 0.0
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
    license: str = "unstated"
    trained_on: str = "unstated"
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
            raise ConfigError("validate_every: there are no validation sources")
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
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        value = first["input"]
        said = f", not {value!r}" if isinstance(value, (str, float)) and "keyword" not in first["type"] else ""
        raise ConfigError(f"{where}: {key}: {first['msg']}{said}{_nearest(str(first['loc'][-1]))}") from None


def to_plain(config: TrainConfig) -> dict[str, Any]:
    """The configuration as plain values, which `parse_config` gives back equal."""
    return asdict(config)


def _nearest(key: str) -> str:
    data = (Procedural, OnDisk, Augment, Phase)
    sections = (TrainConfig, ModelStart, *data, DepthLoss, MetricLoss, SegmentationLoss, Optimiser, *TEACHER_SECTIONS)
    known = {name for section in sections for name in section.__dataclass_fields__}
    near = get_close_matches(key, known - {key}, n=1) if key not in known else []
    return f"; did you mean {near[0]}?" if near else ""
