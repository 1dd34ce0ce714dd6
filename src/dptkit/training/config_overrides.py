"""Configurations as files, and single values replaced from the command line: `key.sub=value`, a file's own short names.

A file may name `shortcuts`, such as {data: [sources.0.root, validation.0.root]}; then `data=DIR` sets both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dptkit.errors import ConfigError

_POWER = re.compile(r"[-+]?\d+[eE][-+]?\d+")


def read_yaml(path: Path) -> dict[str, Any]:
    """A file of keys and values; of a run's `run.json` its configuration. Raises ConfigError naming it."""
    import yaml

    # PyYAML takes 1e-05 for text, which JSON writes for a number.
    read = json.loads if path.suffix == ".json" else yaml.safe_load
    try:
        content = read(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except (yaml.YAMLError, ValueError) as error:
        kind = "JSON" if read is json.loads else "YAML"
        raise ConfigError(f"{path}: not readable {kind} ({str(error).splitlines()[0]})") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: must hold keys and values")
    recorded = content.get("config")
    return recorded if isinstance(recorded, dict) and "versions" in content else content


def take_shortcuts(content: dict[str, Any], where: str) -> dict[str, tuple[str, ...]]:
    """Remove `shortcuts` from a file's content and return them. Raises ConfigError if they are no names and keys."""
    given = content.pop("shortcuts", None) or {}
    if not isinstance(given, dict):
        raise ConfigError(f"{where}: shortcuts: must hold names, each with a list of keys")
    shortcuts = {}
    for name, keys in given.items():
        if not isinstance(keys, list) or not keys or not all(isinstance(key, str) for key in keys):
            raise ConfigError(f"{where}: shortcuts.{name}: must be a list of keys, such as [sources.0.root]")
        shortcuts[str(name)] = tuple(keys)
    return shortcuts


def apply_overrides(
    content: dict[str, Any], overrides: Sequence[str], shortcuts: Mapping[str, Sequence[str]], known: Collection[str]
) -> None:
    """Set each `key=value` in place, values in YAML. known: the keys that a configuration may have at its top.

    What stands for a text stays as it is typed: data=007 and data=no are folders. Of a key given twice the last counts.
    Raises ConfigError for what is not written so, or names nothing, with the nearest name.
    """
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key:
            raise ConfigError(f"{override!r}: an override is written key=value")
        if not text.strip():
            raise ConfigError(f"{override}: there is no value; null stands for none")
        top = key.partition(".")[0]
        if top not in known and key not in shortcuts:
            raise ConfigError(f"{override}: no key {top}{_hint(top, content, shortcuts, known)}")
        value = _read_value(override, text)
        # teacher=FILE names the teacher and leaves the rest of that section as it is.
        if key == "teacher" and isinstance(value, str) and isinstance(content.get(key), dict):
            key = "teacher.weights"
        for target in shortcuts.get(key, (key,)):
            _set(content, target, value, text.strip())


def _read_value(override: str, text: str) -> Any:
    import yaml

    if _POWER.fullmatch(text.strip()):
        return float(text)  # PyYAML takes 1e3 for text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"{override!r}: the value is not readable YAML") from None


def _hint(top: str, content: Mapping[str, Any], shortcuts: Mapping[str, Sequence[str]], known: Collection[str]) -> str:
    deeper = [path for path in _paths(content) if path.endswith(f".{top}")]
    near = deeper or get_close_matches(top, {*shortcuts, *known} - {top}, n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; short names of this configuration: {', '.join(shortcuts)}" if shortcuts else ""


def _paths(content: Any, start: str = "") -> Iterator[str]:
    """Every key of a file, as an override names it."""
    below = enumerate(content) if isinstance(content, list) else content.items() if isinstance(content, dict) else ()
    for key, value in below:
        yield f"{start}{key}"
        yield from _paths(value, f"{start}{key}.")


def _set(content: Any, key: str, value: Any, text: str) -> None:
    *path, last = key.split(".")
    for part in path:
        content = content[_place(content, part, key)] if isinstance(content, list) else content.setdefault(part, {})
        if not isinstance(content, (dict, list)):
            raise ConfigError(f"{key}: {part} is a single value, nothing lies below it")
    place: Any = _place(content, last, key) if isinstance(content, list) else last
    present = content[place] if isinstance(content, list) else content.get(place)
    typed = isinstance(present, str) and value is not None and text[0] not in "\"'[{"
    content[place] = text if typed else value


def _place(content: list[Any], part: str, key: str) -> int:
    if not part.isdigit() or int(part) >= len(content):
        raise ConfigError(f"{key}: {part!r} is not a place in a list of {len(content)}, counted from 0")
    return int(part)
