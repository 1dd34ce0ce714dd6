"""Trying a run before it begins: every data set by itself, a real step of every phase, time, memory, disk.

Writes nothing. What would end a run hours later (a broken folder, a batch that does not fit) ends it here.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from math import isfinite
from pathlib import Path

import torch

from dptkit.data.batches import Batch
from dptkit.data.views import ViewBatch
from dptkit.errors import TrainingError
from dptkit.training.check_sources import SourceReport, check_source
from dptkit.training.config import Phase, TrainConfig
from dptkit.training.logbook import require_tensorboard
from dptkit.training.loop import Trainer
from dptkit.training.sources import open_validation

_LONG_STEP = 10.0
"""Seconds. A first step pays for setting up; where it takes longer than this, that no longer matters."""

_METRIC_SAMPLES = 8
"""Samples that a metric model's scale and shift are found from, here."""


@dataclass(frozen=True)
class PhaseReport:
    """One phase's step, tried and timed. step_seconds: without data. loader_seconds: between batches, if nothing else
    is done meanwhile. loss: of the step that was tried."""

    phase: Phase
    steps: int
    step_seconds: float
    loader_seconds: float
    loss: float
    seconds: float


@dataclass(frozen=True)
class RunReport:
    """seconds: of all steps, without validation and checkpoints. memory_bytes: the greatest so far, of this process or
    on its GPU; 0 where the system does not say. checkpoint_bytes: of one; needed_bytes: of all that a run keeps."""

    sources: tuple[SourceReport, ...]
    phases: tuple[PhaseReport, ...]
    seconds: float
    memory_bytes: int
    on_gpu: bool
    checkpoint_bytes: int
    needed_bytes: int
    free_bytes: int
    folder: Path
    processes: int


def check_run(config: TrainConfig, folder: Path) -> RunReport | None:
    """Try it; on processes other than the first the result is None.

    Raises ConfigError, DataError (with the source's key), WeightsError, or TrainingError: each says what would end
    the run.
    """
    few = min(_METRIC_SAMPLES, config.model.metric_samples)
    trainer = Trainer(replace(config, model=replace(config.model, metric_samples=few)), folder)
    trainer.folder.check_same(config)
    existing = _check_writable(folder)
    if config.tensorboard:
        require_tensorboard()
    datasets = trainer.open_sources()
    opened = [
        *((f"sources.{number}", *pair) for number, pair in enumerate(zip(config.sources, datasets, strict=True))),
        *(
            (f"validation.{number}", *pair)
            for number, pair in enumerate(zip(config.validation, open_validation(config), strict=True))
        ),
    ]
    sources = [check_source(key, source, dataset, config, trainer.spec) for key, source, dataset in opened]
    trainer.build(datasets, None)
    # Time goes by pixels; the crops tried are the largest, and so are their seconds.
    trainer.config = replace(config, phases=tuple(replace(phase, shapes=(phase.largest,)) for phase in config.phases))
    batches = trainer.batches(datasets)
    ends = [*(phase.start for phase in config.phases[1:]), config.steps]
    phases = []
    for number, (phase, end) in enumerate(zip(config.phases, ends, strict=True)):
        with closing(batches.from_step(phase.start)) as iterator:
            batch, loader = time_loader(iterator, 2 * max(1, config.workers))
        # The step that the teacher begins with, if it begins in this phase: from then on steps are larger.
        begin = config.teacher.start if config.teacher and phase.start < config.teacher.start < end else phase.start
        step, loss = _try_step(
            trainer,
            batch,
            next(trainer.views(begin), None),
            begin,
            f"phases.{number} ({phase}, batch_size {phase.batch_size})",
        )
        share = phase.pixels / (phase.largest[0] * phase.largest[1])
        each = share * (max(step, loader) if config.workers else step + loader)
        phases.append(PhaseReport(phase, end - phase.start, step, loader, loss, each * (end - phase.start)))
    memory, on_gpu = _peak_memory()
    checkpoint, model = _sizes(trainer)
    # While the newest is written, the oldest is still there.
    needed = (config.keep_checkpoints + 1) * checkpoint + (2 if config.validate_every else 1) * model
    free = shutil.disk_usage(existing).free + sum(path.stat().st_size for path in folder.glob("checkpoints/*.ckpt"))
    if free < needed:
        raise TrainingError(
            f"{folder}: {config.keep_checkpoints} checkpoints of {checkpoint / 1e9:.2g} GB and the model need "
            f"{needed / 1e9:.2g} GB with one being written; the disk has {free / 1e9:.2g} GB"
        )
    if trainer.fabric.global_rank:
        return None
    seconds = sum(phase.seconds for phase in phases)
    return RunReport(
        tuple(sources), tuple(phases), seconds, memory, on_gpu, checkpoint, needed, free, folder,
        trainer.fabric.world_size,
    )  # fmt: skip


def time_loader(iterator: Iterator[Batch], count: int) -> tuple[Batch, float]:
    """The first batch, and seconds between the `count` after it, while nothing else is done.

    Fewer where the batches end before; with one alone, the seconds it took, workers' start included.
    """
    started = time.perf_counter()
    first = next(iterator)
    arrived = time.perf_counter()
    number = sum(1 for _ in islice(iterator, count))
    return first, (time.perf_counter() - arrived) / number if number else arrived - started


def time_step(trainer: Trainer, batch: Batch, pictures: ViewBatch | None, step: int) -> tuple[float, float]:
    """Seconds, and the loss, of an optimiser step on a batch that is there already."""
    started = time.perf_counter()
    loss = float(trainer._step(batch, pictures, step).total.detach())  # the number's transfer waits for the GPU
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started, loss


def _try_step(trainer: Trainer, batch: Batch, pictures: ViewBatch | None, step: int, where: str) -> tuple[float, float]:
    try:
        seconds, loss = time_step(trainer, batch, pictures, step)
        if seconds < _LONG_STEP:
            seconds, _ = time_step(trainer, batch, pictures, step)
    except (MemoryError, RuntimeError) as error:
        # On the CPU torch says that memory is short by a RuntimeError.
        if not isinstance(error, (MemoryError, torch.OutOfMemoryError)) and "allocate memory" not in str(error):
            raise
        raise TrainingError(
            f"{where}: not enough memory; make batch_size smaller, set accumulate or gradient_checkpointing"
        ) from None
    if not isfinite(loss):
        raise TrainingError(f"{where}: the first step's loss is not finite")
    return seconds, loss


def _check_writable(folder: Path) -> Path:
    """The nearest folder that exists. Raises TrainingError if the run's could not be made or written."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise TrainingError(f"{existing}: is a file, where the run's folder should be")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise TrainingError(f"{existing}: not writable")
    return existing


def _peak_memory() -> tuple[int, bool]:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated(), True
    if sys.platform == "win32":
        return 0, False
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024), False


def _sizes(trainer: Trainer) -> tuple[int, int]:
    """Bytes of a checkpoint and of a model."""
    model = sum(tensor.nbytes for tensor in trainer.network.state_dict().values())
    state = trainer.optimiser.state_dict()["state"].values()
    optimiser = sum(value.nbytes for entry in state for value in entry.values() if isinstance(value, torch.Tensor))
    return model * (2 if trainer.average else 1) + optimiser, model
