"""Data sets opened by name: those in the table of `dptkit.data.datasets`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from inspect import signature
from pathlib import Path
from typing import Any, cast

from dptkit.data.datasets import DATASETS, DatasetEntry
from dptkit.data.folder import label_splits, manifest_splits
from dptkit.data.sample import Dataset, OrdinalDataset
from dptkit.data.shards import INDEX, read_index
from dptkit.errors import DataError

__all__ = [
    "DATASETS",
    "DatasetEntry",
    "Option",
    "find_dataset",
    "open_dataset",
    "open_ordinal_dataset",
    "reader_options",
    "splits_of",
]

Option = str | int | float | bool | None | Sequence[str]


def find_dataset(name: str) -> DatasetEntry:
    """The entry of a name. Raises DataError with the nearest name."""
    if name in DATASETS:
        return DATASETS[name]
    if name.lower().replace("_", "-").replace(" ", "-") in ("3d-movies", "3dmovies", "movies"):
        raise DataError("3D Movies was never released: its frames come from films under copyright")
    near = get_close_matches(name.lower(), DATASETS, n=1, cutoff=0.0)
    raise DataError(f"no data set {name!r}: did you mean {near[0]}? There are {', '.join(DATASETS)}")


def open_dataset(name: str, root: str | Path, split: str, **options: Option) -> Dataset:
    """Open a data set by name. options: those of its own `open_` function, checked for name and type.

    Raises DataError for an unknown name, option or split, for a folder that is not laid out as it must be, and for a
    data set of pairs of points.
    """
    entry = find_dataset(name)
    if entry.kind == "ordinal":
        raise DataError(f"{name} says only which of two points is nearer: it is for evaluation, not for training")
    return cast(Dataset, _open(entry, Path(root), split, options))


def open_ordinal_dataset(name: str, root: str | Path, split: str, **options: Option) -> OrdinalDataset:
    """As `open_dataset`, for data sets of pairs of points. Raises DataError, also for any other data set."""
    entry = find_dataset(name)
    if entry.kind != "ordinal":
        ordinal = ", ".join(key for key, value in DATASETS.items() if value.kind == "ordinal")
        raise DataError(f"{name} does not say which of two points is nearer; those that do are {ordinal}")
    return cast(OrdinalDataset, _open(entry, Path(root), split, options))


def reader_options(name: str) -> tuple[str, ...]:
    """Options that a data set's reader has. Raises DataError for an unknown name."""
    return tuple(key for key in signature(find_dataset(name).open).parameters if key not in ("root", "split"))


def _open(entry: DatasetEntry, root: Path, split: str, options: dict[str, Option]) -> Dataset | OrdinalDataset:
    from pydantic import ValidationError, validate_call

    name = entry.name
    parameters = signature(entry.open).parameters
    known = reader_options(name)
    for key, value in options.items():
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = f": did you mean {near[0]}?" if near else f"; it has {', '.join(known) or 'none'}"
            raise DataError(f"{name}: no option {key!r}{hint}")
        if isinstance(value, str) and "Sequence" in str(parameters[key].annotation):
            options[key] = [value]  # one name where several may stand, as --set scenes=pipes gives
    try:
        dataset: Dataset | OrdinalDataset = validate_call(entry.open)(root, split, **options)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"{name}: {'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from None
    return dataset


def splits_of(name: str, root: Path) -> tuple[str, ...]:
    """The splits that a data set has, without "all" and parts of others: together they hold each sample once.

    Of your own data sets, and of DIODE, whose splits are separate downloads, those in the folder. Raises DataError.
    """
    found: dict[str, Callable[[], Any]] = {
        "manifest": lambda: manifest_splits(root),
        "labels": lambda: label_splits(root),
        "shards": lambda: (read_index((root / INDEX).read_bytes(), str(root / INDEX))["split"],),
        "diode": lambda: tuple(split for split in ("train", "val") if (root / split).is_dir()),
        "scannet": lambda: ("all",),  # its list is somebody's choice, and a file of theirs
        "kitti": lambda: ("train", "test"),  # its videos are of the same drives
        "kitti-bts": lambda: ("train", "test"),
        "pairs": lambda: ("",),
        "pictures": lambda: ("",),
    }
    entry = find_dataset(name)
    if name in found:
        return tuple(found[name]())
    return tuple(split for split in entry.splits if split != "all") or entry.splits
