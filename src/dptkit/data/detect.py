"""Which data set lies in a folder, told by its files."""

from __future__ import annotations

from pathlib import Path

from dptkit.data.own_folder import lies_in_pairs
from dptkit.data.pairs import subfolders
from dptkit.data.registry import DATASETS, DatasetEntry
from dptkit.errors import DataError
from dptkit.image_io.names import printable

_NEIGHBOURS = 100  # folders that are looked into, for a hint


def detect_dataset(root: Path) -> str:
    """The name in `DATASETS` of the data set whose files and folders `root` has.

    Of data sets that share marks, as both layouts of KITTI do, it is the one with the most. Your own pictures and depth
    without a manifest are "folder". Raises DataError for a folder that is none, is several, or is a part of one, with
    what it may be.
    """
    if not root.is_dir():
        raise DataError(f"{printable(root)} is not a folder")
    found = _found(root)
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(f"{printable(root)}: it may be {' or '.join(found)}; name the one it is")
    raise DataError(
        f"{printable(root)}: cannot tell which data set this is{_hint(root)}; name one of {', '.join(DATASETS)}"
    )


def _found(root: Path) -> list[str]:
    whole = [entry for entry in DATASETS.values() if entry.marks and not _missing(root, entry)]
    names = [entry.name for entry in whole if not any(set(entry.marks) < set(other.marks) for other in whole)]
    # A manifest, and the index of shards, say what is in the folder; pairs beside it are what they speak of.
    if lies_in_pairs(root) and not {"manifest", "shards"} & set(names):
        names.append("folder")
    return names


def _missing(root: Path, entry: DatasetEntry) -> list[str]:
    return [mark for mark in entry.marks if not _is_there(root, mark)]


def _is_there(root: Path, mark: str) -> bool:
    return any(True for _ in root.glob(mark)) if "*" in mark else (root / mark).exists()


def _hint(root: Path) -> str:
    """What the folder is a part of, or which folder beside it was meant, with " (" and ")"; "" if nothing is known."""
    for entry in DATASETS.values():
        missing = _missing(root, entry)
        if 0 < len(missing) < len(entry.marks):
            return f" (for {entry.name} it lacks {', '.join(missing)})"
    inside = [root / name for name in subfolders(root)[:_NEIGHBOURS]]
    for folder in (*inside, root.absolute().parent):
        names = _found(folder)
        if names:
            return f" (but {printable(folder)} is {names[0]})"
    return ""
