"""Gradients by data set, over the parts of a step and over all processes, as one batch on one process would give.

T data sets (tasks) · P shared parameters
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from lightning_fabric import Fabric
from torch import Tensor

from dptkit.errors import TrainingError
from dptkit.training.multi_objective import task_weights, weighted_sum
from dptkit.training.objective import Objective
from dptkit.training.processes import sum_everywhere


class TaskGradients:
    """Sums of one step. Memory: T times the shared parameters, in their type.

    A data set's loss in a part of the batch is a mean over the valid pixels there; so each part, of this process or
    of another, counts by its valid pixels, as in the plain sum. A data set without a valid pixel anywhere has gradient
    zero, and gets no say.
    Every process must call `descend` for the same step.
    """

    def __init__(self, tasks: int, parameters: Sequence[Tensor], fabric: Fabric) -> None:
        self.tasks, self.parameters, self.fabric = tasks, parameters, fabric
        sizes = [parameter.numel() for parameter in parameters]
        # One tensor, so that it is sent at once; a task's row is its gradients end to end.
        self.sums = torch.zeros(tasks, sum(sizes), device=parameters[0].device)
        self.sizes = sizes
        self.losses: list[list[Tensor]] = [[] for _ in range(tasks)]
        self.names: list[str] = []
        self.pixels = 1

    def add(self, task: int, objective: Objective, pixels: int) -> None:
        """One part's objective of one data set, whose graph stays. pixels: of a picture, so that numbers stay small;
        the same in every part of the step."""
        self.pixels = pixels
        self._add_gradient(task, objective.total * (objective.measure / pixels))
        self.names = list(objective.parts)
        values = torch.stack([objective.total.detach(), *objective.parts.values()]).float()
        self.losses[task].append(torch.cat([values * objective.measure, objective.measure[None]]).cpu())

    def add_nothing(self, task: int, raw: Tensor, auxiliary: Tensor | None) -> None:
        """The data set is not in this part, but its gradient is asked for: synchronised batch norms of all processes
        exchange statistics in the backward pass, and would wait for this one."""
        self._add_gradient(task, raw[:0].sum() + (0 if auxiliary is None else auxiliary[:0].sum()))

    def descend(self) -> Objective:
        """Every parameter's `grad` becomes the min-norm point of the data sets' gradients.

        Returns the mean over the data sets (each is an objective of its own) over the whole batch, for the log.
        Raises TrainingError for a gradient that is not finite.
        """
        device = self.sums.device
        table = torch.stack([sum(rows, torch.zeros(2 + len(self.names))) for rows in self.losses])
        table = sum_everywhere(self.fabric, table.to(device)).cpu()
        measure = table[:, -1]
        present = measure > 0
        share = torch.where(present, 1 / measure.where(present, torch.ones_like(measure)), 0)
        self.fabric.all_reduce(self.sums, reduce_op="sum")  # in place
        # What `add` multiplied by is divided out again, for all parts together.
        self.sums *= (share * self.pixels).to(device)[:, None]
        gradients = [
            [row.view_as(parameter) for row, parameter in zip(task.split(self.sizes), self.parameters, strict=True)]
            for task in self.sums
        ]
        try:
            weights = task_weights(gradients)
        except ValueError as error:
            raise TrainingError(f"{error}: lower the learning rate, or train in float32") from None
        # From equal sums another kind of machine may get other last bits.
        weights = self.fabric.broadcast(weights)
        for parameter, descent in zip(self.parameters, weighted_sum(weights.tolist(), gradients), strict=True):
            parameter.grad = descent
        means = (table[present, :-1] * share[present, None]).sum(0) / present.sum().clamp(min=1)
        total, *parts = means.to(device)
        return Objective(total, dict(zip(self.names, parts, strict=True)), measure.sum().to(total))

    def _add_gradient(self, task: int, total: Tensor) -> None:
        self._forget()
        # Not autograd.grad: mixed precision wants Fabric's backward.
        self.fabric.backward(total, retain_graph=True)
        for row, parameter in zip(self.sums[task].split(self.sizes), self.parameters, strict=True):
            if parameter.grad is not None:
                row += parameter.grad.flatten()
        self._forget()

    def _forget(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None
