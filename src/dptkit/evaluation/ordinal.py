"""Which of two points is nearer: disagreement (DIW) and accuracy (DA-2K) of predicted inverse depth.

WHDR   Chen et al. 2016, "Single-Image Depth Perception in the Wild", section 5: the weighted share of pairs whose
       predicted relation is not the annotated one. DIW's weights are all 1, one pair a picture, none equally far; MiDaS
       and DPT (table 1) report it in percent. The authors' scorer compares depths without a threshold
       (princeton-vl/relative_depth; in Python yifjiang/relative-depth-using-pytorch, validate_crit_DIW.py).
DA-2K  Yang et al. 2024 (Depth Anything V2), section 6; DA-2K.md in its repository: share of pairs whose nearer point is
       the one annotated.
Both are in [0, 1] here. Neither needs an alignment: they are the same for any growing function of inverse depth where
`equal_ratio` is 0.
"""

from __future__ import annotations

from math import nan

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Relations = npt.NDArray[np.int8]


def values_at(inverse_depth: Array, points: npt.NDArray[np.int64]) -> Array:
    """[P, 2]: the values of a map [H, W] at A and at B of each pair; points as in `OrdinalSample`."""
    return np.asarray(inverse_depth[points[..., 0], points[..., 1]], np.float64)


def ordinal_relation(predicted: Array, equal_ratio: float = 0.0) -> Relations:
    """[P]: 1 where A is nearer, -1 where B is, 0 where they count as equally far.

    predicted: inverse depth [P, 2] of A and B, larger is nearer. equal_ratio: 0 or more; values of one sign are equal
    where the larger magnitude is at most (1 + equal_ratio) times the smaller. Values of opposite sign never are: no
    ratio tells how far apart they lie. Raises ValueError where values are not finite or the shape is another.
    """
    values = np.asarray(predicted, np.float64)
    if values.ndim != 2 or values.shape[1] != 2 or not np.isfinite(values).all():
        raise ValueError(f"predicted inverse depth at points must be finite, [P, 2], not {values.shape}")
    if not equal_ratio >= 0:
        raise ValueError(f"equal_ratio must be 0 or more, not {equal_ratio}")
    a, b = values.T
    sizes = np.abs(values)
    equal = (np.sign(a) == np.sign(b)) & (sizes.max(axis=1) <= (1 + equal_ratio) * sizes.min(axis=1))
    return np.where(equal, 0, np.where(a > b, 1, -1)).astype(np.int8)


def ordinal_sums(
    predicted: Array, nearer: Relations, *, weights: Array | None = None, equal_ratio: float = 0.0
) -> tuple[float, float]:
    """(weight of all pairs, weight of those predicted as annotated): add those of several pictures to pool them.

    nearer: [P], as in `OrdinalSample`. weights: [P], 0 or more; 1 each by default.
    A tie that is annotated as one point nearer is a disagreement, so a constant map agrees with nothing.
    """
    relation = ordinal_relation(predicted, equal_ratio)
    w = np.ones(relation.shape) if weights is None else np.asarray(weights, np.float64)
    if np.shape(nearer) != relation.shape or w.shape != relation.shape:
        raise ValueError(f"{len(relation)} pairs need as many relations and weights, not {np.shape(nearer)}, {w.shape}")
    if not (np.isfinite(w).all() and (w >= 0).all()):
        raise ValueError("weights of pairs must be finite and not negative")
    return float(w.sum()), float(w[relation == nearer].sum())


def whdr(predicted: Array, nearer: Relations, *, weights: Array | None = None, equal_ratio: float = 0.0) -> float:
    """Weighted human disagreement rate, in [0, 1]; NaN without pairs. Arguments as `ordinal_sums`."""
    weight, agreed = ordinal_sums(predicted, nearer, weights=weights, equal_ratio=equal_ratio)
    return (weight - agreed) / weight if weight else nan


def pairwise_accuracy(predicted: Array, nearer: Relations, *, equal_ratio: float = 0.0) -> float:
    """Share of pairs predicted as annotated, in [0, 1]; NaN without pairs. Arguments as `ordinal_sums`."""
    pairs, agreed = ordinal_sums(predicted, nearer, equal_ratio=equal_ratio)
    return agreed / pairs if pairs else nan
