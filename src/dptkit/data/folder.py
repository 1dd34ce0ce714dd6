"""Your own data: a folder with a manifest, two folders of pairs, or pictures with labels.

manifest    ROOT/manifest.csv with the columns source, split, name, kind, scale (and metric, split_group where known);
            ROOT/SOURCE/NAME.jpg and ROOT/SOURCE/NAME.png, 16-bit, 0 = no measurement
pairs       ROOT/[SPLIT/]images/NAME.jpg and ROOT/[SPLIT/]depth/NAME.png (.npy, .pfm, .exr), or one folder with
            endings, such as NAME.jpg and NAME_depth.png
labels      ROOT/SPLIT/images/NAME.jpg, ROOT/SPLIT/labels/NAME.png with class ids, 255 = ignored, ROOT/classes.txt
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from dptkit.data.pairs import (
    Decode,
    Pair,
    PairedFiles,
    Target,
    check_split,
    depth_target,
    files_below,
    inverse_target,
    inverted_target,
    label_target,
    require_file,
    require_folder,
    scaled,
    subfolders,
)
from dptkit.data.reading import IMAGE_SUFFIXES, read_codes, read_lines, read_table, read_values
from dptkit.errors import DataError
from dptkit.image_io.names import printable

Kind = Literal["depth", "relative_depth", "disparity", "inverse_depth", "labels"]
"""What stored numbers, times a scale, are: metres · depth up to scale · relative inverse depth · 1/m · class ids."""

CLASSES = "classes.txt"
_COLUMNS = ("source", "split", "name", "kind", "scale")
_TARGET_SUFFIXES = (".png", ".npy", ".pfm", ".exr", ".tif", ".tiff")


def open_manifest(root: Path, split: str, *, sources: Sequence[str] | None = None) -> PairedFiles:
    """A folder with manifest.csv: the rows of `split`, of all or of the named `sources`.

    kind "depth": value * scale is metres, or depth up to scale where the column `metric` says false; "disparity":
    value * scale is relative inverse depth. 0 is no measurement. `split_group` is a sample's group, by default its
    source. A sample's source is the row's. Raises DataError, also where a group is in two splits.
    """
    require_folder("manifest", root)
    path = require_file("manifest", root, "manifest.csv", f"a table with the columns {', '.join(_COLUMNS)}")
    rows = read_table(path, _COLUMNS)
    check_split("manifest", split, dict.fromkeys(row["split"] for row in rows))
    _check_groups(path, rows)
    known = tuple(dict.fromkeys(row["source"] for row in rows if row["split"] == split))
    for source in sources or ():
        if source not in known:
            raise DataError(f"{printable(path)}: split {split!r} has no source {source!r}; it has {', '.join(known)}")
    decoders: dict[tuple[str, str, str], Decode] = {}
    pairs = []
    for row in rows:
        if row["split"] != split or (sources is not None and row["source"] not in sources):
            continue
        key = (row["kind"], row["scale"], row.get("metric") or "true")
        if key not in decoders:
            decoders[key] = _manifest_decoder(path, *key)
        stem = f"{row['source']}/{row['name']}"
        group = row.get("split_group") or row["source"]
        pairs.append(Pair(f"{stem}.jpg", (f"{stem}.png",), stem, group, decoders[key], source=row["source"]))
    return PairedFiles("manifest", root, tuple(pairs)).require(split)


def manifest_splits(root: Path) -> dict[str, tuple[str, ...]]:
    """split -> its sources, in the order of the manifest. Raises DataError."""
    found: dict[str, dict[str, None]] = {}
    for row in read_table(root / "manifest.csv", _COLUMNS):
        found.setdefault(row["split"], {})[row["source"]] = None
    return {split: tuple(sources) for split, sources in found.items()}


def open_pairs(
    root: Path,
    split: str = "",
    *,
    kind: Kind,
    scale: float = 1.0,
    images: str = "images",
    targets: str = "depth",
    image_ending: str = "",
    target_ending: str = "",
) -> PairedFiles:
    """Pictures and ground truth that share a name: IMAGES/x.jpg and TARGETS/x.png, subfolders included.

    kind, scale: what the stored numbers are, see `Kind`; 0 and what is not finite is no measurement.
    images, targets: folders in ROOT/SPLIT, or in ROOT if `split` is "". For one folder of both, pass "." twice and
    what the stems end with, as target_ending="_depth" for x.jpg and x_depth.png. A sample's group is its subfolder.
    """
    base = f"{split}/" if split else ""
    image_folder, target_folder = (_tidy(base + folder) for folder in (images, targets))
    require_folder("pairs", root, image_folder, target_folder)
    if image_folder == target_folder and image_ending == target_ending:
        raise DataError(f"pairs: {image_folder or '.'} holds both pictures and {kind}: say target_ending, as _depth")
    together = image_folder == target_folder
    pictures = _stems(root / image_folder, IMAGE_SUFFIXES, image_ending, target_ending if together else "")
    truths = _stems(root / target_folder, _TARGET_SUFFIXES, target_ending, image_ending if together else "")
    decode = partial(decode_values, kind=kind, scale=scale)
    pairs = []
    for stem in sorted({*pictures, *truths}):
        image = pictures.get(stem, f"{stem}{image_ending}.jpg")
        truth = truths.get(stem, f"{stem}{target_ending}.png")
        group = stem.rpartition("/")[0]
        pairs.append(Pair(_join(image_folder, image), (_join(target_folder, truth),), stem, group, decode))
    return PairedFiles("pairs", root, tuple(pairs)).require(split)


def open_labels(root: Path, split: str) -> PairedFiles:
    """Pictures with class ids: SPLIT/images, SPLIT/labels and classes.txt, one name a line, id 0 first.

    Split "" is images/ and labels/ in ROOT itself.
    """
    require_folder("labels", root)
    names = tuple(read_lines(require_file("labels", root, CLASSES, "one class name a line, id 0 first")))
    check_split("labels", split, label_splits(root))
    base = f"{split}/" if split else ""
    require_folder("labels", root, f"{base}images", f"{base}labels")
    pictures = _stems(root / split / "images", IMAGE_SUFFIXES, "", "")
    truths = _stems(root / split / "labels", (".png",), "", "")
    decode = partial(decode_labels, classes=len(names))
    pairs = tuple(
        Pair(
            f"{base}images/{pictures.get(stem, stem + '.jpg')}",
            (f"{base}labels/{truths.get(stem, stem + '.png')}",),
            stem,
            stem.rpartition("/")[0],
            decode,
        )
        for stem in sorted({*pictures, *truths})
    )
    return PairedFiles("labels", root, pairs, names).require(split)


def label_splits(root: Path) -> tuple[str, ...]:
    """The subfolders that have images/ or labels/ in them; "" alone for a folder that has them itself."""
    parts = {"images", "labels"}
    found = tuple(name for name in subfolders(root) if parts & set(subfolders(root / name)))
    return found or (("",) if parts <= set(subfolders(root)) else ())


def decode_values(paths: Sequence[Path], *, kind: Kind, scale: float) -> Target:
    """One file of numbers -> target, see `Kind`; 0 and what is not finite is no measurement."""
    if kind == "labels":
        return decode_labels(paths, classes=0)
    values = scaled(read_values(paths[0]), scale)
    if kind == "depth":
        return depth_target(values)
    if kind == "relative_depth":
        return inverted_target(values)
    valid = np.isfinite(values) & (values > 0)
    return inverse_target(values, valid, "1/m" if kind == "inverse_depth" else "relative")


def decode_labels(paths: Sequence[Path], *, classes: int) -> Target:
    """8-bit class ids, 255 = ignored. classes: how many there are, 0 if unknown."""
    return label_target(read_codes(paths[0]), paths[0], classes)


def _manifest_decoder(path: Path, kind: str, scale: str, metric: str) -> Decode:
    kinds: dict[tuple[str, str], Kind] = {
        ("depth", "true"): "depth",
        ("depth", "false"): "relative_depth",
        ("disparity", "true"): "disparity",
        ("disparity", "false"): "disparity",
    }
    try:
        return partial(decode_values, kind=kinds[kind, metric.lower()], scale=float(scale))
    except (KeyError, ValueError):
        raise DataError(
            f"{printable(path)}: kind {kind!r} with scale {scale!r} and metric {metric!r} is not known; kind is depth "
            "or disparity, scale a number, metric true or false"
        ) from None


def _check_groups(path: Path, rows: Sequence[dict[str, str]]) -> None:
    split_of: dict[str, str] = {}
    for row in rows:
        group = row.get("split_group")
        if group and split_of.setdefault(group, row["split"]) != row["split"]:
            raise DataError(f"{printable(path)}: group {group!r} is in the splits {split_of[group]} and {row['split']}")


def _stems(folder: Path, suffixes: Sequence[str], ending: str, other_ending: str) -> dict[str, str]:
    """stem without `ending` -> path in the folder. Stems with `other_ending` are the other half of pairs.

    Raises DataError where two files differ in nothing but their suffixes.
    """
    found: dict[str, str] = {}
    for path in files_below(folder, suffixes):
        stem = path.rpartition(".")[0]
        if other_ending and stem.endswith(other_ending):
            continue
        if stem.endswith(ending):
            name = stem.removesuffix(ending) if ending else stem
            if name in found:
                raise DataError(
                    f"{printable(folder)}: {printable(found[name])} and {printable(path)} are of one name: "
                    "which is meant cannot be told, so move one away"
                )
            found[name] = path
    return found


def _tidy(folder: str) -> str:
    return "/".join(part for part in folder.split("/") if part not in ("", "."))


def _join(folder: str, path: str) -> str:
    return f"{folder}/{path}" if folder else path
