"""Data sets that are pictures with annotated pairs of points: which of the two is nearer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dptkit.data.pairs import absent_files, require_present
from dptkit.data.reading import read_rgb
from dptkit.data.sample import OrdinalSample, SampleFiles
from dptkit.errors import DataError
from dptkit.image_io.names import printable

Point = tuple[int, int]
"""(row, column), from 0."""


class AnnotatedPicture(NamedTuple):
    """One picture and its pairs, as in `OrdinalSample`. image: relative to the data set's folder.

    size: (height, width) that the points refer to, where the annotation states it. upright: as in `Pair`.
    """

    image: str
    points: tuple[tuple[Point, Point], ...]
    nearer: tuple[int, ...]
    name: str
    group: str = ""
    size: tuple[int, int] | None = None
    upright: bool = True


@dataclass(frozen=True, eq=False)
class OrdinalFiles:
    """An `OrdinalDataset` of pictures in a folder."""

    name: str
    root: Path
    pictures: tuple[AnnotatedPicture, ...]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> OrdinalSample:
        entry = self.pictures[index]
        path = self.root / entry.image
        image = read_rgb(path, upright=entry.upright)
        height, width = image.shape[:2]
        if entry.size not in (None, (height, width)):
            stated_height, stated_width = entry.size
            raise DataError(
                f"{printable(path)}: {width}x{height} pixels, but the annotation is of {stated_width}x{stated_height}"
            )
        try:
            return OrdinalSample(
                image=image,
                points=np.array(entry.points, np.int64).reshape(-1, 2, 2),
                nearer=np.array(entry.nearer, np.int8),
                source=self.name,
                name=entry.name,
                group=entry.group,
            )
        except ValueError as error:
            raise DataError(f"{printable(path)}: {error}") from error

    def image_path(self, index: int) -> Path:
        """The file of the picture."""
        return self.root / self.pictures[index].image

    def sample_files(self) -> Iterator[SampleFiles]:
        """Source, name and file of each sample, in order."""
        for entry in self.pictures:
            yield SampleFiles(self.name, entry.name, (self.root / entry.image,))

    def require(self, split: str) -> OrdinalFiles:
        """Itself, if it has pictures and all their files are there. Raises DataError, MissingFilesError."""
        if not self.pictures:
            raise DataError(f"{self.name}: no pairs of points for split {split!r} in {printable(self.root)}")
        require_present(self, self.root, split, absent_files(self.root, (entry.image for entry in self.pictures)))
        return self
