"""What the inputs of a command mean: files, folders, patterns and standard input, one at a time.

Folders are streamed, so that one with a million pictures needs no more memory than one with ten. Where a result
goes follows from the input's path alone, so two inputs never share a result:

- results mirror the inputs' folders below the deepest folder that all inputs have in common;
- a picture keeps its ending in the results' names if another picture beside it has the same stem.
"""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from dptkit.image_io import DEPTH_SUFFIXES, SEGMENT_SUFFIXES, SUPPORTED_SUFFIXES

STANDARD_INPUT = "-"
_OWN_ENDINGS = tuple({*DEPTH_SUFFIXES.values(), *SEGMENT_SUFFIXES.values()})


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

    A folder gives its pictures (by ending; with `recursive` those of its subfolders too) in the file system's
    order, leaving out results of earlier runs, known by their endings such as `_depth.png`.
    """
    root = _common_folder(arguments)
    stems = Counter(os.path.splitext(argument)[0] for argument in dict.fromkeys(arguments))
    for argument in dict.fromkeys(arguments):
        if argument == STANDARD_INPUT:
            yield Input("standard input", None, PurePath("stdin"))
        elif os.path.isdir(argument):
            yield from _in_folder(argument, root, recursive)
        elif os.path.exists(argument) or not glob.has_magic(argument):
            keep_ending = stems[os.path.splitext(argument)[0]] > 1
            yield Input(argument, Path(argument), _target(argument, root, keep_ending))
        else:
            yield from _matching(argument, root)


def _in_folder(folder: str, root: str, recursive: bool) -> Iterator[Input | BadInput]:
    found = False
    for path in _walk(folder, recursive):
        found = True
        yield Input(path, Path(path), _target(path, root, _has_twin(path)))
    if not found:
        hint = "" if recursive else "; --recursive looks into its subfolders too"
        yield BadInput(folder, f"no pictures in this folder{hint}")


def _walk(folder: str, recursive: bool) -> Iterator[str]:
    subfolders = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                subfolders.append(entry.path)
            elif _is_picture_name(entry.name) and entry.is_file():
                yield entry.path
    if recursive:
        for subfolder in sorted(subfolders):
            yield from _walk(subfolder, recursive)


def _matching(pattern: str, root: str) -> Iterator[Input | BadInput]:
    found = False
    for path in glob.iglob(pattern, recursive=True):
        if os.path.isfile(path) and _is_picture_name(os.path.basename(path)):
            found = True
            yield Input(path, Path(path), _target(path, root, _has_twin(path)))
    if not found:
        yield BadInput(pattern, "no picture matches this pattern")


def _is_picture_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUPPORTED_SUFFIXES and not name.endswith(_OWN_ENDINGS)


def _has_twin(path: str) -> bool:
    """Whether another picture beside it has the same stem. A few look-ups, whatever the folder's size."""
    stem, ending = os.path.splitext(path)
    endings = {case for suffix in SUPPORTED_SUFFIXES for case in (suffix, suffix.upper())} - {ending}
    return any(os.path.exists(stem + other) and not _same(path, stem + other) for other in endings)


def _same(path: str, other: str) -> bool:
    """One file under two names, as on file systems that do not tell .jpg from .JPG."""
    return os.path.samefile(path, other)


def _target(path: str, root: str, keep_ending: bool) -> PurePath:
    relative = PurePath(os.path.relpath(os.path.abspath(path), root))
    return relative if keep_ending else relative.with_suffix("")


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
