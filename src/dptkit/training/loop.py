"""The loop: batches in, steps, checkpoints, log. Exactly resumable: what comes at a step is a function of the step.

Lightning Fabric does devices, processes and mixed precision: it is well kept, and leaves the loop to us, which exact
resuming and multi-objective steps need.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from math import isfinite
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor

from dptkit.config import DepthDecoding
from dptkit.data.batches import Batch
from dptkit.data.sample import Dataset
from dptkit.data.views import ViewBatch
from dptkit.errors import DataError, TrainingError
from dptkit.training.check_sources import check_first_samples
from dptkit.training.checkpoint import CheckpointFolder
from dptkit.training.config import TrainConfig
from dptkit.training.logbook import Logbook, require_tensorboard
from dptkit.training.metric_start import agreed_metric_start, with_metric_start
from dptkit.training.objective import (
    Objective,
    batch_measure,
    compute_objective,
    freeze_unused,
    mean_objective,
    run_network,
    select_source,
    share_of_step,
    shared_parameters,
    slice_batch,
)
from dptkit.training.optimiser import (
    DIVERGED,
    MovingAverage,
    averaged_network,
    build_optimiser,
    clip_gradients,
    freeze_batch_norm,
    learning_rates,
    schedule_share,
    set_learning_rates,
)
from dptkit.training.processes import largest_everywhere, mean_everywhere, sum_everywhere
from dptkit.training.progress import Pace, Progress
from dptkit.training.run_folder import RunFolder
from dptkit.training.run_state import RunState
from dptkit.training.semi_supervised import SemiSupervised
from dptkit.training.sources import TrainingBatches, by_key, open_training, open_validation
from dptkit.training.start import build_spec, build_start, starts_metric
from dptkit.training.stopping import StopRequest, TrainingStopped
from dptkit.training.task_gradients import TaskGradients
from dptkit.training.validation import Onlooker
from dptkit.weights.tensor_file import write_tensors


class Trainer:
    """One run. `train()` begins it or goes on with it, and returns the path of the trained model."""

    def __init__(
        self,
        config: TrainConfig,
        folder: Path,
        report: Callable[[Progress], None] = lambda progress: None,
        stop: StopRequest | None = None,
        *,
        accept_changed_data: bool = False,
    ) -> None:
        """accept_changed_data: go on with a run also where its data are not what they were."""
        self.config = config
        self.folder = RunFolder(folder, accept_changed_data)
        self.report = report
        self.stop = stop or StopRequest()
        self.spec = build_spec(config)
        self.decoding = self.spec.decoding if isinstance(self.spec.decoding, DepthDecoding) else None
        self.checkpoints = CheckpointFolder(self.folder.checkpoints, config.keep_checkpoints)
        self.fabric = Fabric(
            accelerator="auto", devices=config.devices, num_nodes=config.nodes, precision=config.precision
        )
        self.logbook: Logbook | None = None
        self.tasks: TaskGradients | None = None
        self.unlabelled: SemiSupervised | None = None

    def train(self) -> Path:
        """Raises DataError, WeightsError or ConfigError before the first step, TrainingError if the loss diverges,
        TrainingStopped if `stop` asked for it, after a checkpoint."""
        config = self.config
        datasets = self.open_sources()
        if config.tensorboard:
            require_tensorboard()
        if self.fabric.global_rank == 0:
            others = [] if self.unlabelled is None else self.unlabelled.datasets
            self.folder.open(config, by_key(sources=datasets, validation=open_validation(config), teacher=others))
            if self.unlabelled is not None:
                self.unlabelled.record(self.folder.path)
        self.build(datasets, self.folder.metric_start)
        batches = self.batches(datasets)
        state = self.checkpoints.read_newest()
        if self.fabric.global_rank == 0:
            self.logbook = Logbook(self.folder, int(state["step"]) if state else None, tensorboard=config.tensorboard)
        self.onlooker = Onlooker(config, self.spec, self.logbook, datasets, self._to_device)
        step = self.state.restore(state, config.seed)
        self.onlooker.best = self.onlooker.best if state is None else float(state["best"])
        self.pace, self.saved = Pace(config), step
        try:
            self._stop_if_asked(step)
            if step == 0 and config.validate_every:
                self._validate(0)
            while step < config.steps:
                step = self._phase(batches.from_step(step), self.views(step), step)
            return self._finish()
        finally:
            if self.logbook is not None:
                self.logbook.close()

    def open_sources(self) -> list[Dataset]:
        """Begin this process's part in the run. Raises DataError."""
        self.fabric.launch()
        config, fabric = self.config, self.fabric
        if config.teacher is not None:
            ranks = fabric.global_rank, fabric.world_size
            self.unlabelled = SemiSupervised(config, config.teacher, self.spec, *ranks)
        datasets = open_training(config)
        check_first_samples(config, datasets, self.spec)
        return datasets

    def build(self, datasets: Sequence[Dataset], metric_start: Path | None) -> None:
        """Network, optimiser and moving average as they are before the first step; metric_start: where the constants
        of a model that becomes metric are kept."""
        config, fabric = self.config, self.fabric
        self.network = build_start(config)
        if starts_metric(config):
            known = agreed_metric_start(fabric, config, self.spec, self.network, datasets, metric_start, self.report)
            self.spec = with_metric_start(self.spec, known)
            assert isinstance(self.spec.decoding, DepthDecoding)
            self.decoding = self.spec.decoding
        self.network.set_gradient_checkpointing(config.gradient_checkpointing)
        if config.sync_batch_norm:
            self.network = torch.nn.SyncBatchNorm.convert_sync_batchnorm(self.network)
        if config.channels_last:
            self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        freeze_unused(self.network, config.loss)
        optimiser = build_optimiser(self.network, config.optimiser)
        self.wrapped, self.optimiser = fabric.setup(self.network, optimiser)
        self.wrapped.mark_forward_method("forward_auxiliary")
        self.average = MovingAverage(self.network, config.ema_decay) if config.ema_decay else None
        self.state = RunState(fabric, self.network, self.optimiser, self.average)

    def batches(self, datasets: Sequence[Dataset]) -> TrainingBatches:
        """This process's part of the run's batches."""
        ranks = self.fabric.global_rank, self.fabric.world_size
        return TrainingBatches(self.config, self.spec.preprocess, datasets, *ranks)

    def views(self, step: int) -> Iterator[ViewBatch | None]:
        """This process's pictures without ground truth, beside its batches."""
        return repeat(None) if self.unlabelled is None else self.unlabelled.from_step(step)

    def _phase(self, iterator: Iterator[Batch], views: Iterator[ViewBatch | None], step: int) -> int:
        """Steps until the phase's batches end."""
        config = self.config
        since, waited, images, logged = time.perf_counter(), 0.0, 0, step
        while True:
            started = time.perf_counter()
            try:
                batch, pictures = next(iterator, None), next(views, None)
            except DataError:
                # What was learned before a broken file is kept; not so with others, who wait for this process's part.
                if self.fabric.world_size == 1 and self.saved != step:
                    self._checkpoint(step)
                raise
            waited += time.perf_counter() - started
            if batch is None:
                return step
            objective = self._step(batch, pictures, step)
            step += 1
            images += batch.image.shape[0] * self.fabric.world_size
            if step % config.log_every == 0 or step == config.steps:
                now = time.perf_counter()
                left = self.pace.seconds_left(logged, step, now - since)
                self._log(step, objective, images / (now - since), waited / (now - since), left)
                since, waited, images, logged = now, 0.0, 0, step
            if config.validate_every and step % config.validate_every == 0:
                self._validate(step)
            if config.panels_every and step % config.panels_every == 0:
                self.onlooker.draw(step, averaged_network(self.network, self.average))
            if step % config.checkpoint_every == 0 or step == config.steps:
                self._checkpoint(step)
            if step < config.steps:
                self._stop_if_asked(step)

    def _step(self, batch: Batch, pictures: ViewBatch | None, step: int) -> Objective:
        config = self.config
        self.wrapped.train()
        freeze_batch_norm(self.network, everywhere=config.optimiser.freeze_batch_norm)
        set_learning_rates(self.optimiser, schedule_share(config.optimiser, step, config.steps))
        self.optimiser.zero_grad()
        if config.optimiser.multi_objective == "mgda":
            self.tasks = TaskGradients(len(config.sources), shared_parameters(self.network), self.fabric)
        extra: dict[str, Tensor] = {}
        if self.unlabelled is not None:
            extra = self.unlabelled.add_gradients(self.fabric, self.wrapped, self.network, self.average, pictures)
        everywhere = sum_everywhere(self.fabric, batch_measure(batch, config.loss).to(self.fabric.device))
        objectives = []
        for k in range(config.accumulate):
            # MGDA needs each data set's gradient by itself, so it sums over processes by itself too.
            alone = k < config.accumulate - 1 or self.tasks is not None
            with self.fabric.no_backward_sync(self.wrapped, enabled=alone):
                objective = self._backward(slice_batch(batch, k, config.accumulate), everywhere)
            objectives.append(objective._replace(total=objective.total.detach()))  # not its graph
        objective = mean_objective(objectives) if self.tasks is None else self.tasks.descend()
        self.tasks = None
        if config.optimiser.clip_norm:
            clip_gradients(self.fabric, self.wrapped, self.optimiser, config.optimiser.clip_norm, step + 1)
        self.optimiser.step()
        if self.average is not None:
            self.average.update(self.network)
        return objective._replace(parts={**objective.parts, **extra})

    def _backward(self, batch: Batch, everywhere: Tensor) -> Objective:
        batch = self._to_device(batch)
        with self.fabric.autocast():  # Fabric's own is around forward, not around forward_auxiliary
            raw, auxiliary = run_network(self.wrapped, batch.image, self.config.loss)
        if self.tasks is not None:
            return self._backward_mgda(self.tasks, batch, raw, auxiliary)
        objective = compute_objective(raw, auxiliary, batch, self.config.loss, self.decoding)
        self.fabric.backward(share_of_step(objective, everywhere, self.fabric.world_size))
        return objective

    def _backward_mgda(self, tasks: TaskGradients, batch: Batch, raw: Tensor, auxiliary: Tensor | None) -> Objective:
        """Each data set in the batch is a task; returns the last one's objective."""
        present = batch.source.unique().tolist()
        for source in range(tasks.tasks):
            if source in present:
                part, outputs = select_source(batch, raw, auxiliary, source)
                objective = compute_objective(*outputs, part, self.config.loss, self.decoding)
                tasks.add(source, objective, batch.valid[0].numel())
            elif self.config.sync_batch_norm:
                tasks.add_nothing(source, raw, auxiliary)
        return objective

    def _to_device(self, batch: Batch) -> Batch:
        moved: Batch = self.fabric.to_device(batch)
        layout = torch.channels_last if self.config.channels_last else torch.contiguous_format
        return moved._replace(image=moved.image.contiguous(memory_format=layout))

    def _log(self, step: int, objective: Objective, rate: float, waiting: float, left: float) -> None:
        parts = {"loss": objective.total, **objective.parts}
        values = {name: mean_everywhere(self.fabric, part, objective.measure) for name, part in parts.items()}
        if not isfinite(values["loss"]):
            raise TrainingError(f"the loss is not finite at step {step}: {DIVERGED}")
        values |= learning_rates(self.config.optimiser, step - 1, self.config.steps)
        if self.logbook is not None:
            self.logbook.write(step, {**values, "images_per_second": rate, "waiting": waiting})
            self.report(Progress(step, self.config.steps, values, rate, waiting, left))

    def _validate(self, step: int) -> None:
        values = self.onlooker.validate(step, averaged_network(self.network, self.average))
        if self.fabric.global_rank == 0:
            self.report(Progress(step, self.config.steps, values, 0.0, 0.0))

    def _stop_if_asked(self, step: int) -> None:
        """Processes may be asked between different steps; all of them stop after the same one."""
        asked = largest_everywhere(self.fabric, self.stop.signal)
        if asked:
            if self.saved != step:
                self._checkpoint(step)
            raise TrainingStopped(step, self.config.steps, asked, self.saved)

    def _checkpoint(self, step: int) -> None:
        if self.logbook is not None:
            self.logbook.flush()
        state, written = self.state.gather(step, self.onlooker.best), False
        if self.fabric.global_rank == 0:
            written = self.checkpoints.write(step, state)
        if largest_everywhere(self.fabric, int(written)):
            self.saved = step

    def _finish(self) -> Path:
        path = self.folder.model
        if self.fabric.global_rank == 0:
            write_tensors(path, averaged_network(self.network, self.average).state_dict(), self.spec)
        self.fabric.barrier()
        return path
