"""Your own pictures with depth or class ids, whichever way they lie: what a folder is, is told by its files.

ROOT/manifest.csv                                  as `manifest`
ROOT/images/x.jpg, ROOT/depth/x.png                as `pairs`, whole or in ROOT/train and ROOT/val
ROOT/x.jpg, ROOT/x_depth.png                       pairs in one folder, whole or in ROOT/train and ROOT/val
ROOT/classes.txt, ROOT/SPLIT/images, .../labels    class ids, as `labels`; or images/ and labels/ in ROOT, whole

Where nobody divided the samples, a tenth is held out as split "val", or what comes near it in whole groups (of the
manifest, or subfolders), the smallest first; of a single group the last by name, as neighbours in a video are alike.
Split "all" is everything, to evaluate on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from dptkit.data.folder import CLASSES, Kind, label_splits, manifest_splits, open_labels, open_manifest, open_pairs
from dptkit.data.held_out import held_groups
from dptkit.data.pairs import MissingFilesError, PairedFiles, check_split, names_in, require_folder
from dptkit.errors import DataError
from dptkit.image_io.names import printable

SPLITS = ("train", "val", "all")
_PARTS = ("train", "val")
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
    """A folder of pictures and depth or class ids; split train, val or all, or one that a manifest or `labels` has.

    kind, scale: of pairs, as for `pairs`; without a scale, depth in PNG and TIFF is millimetres, in other files metres.
    sources: of a manifest, those to read. Raises DataError if the files tell nothing, MissingFilesError.
    """
    require_folder("folder", root)
    if (root / "manifest.csv").is_file():
        if scale is not None:
            raise DataError(
                f"{printable(root / 'manifest.csv')}: says each picture's scale itself, in the column scale"
            )
        splits = manifest_splits(root)
        if split == "all" and "all" not in splits:
            return _whole_manifest(root, splits, sources).require(split)
        if len(splits) == 1 and split in _PARTS:
            whole = _even_in_part(partial(open_manifest, root, next(iter(splits)), sources=sources))
            return hold_out(whole, split).require(split)
        return open_manifest(root, split, sources=sources)
    if (root / CLASSES).is_file():
        return _open_labels(root, split)
    check_split("folder", split, SPLITS)
    parts = _parts(root)
    if not parts:
        if (root / "labels").is_dir():
            raise DataError(
                f"folder: {printable(root)} has labels/, but no {CLASSES}: one class name a line, id 0 first"
            )
        raise DataError(
            f"folder: {printable(root)} has no manifest.csv, no {CLASSES}, no images/ and depth/, and no x.jpg beside "
            f"x{_ENDING}.png (in itself, or in train/ and val/)"
        )
    if split == "all":
        whole = _joined({part: _open_part(root, part, options, kind, scale) for part, options in parts.items()})
        return whole.require(split)
    if split in parts and len(parts) > 1:
        return _open_part(root, split, parts[split], kind, scale).require(split)
    only = next(iter(parts))
    return hold_out(_open_part(root, only, parts[only], kind, scale), split).require(split)


def _open_labels(root: Path, split: str) -> PairedFiles:
    if label_splits(root) != ("",):
        return open_labels(root, split)
    check_split("folder", split, SPLITS)
    whole = _even_in_part(partial(open_labels, root, ""))
    return (whole if split == "all" else hold_out(whole, split)).require(split)


def lies_in_pairs(root: Path) -> bool:
    """Whether pictures and depth lie in `root` as `open_folder` finds them, in one of the ways without a manifest."""
    return bool(_parts(root))


def hold_out(dataset: PairedFiles, split: str) -> PairedFiles:
    """The part of an undivided data set that is "train" or "val". Raises DataError for a single sample."""
    pairs = dataset.pairs
    wanted = max(1, len(pairs) // HELD_OUT)
    if len(pairs) < 2:
        raise DataError(
            f"folder: {printable(dataset.root)} has a single pair; nothing can be held out as val: split all is "
            "everything"
        )
    if len({pair.group for pair in pairs}) == 1:
        held = {pair.name for pair in sorted(pairs, key=lambda pair: pair.name)[-wanted:]}
    else:
        groups = held_groups((pair.group for pair in pairs), wanted)
        held = {pair.name for pair in pairs if pair.group in groups}
    return replace(dataset, pairs=tuple(pair for pair in pairs if (pair.name in held) == (split == "val")))


def _whole_manifest(root: Path, splits: Mapping[str, Sequence[str]], sources: Sequence[str] | None) -> PairedFiles:
    for source in sources or ():
        if not any(source in known for known in splits.values()):
            raise DataError(f"{printable(root / 'manifest.csv')}: no source {source!r}")
    wanted = {
        split: [source for source in known if sources is None or source in sources] for split, known in splits.items()
    }
    parts = [
        _even_in_part(partial(open_manifest, root, split, sources=known)) for split, known in wanted.items() if known
    ]
    if not parts:
        raise DataError(f"{printable(root / 'manifest.csv')}: no rows")
    return replace(parts[0], pairs=tuple(pair for part in parts for pair in part.pairs))


def _joined(parts: Mapping[str, PairedFiles]) -> PairedFiles:
    """All pairs; of several parts their names and groups begin with the part's, as the same may be in both."""
    first = next(iter(parts.values()))
    if len(parts) == 1:
        return first
    return replace(
        first,
        pairs=tuple(
            pair._replace(name=f"{part}/{pair.name}", group=f"{part}/{pair.group}")
            for part, dataset in parts.items()
            for pair in dataset.pairs
        ),
    )


def _parts(root: Path) -> dict[str, dict[str, Any]]:
    """ "train" and "val" if both are there, else what there is -> options of `open_pairs`."""
    found = {part: options for part in ("", *_PARTS) if (options := _layout(root / part)) is not None}
    if set(_PARTS) <= set(found):
        return {part: found[part] for part in _PARTS}
    only = "" if "" in found else next(iter(found), None)
    return {} if only is None else {only: found[only]}


def _layout(folder: Path) -> dict[str, Any] | None:
    """Options of `open_pairs` for what lies in `folder`; None if nothing does."""
    if (folder / "images").is_dir() and (folder / "depth").is_dir():
        return {"images": "images", "targets": "depth"}
    if any(Path(name).stem.endswith(_ENDING) for name in names_in(folder)):
        return {"images": ".", "targets": ".", "target_ending": _ENDING}
    return None


def _open_part(root: Path, part: str, options: dict[str, Any], kind: Kind, scale: float | None) -> PairedFiles:
    opening = partial(open_pairs, root, part, kind=kind, **options)
    if scale is not None:
        return _even_in_part(partial(opening, scale=scale))
    dataset = _even_in_part(opening)
    targets = {pair.targets[0] for pair in dataset.pairs} - set(dataset.missing_files())
    integer = {Path(path).suffix.lower() in _INTEGER_SUFFIXES for path in targets}
    if len(integer) > 1:
        raise DataError(f"folder: {printable(root)}: depth is in files of whole numbers and of others; say the scale")
    if kind == "depth" and integer == {True}:
        return _even_in_part(partial(opening, scale=_MILLIMETRES))
    return dataset


def _even_in_part(opening: Callable[[], PairedFiles]) -> PairedFiles:
    """What is opened, also where files of it are missing: it is divided first, and then what is left is required."""
    try:
        return opening()
    except MissingFilesError as error:
        return cast(PairedFiles, error.dataset)
