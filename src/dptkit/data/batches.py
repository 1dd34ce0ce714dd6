"""Samples to tensors: training batches drawn from a mixture of data sets, for torch's DataLoader."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from dptkit.config import PreprocessConfig
from dptkit.data.augment import Augmentation, cutmix
from dptkit.data.mixing import Draw, Mixture, augmentation_rng
from dptkit.data.sample import Dataset, Sample, TargetQuantity
from dptkit.errors import DataError

T = TypeVar("T")


class MixedSample(NamedTuple):
    """A sample and the number of the data set it was drawn from."""

    sample: Sample
    source: int


class Batch(NamedTuple):
    """B samples as tensors.

    image: float32 [B, 3, h, w], normalised. target: float32 [B, h, w], or int64 for labels. valid: bool [B, h, w].
    source: int64 [B], number of the data set. quantity: of all targets.
    """

    image: torch.Tensor
    target: torch.Tensor
    valid: torch.Tensor
    source: torch.Tensor
    quantity: TargetQuantity
    names: tuple[str, ...]


class MixedBatches(TorchDataset[MixedSample]):
    """The samples of one rank's part of global batches, in order, for a DataLoader without shuffling.

    Rank r of R takes places r * B/R to (r + 1) * B/R of every global batch of B. Index 0 is the first place of step
    `first_step`, so resuming is making this anew with the step to go on from. Use with batch_size=B/R, any number of
    workers, and `Collate`; `mixed_loader` does.

    augmentations: one is drawn for each step, so that all samples of a batch get the same size.
    cutmix: chance that a rectangle of a sample is the next one's of the global batch, whichever rank has that.
    Raises ValueError if the batch cannot be divided among the ranks, or the mixture is of other data sets.
    """

    def __init__(
        self,
        datasets: Sequence[Dataset],
        mixture: Mixture,
        augmentations: Augmentation | Sequence[Augmentation],
        steps: int,
        first_step: int = 0,
        rank: int = 0,
        ranks: int = 1,
        cutmix: float = 0.0,
    ) -> None:
        if mixture.sizes != tuple(len(dataset) for dataset in datasets):
            raise ValueError(f"the mixture is of data sets of {mixture.sizes} samples, not of these")
        if mixture.batch_size % ranks or not 0 <= rank < ranks:
            raise ValueError(f"rank {rank} of {ranks} cannot take its part of batches of {mixture.batch_size}")
        if not 0 <= first_step <= steps:
            raise ValueError(f"step {first_step} is not among {steps} steps")
        self.datasets = tuple(datasets)
        self.mixture = mixture
        self.augmentations = tuple(augmentations) if isinstance(augmentations, Sequence) else (augmentations,)
        self.first_step, self.steps, self.rank = first_step, steps, rank
        self.local_batch_size = mixture.batch_size // ranks
        self.cutmix = cutmix

    def __len__(self) -> int:
        return (self.steps - self.first_step) * self.local_batch_size

    def draw(self, index: int) -> Draw:
        """What comes at an index. Raises IndexError beyond the end."""
        return self.mixture.draw(*self._place(index))

    def __getitem__(self, index: int) -> MixedSample:
        step, position = self._place(index)
        draw = self.mixture.draw(step, position)
        sample = self._augmented(step, draw)
        if self.cutmix:
            # A stream of its own: crops and colours are the same with and without.
            rng = augmentation_rng(draw.augmentation_seed ^ 1)
            if rng.random() < self.cutmix:
                other = self._augmented(step, self.mixture.draw(step, (position + 1) % self.mixture.batch_size))
                sample = cutmix(sample, other, rng).sample
        return MixedSample(sample, draw.dataset)

    def _place(self, index: int) -> tuple[int, int]:
        """Step and position in its global batch."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        step, place = divmod(index, self.local_batch_size)
        return self.first_step + step, self.rank * self.local_batch_size + place

    def _augmented(self, step: int, draw: Draw) -> Sample:
        augmentation = self.augmentations[self.mixture.choose(step, len(self.augmentations))]
        sample = self.datasets[draw.dataset][draw.sample]
        try:
            return augmentation(sample, augmentation_rng(draw.augmentation_seed))
        except ValueError as error:  # what the steps of an augmentation say of a sample that they cannot take
            raise DataError(f"{sample.source}: {error}") from error


@dataclass(frozen=True)
class Collate:
    """Samples of one size and quantity -> Batch, normalised by mean and std.

    Raises ValueError naming the samples that do not go together.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, samples: Sequence[MixedSample]) -> Batch:
        first = samples[0].sample
        for sample, _ in samples:
            if sample.image.shape != first.image.shape or sample.quantity != first.quantity:
                raise ValueError(
                    f"{sample.source}/{sample.name} ({sample.quantity} {sample.image.shape}) and {first.source}/"
                    f"{first.name} ({first.quantity} {first.image.shape}) cannot be in one batch"
                )
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        images = np.stack([sample.image for sample, _ in samples]) / np.float32(255)
        images = (images - mean) / std
        targets = torch.from_numpy(np.stack([sample.target for sample, _ in samples]))
        return Batch(
            image=torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))),
            target=targets.long() if first.quantity == "labels" else targets,
            valid=torch.from_numpy(np.stack([sample.valid for sample, _ in samples])),
            source=torch.tensor([source for _, source in samples]),
            quantity=first.quantity,
            names=tuple(f"{sample.source}/{sample.name}" for sample, _ in samples),
        )


def mixed_loader(batches: MixedBatches, preprocess: PreprocessConfig, workers: int = 0) -> DataLoader[MixedSample]:
    """A DataLoader that yields one `Batch` for each step, in order; the number of workers changes only the speed."""
    return in_order(batches, batches.local_batch_size, Collate(preprocess.mean, preprocess.std), workers)


def in_order(
    samples: TorchDataset[T], batch_size: int, collate: Callable[[list[T]], Any], workers: int
) -> DataLoader[T]:
    """How every training loader is made: batches in order, whatever the number of workers."""
    return _Loader(
        samples,
        batch_size=batch_size,
        shuffle=False,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        # Its own: a run that goes on must find torch's global one as it was.
        generator=torch.Generator(),
        worker_init_fn=_leave_signals_alone,
    )


class _Loader(DataLoader[T]):
    def __iter__(self) -> Any:
        """Batches. From a worker, torch sends the worker's whole traceback as the message of an error; its last line
        is the message."""
        try:
            yield from super().__iter__()
            return
        except DataError as error:
            last = str(error).strip().splitlines()[-1]
            error.__traceback__ = None  # whose frames would keep the workers alive
        raise DataError(last.removeprefix(f"{DataError.__module__}.{DataError.__qualname__}: "))

    def check_worker_number_rationality(self) -> None:
        """Torch warns here, twice, of more workers than cores; how long a run waits for data is in its log."""


def _leave_signals_alone(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal: whether and when to end, the one that trains decides.

    It ends its workers through their queues; when it dies, they notice.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
