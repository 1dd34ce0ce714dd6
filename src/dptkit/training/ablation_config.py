"""What an ablation is: a training configuration, variants of its model, seeds, and what they are scored on.

`configs/ablation/` has those of the DPT paper. The training configuration is named by `base`, relative to the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, TypeAdapter, ValidationError

from dptkit.errors import ConfigError
from dptkit.training.config import TrainConfig, parse_config
from dptkit.training.config_data import FORBID, OnDisk
from dptkit.training.config_mistakes import describe_mistake
from dptkit.training.config_overrides import apply_overrides, read_yaml, take_shortcuts
from dptkit.training.miniature import SIDE

MEAN = "mean"
"""The column of the mean over data sets; no data set may have this name."""

_TRAIN = "train."
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PRETRAINED = ("weights", "encoder_weights", "imagenet_stem", "body")
_SET_BY = {"model": "the variant has a key model", "seed": "the file has seeds", "name": "it is the variant's"}
_MINIATURE: dict[str, Any] = {
    "steps": 300,
    "phases": [{"start": 0, "size": SIDE, "batch_size": 8}],
    "checkpoint_every": 100,
    "log_every": 50,
    "workers": 0,
    "validate_every": 0,
}
_MINIATURE_RATES = {"encoder_lr": 5e-4, "decoder_lr": 1e-3}
"""The paper's are for pretrained encoders; from random weights they would learn nothing in so few steps."""


@dataclass(frozen=True)
class Variant:
    """model: fields of `ModelStart` that replace those of the base. train: whole keys of the base, such as sources.

    paper: its numbers, by data set and `MEAN`. not_built: why it cannot be trained here; then its row has the paper's
    numbers alone. against: the variant that it is compared with; none: the first that is built.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    model: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    paper: dict[str, float] = field(default_factory=dict)
    not_built: str = ""
    against: str = ""


@dataclass(frozen=True)
class ScoredSet:
    """A data set by its registered name, under `root`. options: its reader's own. pictures: so many, evenly chosen
    from all of them; 0 for all."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    dataset: str
    root: str
    split: str = "val"
    options: dict[str, str | int | float | bool | list[str]] = field(default_factory=dict)
    pictures: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True)
class Scoring:
    """protocol: a name in `dptkit.evaluation.protocols`. metric: one of its own. data: by the column's name."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    data: Annotated[dict[str, ScoredSet], Field(min_length=1)]
    protocol: str = "folder"
    metric: str = "abs_rel"


@dataclass(frozen=True)
class AblationFile:
    """The file's content. `seeds`: every variant is trained with each."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    name: str
    base: str
    variants: Annotated[dict[str, Variant], Field(min_length=1)]
    scoring: Scoring
    title: str = ""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)


@dataclass(frozen=True)
class Ablation:
    """Ready to run. configs: of each variant that is built, with the seed still to be set."""

    name: str
    title: str
    seeds: tuple[int, ...]
    scoring: Scoring
    variants: dict[str, Variant]
    configs: dict[str, TrainConfig]
    miniature: bool


def read_ablation(path: Path, overrides: Sequence[str] = (), *, miniature: bool = False) -> Ablation:
    """An ablation's file and its base, with `key.sub=value` replacing values, and `train.key=value` those of the base.

    miniature: small networks, `SIDE` pixels, few steps, random weights, whatever the files say; overrides come after.
    Raises ConfigError naming the file and the key, with the nearest known key for an unknown one.
    """
    content = read_yaml(path)
    of_base = [override.removeprefix(_TRAIN) for override in overrides if override.startswith(_TRAIN)]
    own = [override for override in overrides if not override.startswith(_TRAIN)]
    _refer_to_base(own)
    apply_overrides(content, own, take_shortcuts(content, str(path)), AblationFile.__dataclass_fields__)
    file = _parse(content, str(path))
    _check(file, path)
    base_path = path.parent / file.base
    base = read_yaml(base_path)
    shortcuts = take_shortcuts(base, str(base_path))
    if miniature:
        _make_small(base)
    apply_overrides(base, of_base, shortcuts, TrainConfig.__dataclass_fields__)
    configs = {
        name: _variant_config(base, variant, f"{path}: variants.{name}", f"{file.name}-{name}", miniature)
        for name, variant in file.variants.items()
        if not variant.not_built
    }
    for name, config in configs.items():
        _check_held_out(config, file.scoring, f"{path}: variants.{name}")
    return Ablation(file.name, file.title or file.name, file.seeds, file.scoring, file.variants, configs, miniature)


def _refer_to_base(overrides: Sequence[str]) -> None:
    for override in overrides:
        top = override.partition("=")[0].partition(".")[0]
        if top in TrainConfig.__dataclass_fields__ and top not in AblationFile.__dataclass_fields__:
            raise ConfigError(f"{override}: no key {top}; did you mean {_TRAIN}{top}?")


def _make_small(base: dict[str, Any]) -> None:
    base.update(deepcopy(_MINIATURE))
    base["optimiser"] = {**(base.get("optimiser") or {}), **_MINIATURE_RATES}


def _variant_config(base: Mapping[str, Any], variant: Variant, where: str, name: str, miniature: bool) -> TrainConfig:
    model = base.get("model")
    if not isinstance(model, dict):
        raise ConfigError(f"{where}: the base has no model: {{architecture: ...}}")
    model = {**model, **variant.model}
    if miniature:
        model = {key: value for key, value in model.items() if key not in _PRETRAINED} | {"miniature": True}
    for key in ("model", "seed", "name"):
        if key in variant.train:
            raise ConfigError(f"{where}.train.{key}: is not set here: {_SET_BY[key]}")
    config = parse_config({**base, **variant.train, "name": name, "model": model}, where)
    if config.devices * config.nodes > 1:
        raise ConfigError(f"{where}: devices, nodes: an ablation trains in one process")
    return config


def _parse(content: Mapping[str, Any], where: str) -> AblationFile:
    try:
        return TypeAdapter(AblationFile).validate_python(content)
    except ValidationError as error:
        raise ConfigError(f"{where}: {describe_mistake(error, content, AblationFile)}") from None


def _check(file: AblationFile, path: Path) -> None:
    for kind, names in (("variants", file.variants), ("scoring.data", file.scoring.data)):
        for name in names:
            if not _NAME.fullmatch(name):
                raise ConfigError(f"{path}: {kind}.{name}: letters, digits, '-', '_' and '.' only, it names a folder")
    if MEAN in file.scoring.data:
        raise ConfigError(f"{path}: scoring.data.{MEAN}: is the mean over data sets; name it otherwise")
    if len(set(file.seeds)) != len(file.seeds):
        raise ConfigError(f"{path}: seeds: {list(file.seeds)} has one twice")
    if all(variant.not_built for variant in file.variants.values()):
        raise ConfigError(f"{path}: variants: none is built")
    for name, variant in file.variants.items():
        if variant.not_built and (variant.model or variant.train):
            raise ConfigError(f"{path}: variants.{name}: is not built, so it has no model")
        other = file.variants.get(variant.against)
        if variant.against and (other is None or other.not_built or variant.against == name):
            built = ", ".join(known for known, one in file.variants.items() if not one.not_built and known != name)
            raise ConfigError(f"{path}: variants.{name}.against: {variant.against} is not one of {built}")


def _check_held_out(config: TrainConfig, scoring: Scoring, where: str) -> None:
    """Raises ConfigError where a variant would be scored on what it learned."""
    trained = {
        (source.dataset, source.root, source.split, str(sorted(source.options.items()))): number
        for number, source in enumerate(config.sources)
        if isinstance(source, OnDisk)
    }
    for name, scored in scoring.data.items():
        number = trained.get((scored.dataset, scored.root, scored.split, str(sorted(scored.options.items()))))
        if number is not None:
            raise ConfigError(
                f"{where}: scoring.data.{name} is sources.{number}, which is trained on; name a split that is held out"
            )
