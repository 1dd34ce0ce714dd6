"""Scenes that `dpt data render` wrote, read back with their sky: pictures from disk instead of rendering anew.

ROOT/procedural/NAME.jpg, NAME.png (16-bit disparity, 0 = sky), NAME.json, written last, which marks a whole scene.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dptkit.data.sample import Sample, SampleFiles
from dptkit.errors import DataError
from dptkit.image_io import read_image

_FOLDER = "procedural"
_SCALE = 1e-4  # 1/m per step, as written


@dataclass(frozen=True)
class RenderedScenes:
    """Complete scenes of a folder, in the order of their names. Every pixel is valid; the sky's inverse depth is 0."""

    root: Path
    scenes: tuple[str, ...]
    name: str = "rendered"

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> Sample:
        scene = self.scenes[index]
        path = self.root / _FOLDER / scene
        disparity = cv2.imread(str(path.with_name(scene + ".png")), cv2.IMREAD_UNCHANGED)
        if disparity is None or disparity.dtype != np.uint16 or disparity.ndim != 2:
            raise DataError(f"{path}.png: not a 16-bit disparity picture")
        target = disparity.astype(np.float32) * np.float32(_SCALE)
        return Sample(
            image=read_image(path.with_name(scene + ".jpg")),
            target=target,
            quantity="inverse_depth",
            unit="1/m",
            valid=np.ones(target.shape, np.bool_),
            source=self.name,
            name=scene,
            group=scene,
        )

    def sample_files(self) -> Iterator[SampleFiles]:
        """Source, name and files of each sample."""
        for scene in self.scenes:
            path = self.root / _FOLDER / scene
            yield SampleFiles(self.name, scene, (path.with_name(scene + ".jpg"), path.with_name(scene + ".png")))


def open_rendered(root: Path, split: str) -> RenderedScenes:
    """All complete scenes under `root`; every `split` is the same. Raises DataError if there are none."""
    folder = Path(root) / _FOLDER
    scenes = sorted(path.stem for path in folder.glob("scene-*.json")) if folder.is_dir() else []
    if not scenes:
        raise DataError(f"{folder}: no rendered scenes; make some with dpt data render {root}")
    first = json.loads((folder / f"{scenes[0]}.json").read_text("utf-8"))
    if not (folder / f"{scenes[0]}.jpg").is_file():
        raise DataError(f"{folder}: scenes without .jpg pictures: {sorted(first)[:3]}")
    return RenderedScenes(Path(root), tuple(scenes))
