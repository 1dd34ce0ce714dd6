"""Pictures that tell the ranges of a network's activations."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dptkit.config import PreprocessConfig
from dptkit.data.unlabelled import open_pictures
from dptkit.errors import ConfigError, DataError, ImageReadError
from dptkit.image_io import read_image
from dptkit.image_io.names import printable
from dptkit.preprocess import preprocess

DEFAULT_COUNT = 64
Input = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Calibration:
    """inputs: normalised float32 [1, 3, h, w]. folders: their last parts. sha256: of the pictures' files, in order."""

    inputs: tuple[Input, ...]
    folders: tuple[str, ...]
    sha256: str

    def to_card(self) -> dict[str, object]:
        """What a quantised file says of it, JSON-ready."""
        return {"folders": list(self.folders), "pictures": len(self.inputs), "sha256": self.sha256}


def choose_pictures(folders: Sequence[Path], count: int) -> tuple[Path, ...]:
    """At most `count` pictures of all folders and those below, evenly spread over their sorted paths: always the same.

    Raises DataError for a folder that is not there or has no picture, ConfigError for a count below 1.
    """
    if count < 1:
        raise ConfigError(f"the number of calibration pictures must be at least 1, not {count}")
    opened = [open_pictures(folder) for folder in folders]
    paths = [pictures.image_path(index) for pictures in opened for index in range(len(pictures))]
    chosen = min(count, len(paths))
    return tuple(paths[index * len(paths) // chosen] for index in range(chosen))


def read_calibration(
    folders: Sequence[Path],
    config: PreprocessConfig,
    count: int = DEFAULT_COUNT,
    on_problem: Callable[[str], None] | None = None,
) -> Calibration:
    """Read and preprocess the chosen pictures as a prediction does.

    on_problem: told of each picture that cannot be read, which is left out. Raises DataError if none can, and what
    `choose_pictures` raises.
    """
    inputs, digest = [], hashlib.sha256()
    for path in choose_pictures(folders, count):
        try:
            inputs.append(preprocess(read_image(path), config)[None])
        except ImageReadError as error:
            if on_problem is not None:
                on_problem(str(error))
            continue
        digest.update(path.read_bytes())
    if not inputs:
        raise DataError(f"calibration: no picture in {', '.join(map(printable, folders))} can be read")
    return Calibration(tuple(inputs), tuple(printable(folder.resolve().name) for folder in folders), digest.hexdigest())
