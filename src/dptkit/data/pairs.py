"""Data sets that are pairs of files: a picture, and one or more files that hold its ground truth.

Nearly every data set is a list of pairs and a way to decode the second half, so each of their modules only builds
that list.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from dptkit.data.reading import read_rgb
from dptkit.data.sample import IGNORED, Dataset, OrdinalDataset, Sample, SampleFiles, TargetQuantity, TargetUnit
from dptkit.errors import DataError
from dptkit.image_io.names import printable

Intrinsics = tuple[float, float, float, float]
_NAMED = 3  # missing files that a message names


class Target(NamedTuple):
    """Decoded ground truth, see `Sample` for the fields."""

    values: npt.NDArray[Any]
    valid: npt.NDArray[np.bool_]
    quantity: TargetQuantity
    unit: TargetUnit


Decode = Callable[[Sequence[Path]], Target]
"""The files of one pair's ground truth -> the target. A module-level function or a partial of one: it is pickled."""


class Pair(NamedTuple):
    """One picture and its ground truth. Paths are relative to the data set's folder; `source` "" is the set's name.

    upright: turn the picture by its EXIF orientation; False where the ground truth is of the picture as stored.
    camera_pose: as of a `Sample`. larger: (height, width) of pictures that are brought
        to the ground truth's size.
    """

    image: str
    targets: tuple[str, ...]
    name: str
    group: str
    decode: Decode
    intrinsics: Intrinsics | None = None
    source: str = ""
    upright: bool = True
    camera_pose: npt.NDArray[np.float64] | None = None
    larger: tuple[int, int] | None = None


class MissingFilesError(DataError):
    """Some samples of a data set lack a file; `dataset` has them all the same, and fails on those when indexed."""

    def __init__(self, message: str, dataset: Dataset | OrdinalDataset) -> None:
        super().__init__(message)
        self.dataset = dataset

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.dataset)


@dataclass(frozen=True, eq=False)
class PairedFiles:
    """A `Dataset` of pairs in a folder. `class_names`: of labels, where known."""

    name: str
    root: Path
    pairs: tuple[Pair, ...]
    class_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        pair = self.pairs[index]
        image = read_rgb(self.root / pair.image, upright=pair.upright)
        target = pair.decode([self.root / path for path in pair.targets])
        if image.shape[:2] == pair.larger:
            image = np.asarray(cv2.resize(image, target.values.shape[::-1], interpolation=cv2.INTER_AREA), np.uint8)
        if target.values.shape != image.shape[:2]:
            height, width = image.shape[:2]
            raise DataError(
                f"{printable(self.root / pair.image)}: {width}x{height} pixels, but {printable(pair.targets[0])} has "
                f"{target.values.shape[1]}x{target.values.shape[0]}"
            )
        try:
            return Sample(
                image=image,
                target=target.values,
                quantity=target.quantity,
                unit=target.unit,
                valid=target.valid,
                source=pair.source or self.name,
                name=pair.name,
                group=pair.group,
                intrinsics=pair.intrinsics,
                camera_pose=pair.camera_pose,
            )
        except ValueError as error:
            raise DataError(f"{printable(self.root / pair.targets[0])}: {error}") from error

    def image_path(self, index: int) -> Path:
        """The file of the picture."""
        return self.root / self.pairs[index].image

    def sample_files(self) -> Iterator[SampleFiles]:
        """Source, name and files of each sample, in order."""
        for pair in self.pairs:
            files = tuple(self.root / path for path in (pair.image, *pair.targets))
            yield SampleFiles(pair.source or self.name, pair.name, files)

    def missing_files(self) -> list[str]:
        """Files of pairs that do not exist, relative to the folder. Lists each folder once; opens nothing."""
        return absent_files(self.root, (path for pair in self.pairs for path in (pair.image, *pair.targets)))

    def require(self, split: str) -> PairedFiles:
        """Itself, if it has pairs and all their files are there. Raises DataError, MissingFilesError."""
        if not self.pairs:
            where = f" for split {split!r}" if split else ""
            raise DataError(f"{self.name}: no pairs{where} in {printable(self.root)}")
        require_present(self, self.root, split, self.missing_files())
        return self

    def with_name(self, name: str) -> PairedFiles:
        """The same pairs under another name."""
        return replace(self, name=name)


def names_in(folder: Path) -> list[str]:
    """Names of everything in a folder, sorted; none for a folder that is not there.

    Without ._NAME, which macOS leaves beside each NAME on disks of other systems, and in archives.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith("._"))
    except (FileNotFoundError, NotADirectoryError):
        return []


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted, without hidden ones."""
    return [name for name in names_in(folder) if not name.startswith(".") and (folder / name).is_dir()]


def files_below(folder: Path, suffixes: Sequence[str]) -> Iterator[str]:
    """Paths relative to `folder` of files with one of the endings, in it and below, sorted folder by folder."""
    for name in names_in(folder):
        if name.startswith("."):
            continue
        if name.endswith(tuple(suffixes)):
            yield name
        elif (folder / name).is_dir():
            yield from (f"{name}/{path}" for path in files_below(folder / name, suffixes))


def absent_files(root: Path, paths: Iterable[str]) -> list[str]:
    """Those of `paths`, relative to `root`, that do not exist. Lists each folder once; opens nothing."""
    wanted: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        wanted[os.path.dirname(path)].append(path)  # noqa: PTH120 (a million strings)
    missing = []
    for folder, inside in wanted.items():
        present = set(names_in(root / folder))
        missing += [path for path in inside if os.path.basename(path) not in present]  # noqa: PTH119
    return missing


def require_present(dataset: Dataset | OrdinalDataset, root: Path, split: str, missing: Sequence[str]) -> None:
    """Raises MissingFilesError with some of the `missing` files by name, if there are any."""
    if missing:
        named = ", ".join(printable(path) for path in missing[:_NAMED]) + (", ..." if len(missing) > _NAMED else "")
        raise MissingFilesError(
            f"{dataset.name}: {len(missing)} files of split {split!r} are missing in {printable(root)}: {named}",
            dataset,
        )


def require_folder(dataset: str, root: Path, *below: str) -> None:
    """Raises DataError naming the folders in `root` (or `root` itself) that are not there."""
    missing = [path for path in ("", *below) if not (root / path).is_dir()]
    if "" in missing:
        raise DataError(f"{dataset}: {printable(root)} is not a folder")
    if missing:
        raise DataError(f"{dataset}: {printable(root)} has no folder {', '.join(f'{path}/' for path in missing)}")


def require_file(dataset: str, root: Path, name: str, hint: str) -> Path:
    """The path of a file that must be in `root`. Raises DataError."""
    if not (root / name).is_file():
        raise DataError(f"{dataset}: {printable(root)} has no {name}: {hint}")
    return root / name


def check_split(dataset: str, split: str, known: Iterable[str]) -> None:
    """Raises DataError naming the splits that there are."""
    known = tuple(known)
    if split not in known:
        raise DataError(f"{dataset}: no split {split!r}; there is {', '.join(known) or 'none'}")


def same_size(path: Path, values: npt.NDArray[Any], other_path: Path, other: npt.NDArray[Any]) -> None:
    """Raises DataError naming both files where their arrays are not of one size."""
    if values.shape != other.shape:
        sizes = [f"{array.shape[1]}x{array.shape[0]}" for array in (values, other)]
        raise DataError(f"{printable(path)}: {sizes[0]} pixels, but {printable(other_path)} has {sizes[1]}")


def depth_target(metres: npt.NDArray[Any]) -> Target:
    """Depth in metres; invalid where it is not finite or not above zero."""
    valid = np.isfinite(metres) & (metres > 0)
    return Target(np.where(valid, metres, 0).astype(np.float32), valid, "depth_m", "m")


def inverse_target(values: npt.NDArray[Any], valid: npt.NDArray[np.bool_], unit: TargetUnit = "relative") -> Target:
    """Inverse depth with stated validity."""
    return Target(np.where(valid, values, 0).astype(np.float32), valid, "inverse_depth", unit)


def inverted_target(
    depth: npt.NDArray[Any], sky: npt.NDArray[np.bool_] | None = None, unit: TargetUnit = "relative"
) -> Target:
    """1 / depth; invalid where depth is not finite or not above zero; valid 0 where `sky`."""
    valid = np.isfinite(depth) & (depth > 0)
    if sky is not None:
        valid = valid & ~sky
    inverse = np.divide(1.0, depth, out=np.zeros(depth.shape, np.float64), where=valid)
    return Target(inverse.astype(np.float32), valid if sky is None else valid | sky, "inverse_depth", unit)


def label_target(labels: npt.NDArray[Any], path: Path, classes: int) -> Target:
    """Class ids below `classes`, 255 = ignored. Raises DataError for other ids."""
    bad = (labels >= classes) & (labels != IGNORED) if classes else np.zeros(labels.shape, np.bool_)
    if labels.dtype != np.uint8 or bad.any():
        found = int(labels[bad].max()) if bad.any() else str(labels.dtype)
        raise DataError(f"{printable(path)}: {found} is no class id below {classes}")
    return Target(labels, labels != IGNORED, "labels", "class")


def scaled(codes: npt.NDArray[Any], scale: float) -> npt.NDArray[np.float64]:
    """codes * scale, in float64."""
    return codes.astype(np.float64) * scale
