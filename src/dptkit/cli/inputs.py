"""What the inputs of a command mean: files, folders, patterns and standard input, one at a time.

Folders are streamed in the order of their names, as people count (frame2 before frame10), and one with a million
pictures needs no more memory than one with `NAMES_AT_ONCE`: it is looked through again for each so many names. Where a
result goes follows from the picture's path alone, so two pictures never share a result:

- results mirror the inputs' folders below the deepest folder that all inputs have in common;
- a picture keeps its ending in the results' names if another picture beside it has the same stem, if its stem itself
  ends like a picture's name, or if its ending is not one of the usual ones.
"""

from __future__ import annotations

import glob
import heapq
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from dptkit.errors import DptkitError
from dptkit.image_io import DEPTH_SUFFIXES, SEGMENT_SUFFIXES, SUPPORTED_SUFFIXES, read_metadata

STANDARD_INPUT = "-"
_STDIN_TARGET = "stdin"
_OWN_ENDINGS = tuple({*DEPTH_SUFFIXES.values(), *SEGMENT_SUFFIXES.values()})
_USUAL_ENDINGS = frozenset(case for suffix in SUPPORTED_SUFFIXES for case in (suffix, suffix.upper()))


NAMES_AT_ONCE = 10_000
"""Of one folder, in memory: about 5 MB."""

_DIGITS = re.compile("([0-9]+)")
_Order = tuple[tuple[str | int, ...], str]


@dataclass(frozen=True)
class Input:
    """One picture to read. `target`: where results go below the output folder, without their suffixes."""

    name: str
    path: Path | None
    target: PurePath


@dataclass(frozen=True)
class BadInput:
    """An input that names no picture, and why."""

    name: str
    problem: str


def find_inputs(arguments: Sequence[str], recursive: bool) -> Iterator[Input | BadInput]:
    """The pictures that command line arguments mean, in the order of the arguments.

    A folder gives its pictures by ending, in the order of `natural_order`, and with `recursive` then those of its
    subfolders, leaving out results of dptkit. A pattern that the shell left alone gives the files and folders it
    matches, in that order too.
    """
    root = _common_folder(arguments)
    for found in _find(arguments, recursive, _pictures_in_order):
        if isinstance(found, BadInput):
            yield found
        elif found == STANDARD_INPUT:
            yield Input("standard input", None, PurePath(_STDIN_TARGET))
        else:
            yield Input(found, Path(found), _target(found, root))


def count_inputs(arguments: Sequence[str], recursive: bool) -> int:
    """How many `find_inputs` will give, if nothing changes meanwhile; quicker than finding them."""
    return sum(1 for _ in _find(arguments, recursive, _pictures))


def natural_order(name: str) -> _Order:
    """A key that sorts numbers in names by value: frame2 before frame10. Different names have different keys."""
    parts = _DIGITS.split(name)
    return tuple(int(part) if number % 2 else part for number, part in enumerate(parts)), name


_List = Callable[[str], Iterator[str]]
"""The paths of a folder's own pictures. Raises OSError."""


def _find(arguments: Sequence[str], recursive: bool, pictures: _List) -> Iterator[str | BadInput]:
    for argument in dict.fromkeys(arguments):
        if argument == STANDARD_INPUT:
            yield argument
        elif os.path.isdir(argument):
            hint = "" if recursive else "; --recursive looks into its subfolders too"
            yield from _or_bad(_walk(argument, recursive, pictures), argument, f"no pictures in this folder{hint}")
        elif os.path.lexists(argument):
            yield argument
        elif glob.has_magic(argument):
            yield from _or_bad(_matching(argument, recursive, pictures), argument, "no picture matches this pattern")
        else:
            yield BadInput(argument, "no such file or folder")


def _or_bad(found: Iterator[str | BadInput], name: str, problem: str) -> Iterator[str | BadInput]:
    """What was found, or one bad input if that is nothing."""
    first = next(found, None)
    yield BadInput(name, problem) if first is None else first
    yield from found


def _walk(folder: str, recursive: bool, pictures: _List) -> Iterator[str | BadInput]:
    try:
        yield from pictures(folder)
        subfolders = _subfolders(folder) if recursive else []
    except OSError as error:
        yield BadInput(folder, f"cannot read this folder: {error.strerror or error}")
        return
    for subfolder in sorted(subfolders, key=natural_order):
        yield from _walk(subfolder, recursive, pictures)


def _pictures(folder: str, after: _Order | None = None) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or (after is not None and natural_order(entry.name) <= after):
                continue
            if _is_picture(entry.path) and entry.is_file():
                yield entry.path


def _pictures_in_order(folder: str) -> Iterator[str]:
    last: _Order | None = None
    while True:
        names = (natural_order(os.path.basename(path)) for path in _pictures(folder, last))
        chosen = heapq.nsmallest(NAMES_AT_ONCE, names)
        yield from (os.path.join(folder, name) for _, name in chosen)
        if len(chosen) < NAMES_AT_ONCE:
            return
        last = chosen[-1]


def _subfolders(folder: str) -> list[str]:
    with os.scandir(folder) as entries:
        return [e.path for e in entries if not e.name.startswith(".") and e.is_dir(follow_symlinks=False)]


def _matching(pattern: str, recursive: bool, pictures: _List) -> Iterator[str | BadInput]:
    for path in sorted(glob.iglob(pattern, recursive=True), key=natural_order):
        if os.path.isdir(path):
            yield from _walk(path, recursive, pictures)
        elif _is_picture(path):
            yield path


def _is_picture(path: str) -> bool:
    """By its ending, and not written by dptkit, which only a file named like one of our results is asked for."""
    if os.path.splitext(path)[1].lower() not in SUPPORTED_SUFFIXES:
        return False
    return not (path.endswith(_OWN_ENDINGS) and _is_ours(path))


def _is_ours(path: str) -> bool:
    try:
        read_metadata(path)
    except (DptkitError, OSError):
        return False
    return True


def _target(path: str, root: str) -> PurePath:
    relative = PurePath(os.path.relpath(os.path.abspath(path), root))
    return relative if _keeps_ending(path) else relative.with_suffix("")


def _keeps_ending(path: str) -> bool:
    """Whether the stem alone could mean another picture too. A few look-ups, whatever the folder's size."""
    stem, ending = os.path.splitext(path)
    if ending not in _USUAL_ENDINGS or os.path.splitext(stem)[1].lower() in SUPPORTED_SUFFIXES:
        return True
    if os.path.basename(stem) == _STDIN_TARGET:
        return True
    return any(_is_another(path, stem + other) for other in _USUAL_ENDINGS | {""} if other != ending)


def _is_another(path: str, other: str) -> bool:
    """Another file, not the same one by another name, as where .jpg and .JPG are not told apart."""
    # `access` is asked first since nearly all are absent, which `isfile` finds out by an exception.
    return os.access(other, os.F_OK) and os.path.isfile(other) and not os.path.samefile(path, other)


def _common_folder(arguments: Sequence[str]) -> str:
    folders = [os.path.abspath(_folder(argument)) for argument in arguments if argument != STANDARD_INPUT]
    return os.path.commonpath(folders) if folders else os.path.abspath(".")


def _folder(argument: str) -> str:
    if os.path.isdir(argument):
        return argument
    folder = os.path.dirname(argument)
    while glob.has_magic(folder) and not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder or "."
