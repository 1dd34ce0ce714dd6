"""What a protocol asks of a subject before the first picture: its task, and the names of its classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

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
