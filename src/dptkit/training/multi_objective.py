"""Several data sets as several objectives: a step that makes none of them worse.

T tasks (MiDaS: one per data set) · g_t gradient of task t by the shared parameters · G[i, j] = <g_i, g_j>

Source: Sener and Koltun, "Multi-Task Learning as Multi-Objective Optimization", NeurIPS 2018, section 3 and
algorithm 2; isl-org/MultiObjectiveOptimization 1c6d0d5, `min_norm_solvers.py`. The weights w on the simplex that make
|sum w_t g_t| smallest give either a direction that descends for every task, or zero: then the point is Pareto
stationary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from dptkit.shapes import Float

Normalisation = Literal["none", "l2", "loss+"]

# Some microseconds each. Where tasks outnumber the parameters convergence can be slower; the result is then near.
_ITERATIONS = 2000
# How unequal the active tasks' inner products with the result may stay, relative to its squared norm.
_TOLERANCE = 1e-10
# Rounding of float64 sums relative to the terms of a sum; below, inequality is noise. Not relative to the largest
# squared norm: of data sets whose gradients are a million times smaller than another's nothing would be left to solve.
_NOISE = 1e-15


def solve_min_norm(gram: Float[Tensor, "T T"]) -> Float[Tensor, "T"]:
    """The w >= 0 with sum 1 that minimises w' G w; float64, on gram's device, always the same for the same input.

    Frank-Wolfe from equal weights, with the line search in closed form. At the result G w is equal over all tasks
    with weight and not smaller elsewhere. Equal tasks share their weight as they started; with G = 0 it stays 1/T. A
    task with zero gradient gets all the weight, which is the right answer here; see `combine_gradients`.
    Departures: weight moves from one task to another ("pairwise" steps, Lacoste-Julien and Jaggi 2015), because the
    paper's steps, which take from all tasks alike, converge as 1/iterations only; of all pairs the one that gains most
    is taken, because the worst and the best take turns with a task whose gradient is huge. For two tasks all are the
    paper's closed form in one step. The repository keeps two-task shares within 0.001 to 0.999 and
    starts from the best pair; here 0 and 1 are allowed.
    Raises ValueError if gram is not square, empty, or not finite.
    """
    if gram.ndim != 2 or gram.shape[0] != gram.shape[1] or gram.shape[0] == 0:
        raise ValueError(f"gram must be square and not empty, not {tuple(gram.shape)}")
    g = gram.detach().double().cpu().numpy()
    if not np.isfinite(g).all():
        raise ValueError("gram is not finite: a gradient has overflowed")
    weights = np.full(len(g), 1 / len(g))
    largest = g.diagonal().max()
    g = g / largest if largest > 0 else np.zeros_like(g)
    curvature = g.diagonal()[:, None] + g.diagonal() - 2 * g
    for _ in range(_ITERATIONS):
        products = g @ weights
        best = int(products.argmin())
        worst = int(np.where(weights > 0, products, -np.inf).argmax())
        rounding = _NOISE * (np.abs(g[[best, worst]]) @ weights).max()
        if products[worst] - products[best] <= _TOLERANCE * (weights @ products) + rounding:
            break
        # [i, j]: weight moves from i to j, as much as is best, or all of it.
        gain = (products[:, None] - products).clip(min=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.where(gain >= curvature * weights[:, None], weights[:, None], gain / curvature)
        i, j = np.unravel_index((step * (gain - step * curvature / 2)).argmax(), gain.shape)
        weights[j] += step[i, j]
        weights[i] -= step[i, j]
    return torch.from_numpy(weights / weights.sum()).to(gram.device)


def combine_gradients(
    gradients: Sequence[Sequence[Tensor]],
    *,
    normalise: Normalisation = "none",
    losses: Sequence[float] | None = None,
) -> tuple[Float[Tensor, "T"], list[Tensor]]:
    """Per task the gradients of the shared parameters (same order) -> weights [T], sum 1, and sum over t of w_t g_t.

    See `task_weights`, whose errors it raises.
    """
    weights = task_weights(gradients, normalise=normalise, losses=losses)
    return weights, weighted_sum(weights.tolist(), gradients)


def task_weights(
    gradients: Sequence[Sequence[Tensor]],
    *,
    normalise: Normalisation = "none",
    losses: Sequence[float] | None = None,
) -> Float[Tensor, "T"]:
    """Per task the gradients of the shared parameters (same order) -> weights, sum 1; float64, on the CPU.

    normalise: the least norm is sought among g_t ("none", the paper), g_t / |g_t| ("l2"), or g_t / (loss_t |g_t|)
        ("loss+", needs losses). Against one task whose gradients are small, which otherwise takes all the weight.
    The weights are those of the gradients as given, so they may as well be applied to the losses.
    Tasks with a gradient of exactly zero (nothing valid in their batch), or a loss of zero with "loss+", get weight 0;
    were they kept, they would stop all others. If all are zero: equal weights.
    Departure: the repository finds weights for the normalised gradients but applies them to the losses as they are,
    which need not descend for all tasks. Here w_t is divided by the norm too, then rescaled to sum 1.
    Inner products are accumulated in float64, one parameter at a time.
    Raises ValueError for no tasks, gradients that do not match, losses missing or negative, or gradients not finite.
    """
    if not gradients or any([g.shape for g in task] != [g.shape for g in gradients[0]] for task in gradients):
        raise ValueError("every task needs gradients of the same parameters in the same order")
    gram = sum(
        (_products(parameter) for parameter in zip(*gradients, strict=True)),
        torch.zeros(len(gradients), len(gradients), dtype=torch.float64),
    )
    if not gram.isfinite().all():
        raise ValueError("a gradient is not finite")
    size = _sizes(gram, normalise, losses)
    present = size > 0
    weights = torch.zeros_like(size)
    if present.any():
        shrunk = gram[present][:, present] / size[present].outer(size[present])
        weights[present] = solve_min_norm(shrunk) / size[present]
        return weights / weights.sum()
    return weights + 1 / len(gradients)


def weighted_sum(weights: Sequence[float], gradients: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Sum over tasks t of w_t g_t, parameter by parameter."""
    return [
        sum((weight * g for weight, g in zip(weights, parameter, strict=True)), torch.zeros_like(parameter[0]))
        for parameter in zip(*gradients, strict=True)
    ]


def _products(parameter: Sequence[Tensor]) -> Tensor:
    rows = torch.stack([g.detach().flatten() for g in parameter]).double()
    return (rows @ rows.T).cpu()


def _sizes(gram: Tensor, normalise: Normalisation, losses: Sequence[float] | None) -> Tensor:
    """What each task's gradient is divided by; 0 for tasks that have nothing to say."""
    norm = gram.diagonal().sqrt()
    if normalise == "none":
        return (norm > 0).double()
    if normalise == "l2":
        return norm
    if losses is None or len(losses) != len(gram) or min(losses) < 0:
        raise ValueError(f'"loss+" needs {len(gram)} losses that are not negative, not {losses}')
    return norm * torch.tensor([float(loss) for loss in losses], dtype=torch.float64)
