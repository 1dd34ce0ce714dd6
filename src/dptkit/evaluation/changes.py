"""A protocol with some of its choices made otherwise, under a name that says so."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from dptkit.errors import ConfigError
from dptkit.evaluation.depth_metrics import DEPTH_METRICS
from dptkit.evaluation.depth_scoring import MAP_METRICS, VIDEO_METRICS
from dptkit.evaluation.protocol import (
    DepthProtocol,
    OrdinalProtocol,
    Protocol,
    differing_fields,
    protocol_from_dict,
    protocol_to_dict,
)
from dptkit.evaluation.scoring import ORDINAL_METRICS

SEGMENTATION_METRICS = ("mean_iou", "pixel_accuracy", "mean_accuracy", "boundary_iou")

_FIXED = ("name", "source", "task")
_LISTS = ("datasets", "metrics", "classes", "scales")


def change_protocol(protocol: Protocol, changes: Sequence[str]) -> Protocol:
    """Set each "field=value". Values are JSON, or text where that is what the field takes; "a,b" for lists.

    The result is named "NAME (changed: field=value, ...)", without the changes that change nothing. Raises ConfigError
    for what is not written so, an unknown field (with the nearest name), a value the field cannot take, or a metric
    that the task does not have.
    """
    values = protocol_to_dict(protocol)
    known = [field.name for field in fields(protocol) if field.name not in _FIXED]
    for change in changes:
        key, equals, text = change.partition("=")
        key = key.strip().replace("-", "_")
        if not equals:
            raise ConfigError(f"--set: {change!r} is not KEY=VALUE")
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise ConfigError(f"--set {change}: a protocol of {protocol.task} has no field {key!r} to set; {hint}")
        values[key] = _value(key, text.strip())
    changed = protocol_from_dict(values)
    _check_metrics(changed)
    different = differing_fields(protocol, changed)
    if not different:
        return protocol
    named = ", ".join(f"{key}={_shown(new)}" for key, (_, new) in different.items())
    return protocol_from_dict(protocol_to_dict(changed) | {"name": f"{protocol.name} (changed: {named})"})


def _value(key: str, text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        value = [part.strip() for part in text.split(",") if part.strip()] if key in _LISTS else text
        if key == "scales":
            return [_number(part) for part in value]
        return value
    return [value] if key in _LISTS and not isinstance(value, list) else value


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text  # the protocol says what is wrong with it


def _check_metrics(protocol: Protocol) -> None:
    if isinstance(protocol, DepthProtocol):
        known: tuple[str, ...] = (*DEPTH_METRICS, *MAP_METRICS, *VIDEO_METRICS)
    else:
        known = tuple(ORDINAL_METRICS) if isinstance(protocol, OrdinalProtocol) else SEGMENTATION_METRICS
    for name in protocol.metrics:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise ConfigError(f"--set metrics: no metric {name!r} of {protocol.task}; {hint}")
    if isinstance(protocol, DepthProtocol):
        check_video_metrics(protocol)


def check_video_metrics(protocol: DepthProtocol) -> None:
    """Raises ConfigError where a metric of videos is asked for and pictures are fitted one by one."""
    for name in VIDEO_METRICS:
        if name in protocol.metrics and protocol.alignment_scope != "video":
            raise ConfigError(f"{name} compares frames of one video: set alignment_scope=video too")


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)) and value and not any(isinstance(part, (dict, list, tuple)) for part in value):
        return "[" + ",".join("null" if part is None else str(part) for part in value) + "]"
    return value if isinstance(value, str) else json.dumps(value)
