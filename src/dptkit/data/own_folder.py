"""Your own pictures with depth, whichever way they lie: what a folder is, is told by its files.

ROOT/manifest.csv                                  as `manifest`
ROOT/images/x.jpg, ROOT/depth/x.png                as `pairs`, whole or in ROOT/train and ROOT/val
ROOT/x.jpg, ROOT/x_depth.png                       pairs in one folder, whole or in ROOT/train and ROOT/val

Where nobody divided the samples, a tenth is held out as split "val", or what comes near it in whole groups (of the
manifest, or subfolders), the smallest first; of a single group the last by name, as neighbours in a video are alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dptkit.data.folder import Kind, manifest_splits, open_manifest, open_pairs
from dptkit.data.pairs import PairedFiles, check_split, names_in, require_folder
from dptkit.errors import DataError
from dptkit.image_io.names import printable

SPLITS = ("train", "val")
HELD_OUT = 10
"""One in so many samples."""

_ENDING = "_depth"
_MILLIMETRES = 0.001
_INTEGER_SUFFIXES = (".png", ".tif", ".tiff")


def open_folder(
    root: Path,
    split: str,
    *,
    kind: Kind = "depth",
    scale: float | None = None,
    sources: Sequence[str] | None = None,
) -> PairedFiles:
    """A folder of pictures and depth; split train or val, or one that a manifest has.

    kind, scale: of pairs, as for `pairs`; without a scale, depth in PNG and TIFF is millimetres, in other files metres.
    sources: of a manifest, those to read. Raises DataError if the files tell nothing.
    """
    require_folder("folder", root)
    if (root / "manifest.csv").is_file():
        splits = tuple(manifest_splits(root))
        if len(splits) == 1 and split in SPLITS:
            return hold_out(open_manifest(root, splits[0], sources=sources), split)
        return open_manifest(root, split, sources=sources)
    check_split("folder", split, SPLITS)
    parts = {part: options for part in ("", *SPLITS) if (options := _layout(root / part)) is not None}
    if not parts:
        raise DataError(
            f"folder: {printable(root)} has no manifest.csv, no images/ and depth/, and no x.jpg beside x{_ENDING}.png "
            "(in itself, or in train/ and val/)"
        )
    if split in parts and set(SPLITS) <= set(parts):
        return _open_part(root, split, parts[split], kind, scale)
    only = "" if "" in parts else next(iter(parts))
    return hold_out(_open_part(root, only, parts[only], kind, scale), split)


def hold_out(dataset: PairedFiles, split: str) -> PairedFiles:
    """The part of an undivided data set that is "train" or "val". Raises DataError for a single sample."""
    pairs = dataset.pairs
    wanted = max(1, len(pairs) // HELD_OUT)
    if len(pairs) < 2:
        raise DataError(f"folder: {printable(dataset.root)} has a single pair; nothing can be held out to validate")
    sizes = Counter(pair.group for pair in pairs)
    if len(sizes) == 1:
        held = {pair.name for pair in sorted(pairs, key=lambda pair: pair.name)[-wanted:]}
    else:
        groups: set[str] = set()
        count = 0
        for group, size in sorted(sizes.items(), key=lambda item: (item[1], item[0])):
            if groups and abs(count + size - wanted) >= abs(count - wanted):
                break
            groups.add(group)
            count += size
        held = {pair.name for pair in pairs if pair.group in groups}
    return replace(dataset, pairs=tuple(pair for pair in pairs if (pair.name in held) == (split == "val")))


def _layout(folder: Path) -> dict[str, Any] | None:
    """Options of `open_pairs` for what lies in `folder`; None if nothing does."""
    if (folder / "images").is_dir() and (folder / "depth").is_dir():
        return {"images": "images", "targets": "depth"}
    if any(Path(name).stem.endswith(_ENDING) for name in names_in(folder)):
        return {"images": ".", "targets": ".", "target_ending": _ENDING}
    return None


def _open_part(root: Path, part: str, options: dict[str, Any], kind: Kind, scale: float | None) -> PairedFiles:
    if scale is not None:
        return open_pairs(root, part, kind=kind, scale=scale, **options)
    dataset = open_pairs(root, part, kind=kind, **options)
    integer = {Path(pair.targets[0]).suffix.lower() in _INTEGER_SUFFIXES for pair in dataset.pairs}
    if len(integer) > 1:
        raise DataError(f"folder: {printable(root)}: depth is in files of whole numbers and of others; say the scale")
    if kind == "depth" and integer == {True}:
        return open_pairs(root, part, kind=kind, scale=_MILLIMETRES, **options)
    return dataset
