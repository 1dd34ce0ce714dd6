"""Variants against each other: differences, and what other seeds, and other pictures, might have made of them.

Two intervals, as two things are left to chance, and neither holds the other's: only a difference of which both leave
zero out says something.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from dptkit.evaluation.pairing import run_differences
from dptkit.evaluation.result import EvaluationResult
from dptkit.training.ablation_config import MEAN, Ablation
from dptkit.training.ablation_table import Difference, DifferenceRow, summarise

SAMPLES = 2000
"""Of the bootstrap; a fifth of `dpt compare`'s, as all pairs are compared anew after each run."""

Results = Mapping[str, Mapping[int, Mapping[str, EvaluationResult]]]
"""By variant, seed and data set."""

_Array = npt.NDArray[np.float64]


def compare_variants(ablation: Ablation, results: Results) -> tuple[DifferenceRow, ...]:
    """Each variant minus the one it is set against, paired by seed and picture, over the seeds that both have."""
    rows = []
    for name, variant in ablation.variants.items():
        against = variant.against or next(iter(ablation.configs))
        own, others = results.get(name, {}), results.get(against, {})
        seeds = [seed for seed in ablation.seeds if seed in own and seed in others]
        if name == against or not seeds:
            continue
        metric, found = ablation.scoring.metric, {}
        for number, column in enumerate(ablation.scoring.data):
            left, right = ([runs[seed][column] for seed in seeds] for runs in (others, own))
            # Data sets are drawn independently of each other, so each has a seed of its own.
            found[column] = run_differences(left, right, metric, samples=SAMPLES, seed=number)
        by_seed = np.mean([values for values, _ in found.values()], axis=0)
        draws = [drawn for _, drawn in found.values() if drawn.size]
        drawn = np.mean(draws, axis=0) if len(draws) == len(found) else np.empty(0)
        cells = {column: _difference(*both) for column, both in {**found, MEAN: (by_seed, drawn)}.items()}
        rows.append(DifferenceRow(name, against, cells))
    return tuple(rows)


def _difference(by_seed: _Array, drawn: _Array) -> Difference:
    over_seeds, kept = summarise(by_seed.tolist()), drawn[np.isfinite(drawn)]
    assert over_seeds.mean is not None
    low, high = (float(edge) for edge in np.percentile(kept, (2.5, 97.5))) if kept.size else (None, None)
    return Difference(over_seeds.mean, over_seeds.low, over_seeds.high, low, high, over_seeds.runs)
