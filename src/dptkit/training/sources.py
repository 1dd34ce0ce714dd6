"""From a run's configuration to batches: data sets, augmentation, loaders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from dptkit.config import PreprocessConfig
from dptkit.data.augment import (
    Augment,
    Augmentation,
    ColourJitter,
    RandomBlur,
    RandomCrop,
    RandomFlip,
    RandomGrey,
    RandomJpeg,
    RandomRotation,
    ResizeToCover,
    ToInverseDepth,
)
from dptkit.data.augment_geometry import RandomScale
from dptkit.data.batches import Batch, MixedBatches, mixed_loader
from dptkit.data.mixing import Mixture
from dptkit.data.registry import open_dataset
from dptkit.data.sample import Dataset
from dptkit.training.config import OnDisk, Procedural, TrainConfig


def open_source(source: Procedural | OnDisk) -> Dataset:
    """Raises DataError naming what is missing."""
    if isinstance(source, OnDisk):
        return open_dataset(source.dataset, Path(source.root), source.split, **source.options)
    from dptkit.data.procedural import PhotoTextures, ProceduralDataset

    photos = None if source.photos is None else PhotoTextures(Path(source.photos))
    return ProceduralDataset(source.count, source.seed, (source.height, source.width), photos=photos)


def build_augmentation(config: TrainConfig, size: tuple[int, int], *, training: bool) -> Augmentation:
    """As small as covers `size` (in training times the random scale), a crop of it, then what `config` asks for."""
    chances = config.augment
    steps: list[Augmentation] = [] if config.loss.kind != "relative_depth" else [ToInverseDepth()]
    steps.append(ResizeToCover(size))
    if training:
        steps.append(RandomScale(*chances.scale))
        if chances.rotation_degrees:
            steps.append(RandomRotation(chances.rotation_degrees))
    steps.append(RandomCrop(size))
    if training:
        steps.append(RandomFlip(chances.flip))
        if chances.colour:
            steps.append(ColourJitter(probability=chances.colour))
        if chances.grey:
            steps.append(RandomGrey(chances.grey))
        if chances.blur:
            steps.append(RandomBlur(probability=chances.blur))
        if chances.jpeg:
            steps.append(RandomJpeg(probability=chances.jpeg))
    return Augment(tuple(steps))


class TrainingBatches:
    """Batches of a run from any step on; the same whatever the number of workers and ranks."""

    def __init__(
        self, config: TrainConfig, preprocess: PreprocessConfig, datasets: Sequence[Dataset], rank: int, ranks: int
    ) -> None:
        self.config, self.preprocess, self.datasets = config, preprocess, datasets
        self.rank, self.ranks = rank, ranks

    def from_step(self, first: int) -> Iterator[Batch]:
        """One batch per step from `first` on, to the end of the phase that it is in."""
        config = self.config
        phase = config.phase_at(first)
        number = config.phases.index(phase)
        later = [other.start for other in config.phases[number + 1 :]]
        end = later[0] if later else config.steps
        mixture = Mixture(
            tuple(len(dataset) for dataset in self.datasets),
            config.seed + number,
            phase.batch_size,
            tuple(source.weight for source in config.sources),
        )
        batches = MixedBatches(
            self.datasets,
            mixture,
            [build_augmentation(config, size, training=True) for size in phase.crops],
            end - phase.start,
            first - phase.start,
            self.rank,
            self.ranks,
        )
        # The loader yields what Collate makes of a list of samples.
        yield from mixed_loader(batches, self.preprocess, config.workers)


def validation_batches(config: TrainConfig, preprocess: PreprocessConfig, batch_size: int = 8) -> Iterator[Batch]:
    """The same pictures every time: the first `validation_pictures` draws from the validation sources."""
    datasets = [open_source(source) for source in config.validation]
    mixture = Mixture(tuple(len(dataset) for dataset in datasets), 0, batch_size)
    size = config.phases[-1].crops[0]
    steps = -(-config.validation_pictures // batch_size)
    batches = MixedBatches(datasets, mixture, build_augmentation(config, size, training=False), steps)
    yield from mixed_loader(batches, preprocess)
