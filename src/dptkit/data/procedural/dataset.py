"""Rendered pictures as a data set: sample i is the picture of seed + i."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from dptkit.data.procedural.rendering import render_scene
from dptkit.data.sample import Sample, SampleFiles
from dptkit.errors import DataError

if TYPE_CHECKING:
    from dptkit.data.procedural.photos import PhotoTextures


@dataclass(frozen=True)
class ProceduralDataset:
    """`count` pictures with inverse depth in 1/m, valid everywhere, 0 for the sky. Satisfies `Dataset`; cheap to
    pickle.

    seed: of sample 0; ranges of seeds that do not overlap make sets that share nothing. size: (height, width).
    kind: one of KINDS, or None for all by their shares. photos: a folder of textures. Raises DataError.
    """

    count: int
    seed: int = 0
    size: tuple[int, int] = (240, 320)
    kind: str | None = None
    photos: PhotoTextures | None = None
    name: str = field(default="procedural", init=False)

    def __post_init__(self) -> None:
        if self.count < 1 or self.seed < 0:
            raise DataError(f"count must be at least 1 and seed at least 0, not {self.count} and {self.seed}")

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.count:
            raise IndexError(f"sample {index} of {self.count}")
        seed = self.seed + index
        rendered = render_scene(seed, size=self.size, kind=self.kind, photos=self.photos)
        return Sample(
            image=rendered.image,
            target=rendered.inverse_depth,
            quantity="inverse_depth",
            unit="1/m",
            valid=np.ones(rendered.depth_m.shape, bool),
            source=self.name,
            name=scene_name(seed),
            group=scene_name(seed),
            intrinsics=rendered.intrinsics,
        )

    def sample_files(self) -> Iterator[SampleFiles]:
        """Source and name of each sample; there are no files."""
        for index in range(self.count):
            yield SampleFiles(self.name, scene_name(self.seed + index))


def scene_name(seed: int) -> str:
    return f"scene-{seed:08d}"
