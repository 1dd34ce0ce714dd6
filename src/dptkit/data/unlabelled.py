"""Pictures without ground truth: any folder of them, and any other data set with its ground truth taken away.

pictures    ROOT/**/NAME.jpg (.png, .webp, .heic and whatever else `read_image` reads), folders below included
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dptkit.data.pairs import files_below, require_folder
from dptkit.data.reading import read_rgb
from dptkit.data.sample import Sample, SampleFiles
from dptkit.errors import DataError
from dptkit.image_io import SUPPORTED_SUFFIXES
from dptkit.image_io.names import printable

_SUFFIXES = tuple(sorted(case for suffix in SUPPORTED_SUFFIXES for case in (suffix, suffix.upper())))


@dataclass(frozen=True, eq=False)
class PictureFolder:
    """A `Dataset` of pictures. Nothing is known of any pixel: every sample is wholly invalid relative inverse depth.

    A sample's name is its path below `root`, its group the folder it lies in.
    """

    root: Path
    paths: tuple[str, ...]
    name: str = "pictures"

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Sample:
        path = self.paths[index]
        image = read_rgb(self.root / path)
        return _unknown(image, self.name, path, path.rpartition("/")[0])

    def image_path(self, index: int) -> Path:
        """The file of the picture."""
        return self.root / self.paths[index]

    def sample_files(self) -> Iterator[SampleFiles]:
        """Source, name and file of each sample."""
        for path in self.paths:
            yield SampleFiles(self.name, path, (self.root / path,))


def open_pictures(root: Path, split: str = "") -> PictureFolder:
    """Every picture in a folder and below, hidden ones left out, in the order of their paths.

    Every `split` is the same. Raises DataError for a folder that is not there or holds no picture.
    """
    require_folder("pictures", root)
    paths = tuple(files_below(root, _SUFFIXES))
    if not paths:
        raise DataError(f"pictures: {printable(root)} has no pictures, also not in folders below")
    return PictureFolder(root, paths)


@dataclass(frozen=True)
class WithoutGroundTruth:
    """An augmentation step that takes a sample's ground truth away, whatever it was.

    valid is then where the picture is: later steps that pad or turn it leave the rest invalid.
    """

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        bare = _unknown(sample.image, sample.source, sample.name, sample.group)
        return replace(bare, valid=np.ones_like(bare.valid), intrinsics=sample.intrinsics)


def _unknown(image: npt.NDArray[np.uint8], source: str, name: str, group: str) -> Sample:
    size = image.shape[:2]
    nothing = np.zeros(size, np.float32)
    return Sample(image, nothing, "inverse_depth", "relative", np.zeros(size, np.bool_), source, name, group)
