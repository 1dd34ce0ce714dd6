"""What a protocol asks before the first picture: of a subject its task and classes, of a data set to be its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from dptkit.data.registry import DATASETS, reader_options
from dptkit.errors import ConfigError
from dptkit.evaluation.protocol import Protocol, SegmentationProtocol

_PREDICTS = {"depth": "depth", "segmentation": "classes"}
_SCORES = {"depth": "depth", "ordinal": "which of two points is nearer", "segmentation": "classes"}


def check_task(name: str, task: Literal["depth", "segmentation"], protocol: Protocol) -> None:
    """Raises ConfigError where `name`, which does `task`, predicts something else than the protocol scores."""
    wanted = "segmentation" if isinstance(protocol, SegmentationProtocol) else "depth"
    if task != wanted:
        raise ConfigError(
            f"{name} predicts {_PREDICTS[task]}, but protocol {protocol.name} scores {_SCORES[protocol.task]}: "
            f"use a {wanted} model, or another protocol"
        )


def check_classes(name: str, classes: Sequence[str], protocol: SegmentationProtocol) -> None:
    """Raises ConfigError naming the first id that `name` and the protocol do not call the same."""
    for index, (ours, wanted) in enumerate(zip(classes, protocol.classes, strict=False)):
        if ours != wanted:
            raise ConfigError(f"{name}: class {index} is {ours!r}, in protocol {protocol.name} it is {wanted!r}")
    if len(classes) != len(protocol.classes):
        shorter = min(len(classes), len(protocol.classes))
        longer = max(classes, protocol.classes, key=len)
        raise ConfigError(
            f"{name} has {len(classes)} classes, protocol {protocol.name} {len(protocol.classes)}: "
            f"class {shorter}, {longer[shorter]!r}, is in one of them only"
        )


def check_dataset(name: str, protocol: Protocol) -> None:
    """Raises ConfigError for a data set that the protocol is not made for. name: any, also one of no table."""
    if not protocol.datasets or name in protocol.datasets:
        return
    hint = f"to use it all the same, under a name that says so: --set datasets={name}"
    ordinal = name in DATASETS and DATASETS[name].kind == "ordinal"
    if ordinal != (protocol.task == "ordinal"):
        hint = f"{name} {'says only' if ordinal else 'does not say'} which of two points is nearer"
    raise ConfigError(f"{protocol.name} is made for {' and '.join(protocol.datasets)}, not {name}; {hint}")


def check_reader(name: str, protocol: Protocol) -> None:
    """Raises ConfigError where the protocol reads with options that the data set does not have."""
    unknown = [key for key in getattr(protocol, "dataset_options", {}) if key not in reader_options(name)]
    if unknown:
        raise ConfigError(
            f"{protocol.name} reads its data with {', '.join(unknown)}, which {name} does not have; "
            "--set dataset_options={} leaves out what it reads with"
        )
