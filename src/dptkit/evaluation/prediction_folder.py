"""A folder of maps that something has made before: other tools' files with a stated quantity, and dptkit's own."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dptkit.data.reading import read_codes, read_values
from dptkit.errors import ConfigError, DataError, ImageReadError
from dptkit.evaluation.kept_prediction import kept_depth, read_arrays, sample_path
from dptkit.evaluation.subject import Prediction, SubjectIdentity
from dptkit.image_io import NoRecordError, read_depth, read_labels, read_metadata
from dptkit.image_io.names import printable
from dptkit.label_sets import voc_palette
from dptkit.outputs import DepthMap, Provenance, Quantity, SegmentationMap
from dptkit.runtime.exported_files import sha256_of_file

StoredQuantity = Literal["inverse_depth", "depth_m", "labels"]

_DEPTH_SUFFIXES = (".png", ".npy", ".npz", ".pfm", ".tif", ".tiff", ".exr")
_ENDINGS: dict[StoredQuantity | None, tuple[str, ...]] = {
    "inverse_depth": ("", "_depth"),
    "depth_m": ("", "_depth"),
    "labels": ("", "_labels"),
    None: ("", "_depth", "_labels"),
}


class PredictionFolder:
    """Predictions by the sample's name: for "a/b" the file a/b.EXT, a/b_depth.EXT (labels: a/b_labels.png), or, where
    there is none, the same of b alone. More than one is an error, and so is one file for two samples.

    Depth: 16-bit PNG or TIFF, float TIFF, NPY, NPZ of one array, PFM, EXR; stored numbers times `scale` are the
    quantity. NaN and infinity are invalid, and so is depth that is not positive; `valid` counts them. Labels: 8-bit
    PNG, 255 is no class. Files that dptkit wrote (`dpt depth`, `dpt segment`, `dpt eval --predictions`) say themselves
    what they hold, and a statement to the contrary is an error.

    quantity: of other tools' files; None reads dptkit's own only. suffix: what follows the sample's name where that is
    something else, or where several would fit, as in "_pred.npy". classes: names of label ids.
    The list of files is taken when it is made. Safe to use from several threads.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        quantity: StoredQuantity | None,
        scale: float = 1.0,
        suffix: str | None = None,
        classes: Sequence[str] = (),
    ) -> None:
        """Raises ConfigError for options that do not fit, DataError for a folder that is not there or holds nothing."""
        if quantity not in _ENDINGS:
            raise ConfigError(f"quantity must be inverse_depth, depth_m or labels, not {quantity!r}")
        if not (0 < scale < math.inf):
            raise ConfigError(f"scale must be a positive number, not {scale}")
        if scale != 1 and quantity not in ("inverse_depth", "depth_m"):
            raise ConfigError("scale is for files of depth whose quantity is stated")
        self._root = Path(root)
        self._quantity: StoredQuantity | None = quantity
        self._scale = scale
        self._suffix = suffix
        self._classes = tuple(classes)
        suffixes = (".png",) if quantity == "labels" else _DEPTH_SUFFIXES
        if suffix is not None and not suffix.lower().endswith(suffixes):
            raise ConfigError(f"suffix {suffix!r} must end in one of {', '.join(suffixes)}")
        files = _files_below(self._root, suffixes, suffix)
        if not files:
            raise DataError(f"{printable(self._root)}: no predictions ({suffix or ', '.join(suffixes)}) in it")
        self._files: dict[str, list[str]] = {}
        for file in files:
            stem = file if suffix is not None else file[: -len(PurePosixPath(file).suffix)]
            self._files.setdefault(stem, []).append(file)
        if quantity is None and not any(self._says_itself(self._root / file) for file in files):
            raise ConfigError(
                f"{printable(self._root)}: dptkit wrote none of its {len(files)} files: state their quantity "
                "(--quantity inverse_depth, depth_m or labels)"
            )
        self._claimed: dict[str, str] = {}

    @property
    def identity(self) -> SubjectIdentity:
        """The folder's last part; what was stated; a hash of the files' names and contents.

        The files are read for it once, when it is first asked for. Raises DataError where one cannot be.
        """
        details: dict[str, Any] = {"quantity": self._quantity, "scale": self._scale, "files_sha256": self._sha256}
        if self._suffix is not None:
            details["suffix"] = self._suffix
        return SubjectIdentity(printable(self._root.resolve().name), details=details)

    @cached_property
    def _sha256(self) -> str:
        digest = hashlib.sha256()
        for file in sorted(file for files in self._files.values() for file in files):
            try:
                content = sha256_of_file(self._root / file)
            except OSError as error:
                raise DataError(f"{printable(self._root / file)}: cannot be read ({error.strerror})") from error
            digest.update(f"{file}\0{content}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def place(self, name: str) -> Path:
        """The file that `read` reads. Raises DataError where there is none, or more than one."""
        return self._root / self._find(name)

    def read(self, name: str, /) -> Prediction:
        """The prediction for a sample, at its own size.

        Raises DataError naming the file that is missing, ambiguous, broken, or contradicts what was stated.
        """
        file = self._find(name)
        first = self._claimed.setdefault(file, name)  # atomic, so threads need no lock
        if first != name:
            raise DataError(
                f"{printable(self._root / file)}: would be the prediction of both {printable(first)} and "
                f"{printable(name)}: use folders as in the samples' names"
            )
        path = self._root / file
        prediction = self._own(path)
        return self._foreign(path) if prediction is None else prediction

    def _find(self, name: str) -> str:
        stem = sample_path(name)
        endings = _ENDINGS[self._quantity] if self._suffix is None else (self._suffix,)
        for base in dict.fromkeys((stem.as_posix(), stem.name)):
            found = [file for ending in endings for file in self._files.get(base + ending, ())]
            if len(found) > 1:
                raise DataError(
                    f"{printable(self._root)}: {len(found)} files could be the prediction of {printable(name)} "
                    f"({printable(', '.join(found))}): name the suffix"
                )
            if found:
                return found[0]
        wanted = " or ".join(stem.as_posix() + ending + ("" if self._suffix else ".*") for ending in endings)
        raise DataError(f"{printable(self._root)}: no prediction of {printable(name)} ({printable(wanted)})")

    def _own(self, path: Path) -> Prediction | None:
        """What dptkit wrote, checked against what was stated; None for a file of another tool."""
        try:
            prediction = self._read_own(path)
        except NoRecordError:
            return None
        except ImageReadError as error:
            raise DataError(str(error)) from error
        if prediction is None:
            return None
        holds = prediction.quantity if isinstance(prediction, DepthMap) else "labels"
        if self._quantity not in (None, holds):
            raise DataError(f"{printable(path)}: its record says {holds}, which is not the stated {self._quantity}")
        if self._scale != 1:
            raise DataError(f"{printable(path)}: its record gives its unit; a scale of {self._scale} contradicts it")
        return prediction

    def _says_itself(self, path: Path) -> bool:
        """Whether a file is dptkit's; a broken one may be, and reading it will tell what is wrong with it."""
        try:
            return self._read_own(path) is not None
        except NoRecordError:
            return False
        except (DataError, ImageReadError):
            return True

    def _read_own(self, path: Path) -> Prediction | None:
        suffix = path.suffix.lower()
        if suffix == ".npz":
            return kept_depth(path, read_arrays(path))
        if suffix == ".png" and read_metadata(path)["content"] == "labels":
            return read_labels(path)
        return read_depth(path)

    def _foreign(self, path: Path) -> Prediction:
        quantity = self._quantity
        provenance = Provenance(self._root.resolve().name, version="unknown", engine="unknown", precision="unknown")
        if quantity is None:
            raise DataError(
                f"{printable(path)}: not written by dptkit: state its quantity (inverse_depth, depth_m or labels)"
            )
        if quantity == "labels":
            return self._labels(path, provenance)
        return self._depth(path, quantity, provenance)

    def _labels(self, path: Path, provenance: Provenance) -> SegmentationMap:
        labels = read_codes(path)
        if labels.dtype != np.uint8:
            raise DataError(f"{printable(path)}: labels must be an 8-bit PNG, not {labels.dtype}")
        if not self._classes:
            raise DataError(f"{printable(path)}: does not name its classes, and no classes were given")
        try:
            return SegmentationMap(labels, self._classes, voc_palette(len(self._classes)), provenance)
        except ValueError as error:
            raise DataError(f"{printable(path)}: {error}") from error

    def _depth(self, path: Path, quantity: Quantity, provenance: Provenance) -> DepthMap:
        stored = _only_array(path) if path.suffix.lower() == ".npz" else _numbers(path)
        with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 is infinite, hence invalid
            values = (stored.astype(np.float64) * self._scale).astype(np.float32)
        if not values.size:
            raise DataError(f"{printable(path)}: the map is empty")
        valid = np.isfinite(values)
        if quantity == "depth_m":
            valid &= values > 0
        return DepthMap(values, quantity, valid, provenance)


def _files_below(root: Path, suffixes: tuple[str, ...], suffix: str | None) -> list[str]:
    """Files below `root` that end in `suffix` (None: `suffixes`), as paths with forward slashes."""
    if not root.is_dir():
        raise DataError(f"{printable(root)}: no such folder of predictions")
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for file in files:
            fits = file.lower().endswith(suffixes) if suffix is None else file.endswith(suffix)
            if fits and not file.startswith("."):
                found.append(Path(folder, file).relative_to(root).as_posix())
    return sorted(found)


def _numbers(path: Path) -> npt.NDArray[Any]:
    with np.errstate(over="ignore"):
        values = read_values(path)
    if values.dtype == np.uint8:
        raise DataError(f"{printable(path)}: 8 bits are a picture for the eye, not depth: use 16 bits or floats")
    return values


def _only_array(path: Path) -> npt.NDArray[Any]:
    arrays = read_arrays(path)
    if len(arrays) != 1:
        raise DataError(f"{printable(path)}: one array is needed, it has {printable(', '.join(arrays) or 'none')}")
    (values,) = arrays.values()
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise DataError(f"{printable(path)}: numbers [H, W] are needed, not {values.dtype} {values.shape}")
    return values
