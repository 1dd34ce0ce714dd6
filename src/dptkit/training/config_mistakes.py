"""What is wrong with a configuration, as one line: which key, what it must be, the nearest key that there is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

if TYPE_CHECKING:
    from pydantic import ValidationError

_WORDS = {
    "missing": "is missing",
    "tuple_type": "must be a list in brackets",
    "too_short": "must not be empty",
    "dataclass_type": "must hold keys and values",
    "model_attributes_type": "must hold keys and values",
    "union_tag_not_found": "must say its kind",
}


def describe_mistake(error: ValidationError, content: Mapping[str, Any], root: type) -> str:
    """The first of pydantic's complaints of `content`, as "KEY: what it must be, not VALUE".

    root: the dataclass that `content` was to become. An unknown key gets the nearest of its own section, else all of
    that section's.
    """
    first = error.errors()[0]
    missing = first["type"] == "missing"
    *above, last = first["loc"]
    key = ".".join([*_keys(above, content), str(last)] if missing else _keys(first["loc"], content))
    if first["type"] == "unexpected_keyword_argument":
        return f"{key}: no such key; {_known(str(last), _section(root, above))}"
    words = _WORDS.get(first["type"]) or re.sub(r", unable to.*", "", first["msg"]).replace("Input should", "must")
    if first["type"] == "union_tag_invalid":
        return f"{key}.kind: must be one of {first['ctx']['expected_tags']}, not {first['ctx']['tag']!r}"
    value = first["input"]
    if missing or isinstance(value, (Mapping, list, tuple)):
        return f"{key}: {words}"
    if first["type"] in ("dataclass_type", "model_attributes_type"):
        words += f", as in {key.rpartition('.')[2]}={{kind: {value}}}"
    return f"{key}: {words}, not {'empty' if value is None else repr(value)}"


def _keys(place: Sequence[str | int], content: Any) -> list[str]:
    """The keys that lead there, without what pydantic adds: which member of a union it tried."""
    keys = []
    for number, part in enumerate(place):
        if isinstance(content, Mapping) and part in content:
            content = content[part]
        elif isinstance(content, Sequence) and not isinstance(content, str) and isinstance(part, int):
            content = content[part] if part < len(content) else None
        elif not isinstance(content, Mapping) or number < len(place) - 1:
            continue
        keys.append(str(part))
    return keys


def _section(root: type, place: Sequence[str | int]) -> list[type]:
    """The dataclasses that may stand at a place; of a tagged union the one with that tag."""
    sections = [root]
    for part in place:
        below = [get_type_hints(section).get(str(part)) for section in sections]
        if any(below):
            sections = [found for hint in below for found in _dataclasses(hint)]
        else:
            sections = [one for one in sections if getattr(one, "kind", part) == part] or sections
    return sections


def _dataclasses(hint: Any) -> list[type]:
    if isinstance(hint, type) and is_dataclass(hint):
        return [hint]
    return [found for part in get_args(hint) for found in _dataclasses(part)]


def _known(key: str, sections: Sequence[type]) -> str:
    names = list(dict.fromkeys(field.name for section in sections for field in fields(section)))
    near = get_close_matches(key, names, n=1)
    return f"did you mean {near[0]}?" if near else f"there is {', '.join(names)}"
