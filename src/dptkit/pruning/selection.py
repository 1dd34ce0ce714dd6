"""From importance to what stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from dptkit.pruning.importance import Importance
from dptkit.pruning.removal import Kept

Scope = Literal["global", "block"]


def select(importance: Sequence[Importance], heads: float, mlp: float, scope: Scope) -> list[Kept]:
    """What stays of each block once these shares, the least important, are gone; of every block at least one of each.

    scope "block": the share of every block, rounded; "global": of all blocks together, wherever the least important
    are, with each block's importance brought to norm 1, since derivatives grow with depth for reasons of their own
    (Michel et al. 2019, section 4.1).
    """
    kept_heads = _select([block.heads for block in importance], heads, scope)
    kept_mlp = _select([block.mlp for block in importance], mlp, scope)
    return [Kept(*pair) for pair in zip(kept_heads, kept_mlp, strict=True)]


def _select(scores: Sequence[Tensor], share: float, scope: Scope) -> list[tuple[int, ...]]:
    if scope == "block":
        return [_select([block], share, "global")[0] for block in scores]
    ranked = sorted(
        (value, block, place)
        for block, values in enumerate(scores)
        for place, value in enumerate((values / values.norm().clamp(min=1e-300)).tolist())
    )
    left = [set(range(len(values))) for values in scores]
    removable = round(share * len(ranked))
    for _, block, place in ranked:
        if removable and len(left[block]) > 1:
            left[block].remove(place)
            removable -= 1
    return [tuple(sorted(places)) for places in left]
