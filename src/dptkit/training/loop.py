"""The loop: batches in, steps, checkpoints, log. Exactly resumable: what comes at a step is a function of the step.

Lightning Fabric does devices, processes and mixed precision: it is well kept, and leaves the loop to us, which exact
resuming and multi-objective steps need.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning_fabric import Fabric
from torch import Tensor

from dptkit.config import DepthDecoding
from dptkit.data.batches import Batch
from dptkit.data.views import ViewBatch
from dptkit.errors import TrainingError
from dptkit.model.dpt import DPT
from dptkit.training.checkpoint import CheckpointFolder, random_states, set_random_states
from dptkit.training.config import TrainConfig
from dptkit.training.multi_objective import combine_gradients
from dptkit.training.objective import Objective, compute_objective, run_network, shared_parameters, split_by_source
from dptkit.training.optimiser import (
    MovingAverage,
    build_optimiser,
    freeze_batch_norm,
    learning_rates,
    schedule_share,
    set_learning_rates,
)
from dptkit.training.run_folder import RunFolder
from dptkit.training.semi_supervised import SemiSupervised
from dptkit.training.sources import TrainingBatches, open_source, validation_batches
from dptkit.training.start import build_spec, build_start
from dptkit.weights.tensor_file import write_tensors


class Progress(NamedTuple):
    """Said every `log_every` steps. images_per_second: since the last time. waiting: share of time spent on data."""

    step: int
    steps: int
    values: dict[str, float]
    images_per_second: float
    waiting: float


class Trainer:
    """One run. `train()` begins it or goes on with it, and returns the path of the trained model."""

    def __init__(
        self, config: TrainConfig, folder: Path, report: Callable[[Progress], None] = lambda progress: None
    ) -> None:
        self.config = config
        self.folder = RunFolder(folder)
        self.report = report
        self.spec = build_spec(config)
        self.checkpoints = CheckpointFolder(self.folder.checkpoints, config.keep_checkpoints)
        self.fabric = Fabric(
            accelerator="auto", devices=config.devices, num_nodes=config.nodes, precision=config.precision
        )
        self.best = float("inf")

    def train(self) -> Path:
        """Raises DataError, WeightsError or ConfigError before the first step, TrainingError if the loss diverges."""
        config, fabric = self.config, self.fabric
        fabric.launch()
        # Values near zero take a CPU a hundred times as long, and mean nothing here.
        torch.set_flush_denormal(True)
        datasets = [open_source(source) for source in config.sources]
        rank, ranks = fabric.global_rank, fabric.world_size
        self.unlabelled = SemiSupervised(config, config.teacher, self.spec, rank, ranks) if config.teacher else None
        if fabric.global_rank == 0:
            self.folder.open(config, datasets)
            if self.unlabelled is not None:
                self.unlabelled.record(self.folder.path)
        self.network = build_start(config)
        self.network.set_gradient_checkpointing(config.gradient_checkpointing)
        if config.sync_batch_norm:
            self.network = torch.nn.SyncBatchNorm.convert_sync_batchnorm(self.network)
        if config.channels_last:
            self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimiser = build_optimiser(self.network, config.optimiser)
        wrapped, self.optimiser = fabric.setup(self.network, optimiser)
        wrapped.mark_forward_method("forward_auxiliary")
        self.wrapped = wrapped
        self.average = MovingAverage(self.network, config.ema_decay) if config.ema_decay else None
        batches = TrainingBatches(config, self.spec.preprocess, datasets, rank, ranks)
        step, random = self._resume()
        while step < config.steps:
            iterator = batches.from_step(step)
            views = repeat(None) if self.unlabelled is None else self.unlabelled.from_step(step)
            step = self._phase(iterator, views, step, random)
            random = None
        return self._finish()

    def _resume(self) -> tuple[int, dict[str, Any] | None]:
        state = self.checkpoints.read_newest()
        if state is None:
            torch.manual_seed(self.config.seed + 1 + self.fabric.global_rank)
            return 0, None
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.best = float(state["best"])
        if self.fabric.global_rank == 0:
            self.folder.keep_log_up_to(int(state["step"]))
        return int(state["step"]), dict(state["random"])

    def _phase(
        self, iterator: Iterator[Batch], views: Iterator[ViewBatch | None], step: int, random: dict[str, Any] | None
    ) -> int:
        """Steps until the phase's batches end. `random`: generator states to go on from."""
        config = self.config
        since, waited, images = time.perf_counter(), 0.0, 0
        while True:
            started = time.perf_counter()
            batch, pictures = next(iterator, None), next(views, None)
            if random is not None:  # making the loader draws a number, which an uninterrupted run did not
                set_random_states(random)
                random = None
            waited += time.perf_counter() - started
            if batch is None:
                return step
            objective = self._step(batch, pictures, step)
            step += 1
            images += batch.image.shape[0] * self.fabric.world_size
            if step % config.log_every == 0 or step == config.steps:
                now = time.perf_counter()
                self._log(step, objective, images / (now - since), waited / (now - since))
                since, waited, images = now, 0.0, 0
            if config.validate_every and step % config.validate_every == 0:
                self._validate(step)
            if step % config.checkpoint_every == 0 or step == config.steps:
                self._checkpoint(step)

    def _step(self, batch: Batch, pictures: ViewBatch | None, step: int) -> Objective:
        config = self.config
        self.wrapped.train()
        if config.optimiser.freeze_batch_norm:
            freeze_batch_norm(self.network)
        set_learning_rates(self.optimiser, schedule_share(config.optimiser, step, config.steps))
        self.optimiser.zero_grad()
        extra: dict[str, Tensor] = {}
        if self.unlabelled is not None:
            extra = self.unlabelled.add_gradients(self.fabric, self.wrapped, self.network, self.average, pictures)
        share = batch.image.shape[0] // config.accumulate
        for k in range(config.accumulate):
            last = k == config.accumulate - 1
            part = batch if config.accumulate == 1 else _slice(batch, k * share, None if last else (k + 1) * share)
            with self.fabric.no_backward_sync(self.wrapped, enabled=not last):
                objective = self._backward(part)
        if config.optimiser.clip_norm:
            self.fabric.clip_gradients(self.wrapped, self.optimiser, max_norm=config.optimiser.clip_norm)
        self.optimiser.step()
        if self.average is not None:
            self.average.update(self.network)
        return objective._replace(parts={**objective.parts, **extra})

    def _backward(self, batch: Batch) -> Objective:
        config = self.config
        batch = self._to_device(batch)
        raw, auxiliary = run_network(self.wrapped, batch.image, config.loss)
        decoding = self.spec.decoding if isinstance(self.spec.decoding, DepthDecoding) else None
        if config.optimiser.multi_objective == "mgda":
            return self._backward_mgda(raw, batch, decoding)
        objective = compute_objective(raw, auxiliary, batch, config.loss, decoding)
        # Losses divide by the valid pixels of this process; gradients are averaged over processes. So each counts by
        # its share, and several processes do what one with the whole batch does.
        # A copy: all_reduce writes the sum into what it is given.
        everywhere = self.fabric.all_reduce(objective.measure.clone(), reduce_op="sum")
        assert isinstance(everywhere, Tensor)
        weight = objective.measure * self.fabric.world_size / everywhere.clamp(min=1)
        self.fabric.backward(objective.total * weight / config.accumulate)
        return objective

    def _backward_mgda(self, raw: Tensor, batch: Batch, decoding: DepthDecoding | None) -> Objective:
        """Each data set in the batch is a task; the step is the min-norm point of their gradients."""
        parameters = shared_parameters(self.network)
        objectives, gradients = [], []
        for part, output in split_by_source(batch, raw):
            objective = compute_objective(output, None, part, self.config.loss, decoding)
            gradient = torch.autograd.grad(
                objective.total, parameters, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            objectives.append(objective)
            gradients.append(gradient)
        _, combined = combine_gradients(gradients)
        for parameter, descent in zip(parameters, combined, strict=True):
            share = descent / self.config.accumulate
            parameter.grad = share if parameter.grad is None else parameter.grad + share
        # For the log: the mean over the data sets, as each is an objective of its own.
        mean = {name: torch.stack([o.parts[name] for o in objectives]).mean() for name in objectives[0].parts}
        total = torch.stack([objective.total.detach() for objective in objectives]).mean()
        return Objective(total, mean, batch.valid.sum().to(torch.float32))

    def _to_device(self, batch: Batch) -> Batch:
        moved: Batch = self.fabric.to_device(batch)
        if self.config.channels_last:
            return moved._replace(image=moved.image.contiguous(memory_format=torch.channels_last))
        return moved

    def _log(self, step: int, objective: Objective, rate: float, waiting: float) -> None:
        loss = self._everywhere(objective.total.detach(), objective.measure)
        if loss != loss or abs(loss) == float("inf"):
            raise TrainingError(f"the loss is not finite at step {step}: lower the learning rate, or train in float32")
        rates = dict(zip(("encoder_lr", "decoder_lr"), sorted(set(learning_rates(self.optimiser))), strict=False))
        values = {"loss": loss, **self._parts_everywhere(objective), **rates}
        if self.fabric.global_rank == 0:
            self.folder.log(step, {**values, "images_per_second": rate, "waiting": waiting})
            self.report(Progress(step, self.config.steps, values, rate, waiting))

    def _parts_everywhere(self, objective: Objective) -> dict[str, float]:
        return {name: self._everywhere(part, objective.measure) for name, part in objective.parts.items()}

    def _everywhere(self, value: Tensor, measure: Tensor) -> float:
        """A loss over the global batch, of which this process knows its part."""
        sums = self.fabric.all_reduce(torch.stack([value.float() * measure, measure]), reduce_op="sum")
        assert isinstance(sums, Tensor)
        return float(sums[0] / sums[1].clamp(min=1))

    @torch.no_grad()
    def _validate(self, step: int) -> None:
        network, losses = self._averaged(), []
        network.eval()
        decoding = self.spec.decoding if isinstance(self.spec.decoding, DepthDecoding) else None
        for batch in validation_batches(self.config, self.spec.preprocess):
            moved = self._to_device(batch)
            losses.append(float(compute_objective(network(moved.image), None, moved, self.config.loss, decoding).total))
        loss = sum(losses) / len(losses)
        if self.fabric.global_rank == 0:
            self.report(Progress(step, self.config.steps, {"validation": loss}, 0.0, 0.0))
            if loss < self.best:
                write_tensors(self.folder.path / "best.safetensors", network.state_dict(), self.spec)
        self.best = min(self.best, loss)

    def _averaged(self) -> DPT:
        """A network with the moving average's weights, or the one that trains if there is none."""
        if self.average is None:
            return self.network
        from copy import deepcopy

        network = deepcopy(self.network)
        network.load_state_dict(self.average.tensors)
        return network

    def _checkpoint(self, step: int) -> None:
        if self.fabric.global_rank == 0:
            state = {
                "network": self.network.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "random": random_states(),
                "best": self.best,
            }
            if self.average is not None:
                state["average"] = self.average.state_dict()
            self.checkpoints.write(step, state)
        self.fabric.barrier()

    def _finish(self) -> Path:
        path = self.folder.path / "model.safetensors"
        if self.fabric.global_rank == 0:
            write_tensors(path, self._averaged().state_dict(), self.spec)
        self.fabric.barrier()
        return path


def _slice(batch: Batch, first: int, end: int | None) -> Batch:
    part = slice(first, end)
    return batch._replace(
        image=batch.image[part],
        target=batch.target[part],
        valid=batch.valid[part],
        source=batch.source[part],
        names=batch.names[part],
    )
