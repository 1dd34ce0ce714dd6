"""What every data set yields, and what a data set is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

TargetQuantity = Literal["inverse_depth", "depth_m", "labels"]
TargetUnit = Literal["m", "1/m", "relative", "class"]

_UNITS: dict[TargetQuantity, tuple[TargetUnit, ...]] = {
    "inverse_depth": ("1/m", "relative"),
    "depth_m": ("m",),
    "labels": ("class",),
}
IGNORED = 255


@dataclass(frozen=True, eq=False)
class Sample:
    """One picture with ground truth of the same size.

    image: uint8 RGB [H, W, 3].
    target: float32 [H, W]: inverse depth (unit "1/m", or "relative" for disparity known up to scale and shift) or
        depth in metres; for labels uint8 [H, W], class ids from 0, 255 = ignore.
    valid: bool [H, W]; False where nothing was measured. Sky, where known, is valid with inverse depth 0.
    source, name: the data set's name, and the picture's, unique within it.
    group: the sequence or scene it comes from; groups are never divided between training and test.
    intrinsics: (fx, fy, cx, cy) in pixels where known.
    camera_pose: float64 [4, 4], camera (x right, y down, z ahead) to world, where known; of the picture as it was
        taken: steps that mirror or turn a picture leave it.

    Raises ValueError where shapes, types or unit do not fit together, or a valid target is not finite or negative.
    """

    image: npt.NDArray[np.uint8]
    target: npt.NDArray[Any]
    quantity: TargetQuantity
    unit: TargetUnit
    valid: npt.NDArray[np.bool_]
    source: str
    name: str
    group: str = ""
    intrinsics: tuple[float, float, float, float] | None = None
    camera_pose: npt.NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        size = self.image.shape[:2]
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise ValueError(f"{self.name}: image must be uint8 [H, W, 3], not {self.image.dtype} {self.image.shape}")
        dtype = np.uint8 if self.quantity == "labels" else np.float32
        if self.target.shape != size or self.target.dtype != dtype:
            raise ValueError(
                f"{self.name}: {self.quantity} must be {np.dtype(dtype)} {size}, "
                f"not {self.target.dtype} {self.target.shape}"
            )
        if self.unit not in _UNITS[self.quantity]:
            raise ValueError(f"{self.name}: {self.quantity} cannot be in unit {self.unit!r}")
        if self.valid.shape != size or self.valid.dtype != np.bool_:
            raise ValueError(f"{self.name}: valid must be bool {size}, not {self.valid.dtype} {self.valid.shape}")
        if self.quantity != "labels":
            values = self.target[self.valid]
            if not (np.isfinite(values).all() and (values >= 0).all()):
                raise ValueError(f"{self.name}: valid {self.quantity} must be finite and not negative")


@dataclass(frozen=True, eq=False)
class OrdinalSample:
    """One picture with pairs of points of which it is known which is nearer.

    points: int64 [P, 2, 2], for each pair (row, column) of A and of B, from 0, inside the picture.
    nearer: int8 [P]; 1 where A is nearer, -1 where B is, 0 where they are equally far.
    Raises ValueError where shapes, types or places do not fit.
    """

    image: npt.NDArray[np.uint8]
    points: npt.NDArray[np.int64]
    nearer: npt.NDArray[np.int8]
    source: str
    name: str
    group: str = ""

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise ValueError(f"{self.name}: image must be uint8 [H, W, 3], not {self.image.dtype} {self.image.shape}")
        if self.points.ndim != 3 or self.points.shape[1:] != (2, 2) or self.points.dtype != np.int64:
            raise ValueError(
                f"{self.name}: points must be int64 [P, 2, 2], not {self.points.dtype} {self.points.shape}"
            )
        if self.nearer.shape != self.points.shape[:1] or self.nearer.dtype != np.int8:
            raise ValueError(f"{self.name}: nearer must be int8 {self.points.shape[:1]}, not {self.nearer.shape}")
        if (self.points < 0).any() or (self.points >= self.image.shape[:2]).any():
            raise ValueError(f"{self.name}: a point lies outside the picture")
        if not np.isin(self.nearer, (-1, 0, 1)).all():
            raise ValueError(f"{self.name}: nearer must be 1, 0 or -1")


class SampleFiles(NamedTuple):
    """What is known of a sample without reading it. files: those it is made of, where it lies in files."""

    source: str
    name: str
    files: tuple[Path, ...] = ()


@runtime_checkable
class KnowsItsFiles(Protocol):
    """A data set that can name its samples, in their order, without opening them."""

    def sample_files(self) -> Iterator[SampleFiles]: ...


class OrdinalDataset(Protocol):
    """As `Dataset`, of pairs of points."""

    @property
    def name(self) -> str: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> OrdinalSample: ...


class Dataset(Protocol):
    """Samples by index, cheap to make and to pickle: it holds names, not pictures, and opens files when asked.

    Raises, when made, DataError for a folder that is not laid out as the data set is distributed, saying what is
    missing; when indexed, DataError naming the file that is broken.
    """

    @property
    def name(self) -> str: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Sample: ...
