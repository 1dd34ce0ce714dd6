"""Two views of each unlabelled picture, as batches: the clean one for the teacher, a distorted one for the student.

B batch · h w crop
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from dptkit.config import PreprocessConfig
from dptkit.data.augment import Augmentation, cutmix
from dptkit.data.batches import Collate, MixedBatches, MixedSample, in_order
from dptkit.data.mixing import augmentation_rng
from dptkit.data.sample import Sample


class Views(NamedTuple):
    """One crop, clean and distorted. cutmix_seed: of the rectangle that a neighbour fills in, None for none."""

    clean: Sample
    strong: Sample
    cutmix_seed: int | None


class ViewBatch(NamedTuple):
    """B crops, each twice. clean, strong: float32 [B, 3, h, w], normalised.

    from_other: bool [B, h, w], where `strong` shows the neighbour's picture (see `neighbours`) instead of its own.
    shown: bool [B, h, w], where `clean` shows its picture; elsewhere it was padded, or turned.
    """

    clean: torch.Tensor
    strong: torch.Tensor
    from_other: torch.Tensor
    shown: torch.Tensor
    names: tuple[str, ...]


class MixedViews(TorchDataset[Views]):
    """The views of what `batches` draws; like it, a pure function of seed and place.

    batches: with a weak augmentation (crop, flip), which both views have. strong: colours only. cutmix: its chance.
    """

    def __init__(self, batches: MixedBatches, strong: Augmentation, cutmix: float) -> None:
        self.batches, self.strong, self.cutmix = batches, strong, cutmix

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Views:
        clean = self.batches[index].sample
        # A stream of its own: the weak augmentation may draw as much as it likes.
        rng = augmentation_rng(self.batches.draw(index).augmentation_seed ^ 1)
        strong = self.strong(clean, rng)
        seed = int(rng.integers(2**63)) if rng.random() < self.cutmix else None
        return Views(clean, strong, seed)


@dataclass(frozen=True)
class CollateViews:
    """Views of one size -> ViewBatch. CutMix is between neighbours of the batch; the last of an odd number has none."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, views: Sequence[Views]) -> ViewBatch:
        collate = Collate(self.mean, self.std)
        strong: list[MixedSample] = []
        from_other = np.zeros((len(views), *views[0].clean.valid.shape), np.bool_)
        for place, other in enumerate(neighbours(len(views))):
            sample, seed = views[place].strong, views[place].cutmix_seed
            if seed is not None and other != place:
                sample, from_other[place] = cutmix(sample, views[other].strong, augmentation_rng(seed))
            strong.append(MixedSample(sample, 0))
        clean = collate([MixedSample(view.clean, 0) for view in views])
        return ViewBatch(clean.image, collate(strong).image, torch.from_numpy(from_other), clean.valid, clean.names)


def neighbours(count: int) -> list[int]:
    """Who is mixed with whom: 0 with 1, 2 with 3, and so on; the last of an odd number with itself."""
    return [place ^ 1 if place ^ 1 < count else place for place in range(count)]


def view_loader(views: MixedViews, preprocess: PreprocessConfig, workers: int = 0) -> DataLoader[Views]:
    """A DataLoader that yields one `ViewBatch` for each step, in order. It leaves torch's global generator alone."""
    return in_order(views, views.batches.local_batch_size, CollateViews(preprocess.mean, preprocess.std), workers)
