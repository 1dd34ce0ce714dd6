"""iBims-1: 100 indoor pictures, 640x480, laser-scanned depth in metres with sharp and complete edges.

Where from   https://www.bgu.tum.de/lmf/ibims1: imagelist.txt, ibims1_core_raw.zip and ibims1_core_mat.zip, the same
             data twice
Licence      see its page
Layouts      raw: ROOT/imagelist.txt, ROOT/ibims1_core_raw/{rgb,depth,mask_invalid,mask_transp}/NAME.png and
             calib/NAME.txt; depth is 16-bit, metres = stored * 50 / 65535, 0 = no measurement; masks: 0 = leave out
             mat: ROOT/imagelist.txt, ROOT/ibims1_core_mat/NAME.mat (scipy) with a record `data`: rgb, depth in metres
             as floats, mask_invalid, mask_transp, calib
Relied on    the authors' evaluation_scripts (evaluate_ibims_error_metrics.py, as kept in public copies: what is masked,
             that calib holds a transposed matrix) and isl-org/ZoeDepth zoedepth/data/ibims.py (scale of the PNG)
Uncertain    how calib/NAME.txt is laid out: four numbers fx, fy, cx, cy and a 3x3 matrix either way round are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dptkit.data.pairs import (
    Intrinsics,
    Pair,
    PairedFiles,
    Target,
    absent_files,
    check_split,
    depth_target,
    require_file,
    require_folder,
    require_present,
    same_size,
    scaled,
)
from dptkit.data.reading import read_codes, read_lines, read_mask, read_mat
from dptkit.data.sample import Sample, SampleFiles
from dptkit.errors import DataError
from dptkit.image_io.names import printable

LIST, RAW, MAT = "imagelist.txt", "ibims1_core_raw", "ibims1_core_mat"
_METRES = 50 / 65535
_FOLDERS = ("rgb", "depth", "mask_invalid", "mask_transp")


def open_ibims(
    root: Path, split: str = "test", *, layout: Literal["raw", "mat"] = "raw", transparent: bool = False
) -> PairedFiles | IbimsMat:
    """The 100 pictures, in the order of the list; the only split is test.

    layout: which of the two downloads. transparent: count glass too, whose measured depth is that of what is behind it;
    the authors' evaluation leaves it out.
    """
    check_split("ibims-1", split, ("test",))
    require_folder("ibims-1", root)
    names = read_lines(require_file("ibims-1", root, LIST, "the names of the pictures, a file of its own to download"))
    if layout == "mat":
        require_folder("ibims-1", root, MAT)
        return IbimsMat(root, tuple(names), transparent).require(split)
    require_folder("ibims-1", root, *(f"{RAW}/{folder}" for folder in _FOLDERS))
    decode = decode_with_glass if transparent else decode_ibims
    pairs = tuple(
        Pair(
            f"{RAW}/rgb/{name}.png", tuple(f"{RAW}/{folder}/{name}.png" for folder in _FOLDERS[1:]), name, name, decode,
            _intrinsics(root / RAW / "calib" / f"{name}.txt"),
        )
        for name in names
    )  # fmt: skip
    return PairedFiles("ibims-1", root, pairs).require(split)


def decode_ibims(paths: Sequence[Path]) -> Target:
    """(depth, mask_invalid, mask_transp) -> metres, valid where depth and both masks are not 0."""
    codes = read_codes(paths[0])
    if codes.dtype != np.uint16:
        raise DataError(f"{printable(paths[0])}: {codes.dtype} where 16-bit depth belongs")
    valid = np.ones(codes.shape, np.bool_)
    for path in paths[1:]:
        mask = read_mask(path)
        same_size(paths[0], codes, path, mask)
        valid &= mask
    return depth_target(scaled(np.where(valid, codes, 0), _METRES))


def decode_with_glass(paths: Sequence[Path]) -> Target:
    """As `decode_ibims`, whatever mask_transp says."""
    return decode_ibims(paths[:2])


@dataclass(frozen=True, eq=False)
class IbimsMat:
    """A `Dataset` of the .mat files. transparent: count glass too."""

    root: Path
    names: tuple[str, ...]
    transparent: bool = False
    name: str = "ibims-1"

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        path = self._path(name)
        content = read_mat(path)
        try:
            record = content["data"][0, 0]
            image = np.ascontiguousarray(record["rgb"], np.uint8)
            valid = record["mask_invalid"] != 0
            if not self.transparent:
                valid = valid & (record["mask_transp"] != 0)
            target = depth_target(np.where(valid, record["depth"], 0))
            camera = _matrix(record["calib"])
            return Sample(
                image, target.values, target.quantity, target.unit, target.valid,
                source=self.name, name=name, group=name, intrinsics=camera,
            )  # fmt: skip
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise DataError(f"{printable(path)}: not a picture of iBims-1 ({error})") from error

    def sample_files(self) -> Iterator[SampleFiles]:
        """Source, name and file of each sample."""
        for name in self.names:
            yield SampleFiles(self.name, name, (self._path(name),))

    def require(self, split: str) -> IbimsMat:
        """Itself, if all files are there. Raises DataError, MissingFilesError."""
        if not self.names:
            raise DataError(f"ibims-1: {printable(self.root / LIST)} names no pictures")
        require_present(self, self.root, split, absent_files(self.root, (f"{MAT}/{name}.mat" for name in self.names)))
        return self

    def _path(self, name: str) -> Path:
        return self.root / MAT / f"{name}.mat"


def _intrinsics(path: Path) -> Intrinsics | None:
    """None without a file."""
    if not path.is_file():
        return None
    try:
        numbers = [float(word) for word in re.split(r"[\s,;]+", " ".join(read_lines(path))) if word]
        if len(numbers) == 4:
            return numbers[0], numbers[1], numbers[2], numbers[3]
        return _matrix(np.array(numbers).reshape(3, 3))
    except ValueError:
        raise DataError(f"{printable(path)}: neither four numbers fx, fy, cx, cy nor a 3x3 matrix") from None


def _matrix(matrix: npt.NDArray[Any]) -> Intrinsics:
    """The principal point is in the last column, or in the last row of MATLAB's transposed matrix."""
    transposed = matrix if matrix[0, 2] else matrix.T
    return float(matrix[0, 0]), float(matrix[1, 1]), float(transposed[0, 2]), float(transposed[1, 2])
