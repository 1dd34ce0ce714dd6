"""What is set aside of a training split to validate on, always the same: whole groups, none divided, or single
pictures where there are no groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

from dptkit.data.pairs import Pair, PairedFiles
from dptkit.errors import DataError
from dptkit.image_io.names import printable

HELD_OUT_SPLIT = "held-out"
"""The split that `hold_out` makes where val is the split that everybody reports."""


def held_groups(groups: Iterable[str], wanted: int) -> frozenset[str]:
    """Of the group of each sample, those that are set aside: the smallest first, as near to `wanted` samples as whole
    groups come, one at least."""
    held: set[str] = set()
    count = 0
    for group, size in sorted(Counter(groups).items(), key=lambda item: (item[1], item[0])):
        if held and abs(count + size - wanted) >= abs(count - wanted):
            break
        held.add(group)
        count += size
    return frozenset(held)


def divide(dataset: PairedFiles, split: str, hold_out: int, scene: Callable[[Pair], str]) -> PairedFiles:
    """What is left as "train" or set aside as "val" of a training split: about one in `hold_out`, in whole scenes.

    Raises DataError for a `hold_out` below 2, and for a single scene.
    """
    _check(dataset, hold_out)
    scenes = [scene(pair) for pair in dataset.pairs]
    if len(set(scenes)) < 2:
        raise DataError(f"{dataset.name}: {printable(dataset.root)} has a single scene; none can be held out")
    held = held_groups(scenes, max(1, len(scenes) // hold_out))
    pairs = zip(dataset.pairs, scenes, strict=True)
    return replace(dataset, pairs=tuple(pair for pair, scene in pairs if (scene in held) == (split == "val")))


def divide_evenly(dataset: PairedFiles, hold_out: int, *, held: bool) -> PairedFiles:
    """What is left, or what is `held`, of a training split without scenes: every `hold_out`-th picture by name.

    Spread evenly, as neighbours by name may be of one kind. Raises DataError for a `hold_out` below 2.
    """
    _check(dataset, hold_out)
    names = set(sorted(pair.name for pair in dataset.pairs)[hold_out - 1 :: hold_out])
    return replace(dataset, pairs=tuple(pair for pair in dataset.pairs if (pair.name in names) == held))


def _check(dataset: PairedFiles, hold_out: int) -> None:
    if hold_out < 2:
        raise DataError(f"{dataset.name}: hold_out must be 2 or more: one picture in so many is held out")
