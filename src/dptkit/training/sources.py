"""From a run's configuration to batches: data sets, augmentation, loaders."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from dptkit.config import PreprocessConfig
from dptkit.data.augment import (
    Augment,
    Augmentation,
    ColourJitter,
    CutBorder,
    RandomBlur,
    RandomCrop,
    RandomFlip,
    RandomGrey,
    RandomJpeg,
    RandomLongSide,
    RandomRotation,
    RandomScale,
    ResizeLongSide,
    ResizeToHold,
    ToInverseDepth,
)
from dptkit.data.batches import Batch, Collate, MixedBatches, mixed_loader
from dptkit.data.kitti import KbCrop
from dptkit.data.mixing import Mixture
from dptkit.data.registry import open_dataset
from dptkit.data.sample import Dataset
from dptkit.errors import DataError
from dptkit.training.config import Augment as AugmentConfig
from dptkit.training.config import OnDisk, Procedural, TrainConfig


def describe_source(source: Procedural | OnDisk) -> str:
    """What the configuration says it is, for people."""
    if isinstance(source, Procedural):
        return "procedural"
    return f"{source.dataset} in {source.root}" + (f", {source.split}" if source.split else "")


def open_source(source: Procedural | OnDisk, key: str = "source") -> Dataset:
    """Raises DataError naming `key`, its place in the configuration, and what is missing."""
    try:
        if isinstance(source, OnDisk):
            return open_dataset(source.dataset, Path(source.root), source.split, **source.options)
        from dptkit.data.procedural import PhotoTextures, ProceduralDataset

        photos = None if source.photos is None else PhotoTextures(Path(source.photos))
        return ProceduralDataset(source.count, source.seed, (source.height, source.width), photos=photos)
    except DataError as error:
        raise DataError(f"{key} ({describe_source(source)}): {error}") from None


def open_training(config: TrainConfig) -> list[Dataset]:
    """Raises DataError, which names all that cannot be opened."""
    return _open_all("sources", config.sources)


def open_validation(config: TrainConfig) -> list[Dataset]:
    """Raises DataError, which names all that cannot be opened."""
    return _open_all("validation", config.validation)


def _open_all(key: str, sources: Sequence[Procedural | OnDisk]) -> list[Dataset]:
    opened: list[Dataset] = []
    problems: dict[str, DataError] = {}
    for number, source in enumerate(sources):
        try:
            opened.append(open_source(source, f"{key}.{number}"))
        except DataError as error:
            problems[f"{key}.{number}"] = error
    if problems:
        first, *others = problems
        also = f"; nor can {', '.join(others)} be opened" if others else ""
        raise DataError(f"{problems[first]}{also}")
    return opened


def by_key(**groups: Sequence[Dataset]) -> dict[str, Dataset]:
    """Data sets by their keys in the configuration, as sources.0."""
    return {f"{key}.{number}": dataset for key, group in groups.items() for number, dataset in enumerate(group)}


def build_augmentation(config: TrainConfig, size: tuple[int, int], *, training: bool) -> Augmentation:
    """To crops of `size`, (height, width), as `config.augment` says. Not in training: without its random changes."""
    chances = config.augment
    steps: list[Augmentation] = [] if config.loss.kind != "relative_depth" else [ToInverseDepth()]
    steps += build_cropping(chances, size, training=training)
    if training and chances.colour:
        strengths = (chances.brightness, chances.contrast, chances.saturation, chances.hue)
        steps.append(ColourJitter(*strengths, probability=chances.colour))
    if training and chances.grey:
        steps.append(RandomGrey(chances.grey))
    if training and chances.blur:
        steps.append(RandomBlur(probability=chances.blur))
    if training and chances.jpeg:
        steps.append(RandomJpeg(probability=chances.jpeg))
    return Augment(tuple(steps))


def build_cropping(chances: AugmentConfig, size: tuple[int, int], *, training: bool) -> list[Augmentation]:
    """What moves pixels: to crops of `size`, (height, width); in training at random places, turned and flipped."""
    steps: list[Augmentation] = [KbCrop()] if chances.kb_crop else []
    steps += [CutBorder(chances.border)] if any(chances.border) else []
    steps += _resizing(chances, size, training)
    if training and chances.rotation_degrees:
        steps.append(RandomRotation(chances.rotation_degrees))
    steps.append(RandomCrop(size, "pad" if chances.resize == "random_long_side" else "enlarge"))
    return [*steps, RandomFlip(chances.flip)] if training else steps


def _resizing(chances: AugmentConfig, size: tuple[int, int], training: bool) -> list[Augmentation]:
    low, high = chances.scale
    if chances.resize == "random_long_side":
        base = chances.long_side
        if not training:
            return [ResizeLongSide((base,))]
        return [RandomLongSide(round(base * low), round(base * high))]
    if chances.resize == "long_side":
        return [ResizeLongSide((max(size),), at_least=min(size))]
    steps: list[Augmentation] = [ResizeToHold(size)] if chances.resize == "short_side" else []
    # A factor of 1 draws a number all the same: the crops of a run do not depend on how its scale is written.
    return [*steps, RandomScale(low, high)] if training else steps


class TrainingBatches:
    """Batches of a run from any step on; the same whatever the number of workers and ranks."""

    def __init__(
        self, config: TrainConfig, preprocess: PreprocessConfig, datasets: Sequence[Dataset], rank: int, ranks: int
    ) -> None:
        self.config, self.preprocess, self.datasets = config, preprocess, datasets
        self.rank, self.ranks = rank, ranks

    def from_step(self, first: int) -> Generator[Batch, None, None]:
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
            config.augment.cutmix,
        )
        # The loader yields what Collate makes of a list of samples.
        yield from mixed_loader(batches, self.preprocess, config.workers)


def validation_batches(config: TrainConfig, preprocess: PreprocessConfig, batch_size: int = 8) -> Iterator[Batch]:
    """The same pictures every time: the first `validation_pictures` draws from the validation sources."""
    datasets = open_validation(config)
    steps = -(-config.validation_pictures // batch_size)
    yield from mixed_loader(_fixed(config, datasets, batch_size, steps), preprocess)


def panel_batch(config: TrainConfig, preprocess: PreprocessConfig, datasets: Sequence[Dataset], count: int) -> Batch:
    """`count` pictures to look at, always the same: of the validation sources if there are any, else of `datasets`.

    No augmentation but the crop. Draws no random number that training would miss, as a loader does.
    """
    chosen = open_validation(config) or datasets
    batches = _fixed(config, chosen, count, 1)
    return Collate(preprocess.mean, preprocess.std)([batches[place] for place in range(count)])


def _fixed(config: TrainConfig, datasets: Sequence[Dataset], batch_size: int, steps: int) -> MixedBatches:
    mixture = Mixture(tuple(len(dataset) for dataset in datasets), 0, batch_size)
    return MixedBatches(
        datasets, mixture, build_augmentation(config, config.phases[-1].crops[0], training=False), steps
    )
