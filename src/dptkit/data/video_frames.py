"""Frames of videos: found by their numbers, and some of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from dptkit.data.pairs import Pair, names_in
from dptkit.errors import DataError
from dptkit.image_io.names import printable


def numbered_frames(scene: Path, folders: Mapping[str, str]) -> list[str]:
    """Stems of the files in any of the folders of `scene`, by number: one that is missing in the other is missed.

    folders: name -> ending of its files, as {"rgb": ".jpg", "depth": ".png"}; numbers may have zeros in front.
    Raises DataError for a file whose name is no number.
    """
    stems = {
        name.removesuffix(ending)
        for folder, ending in folders.items()
        for name in names_in(scene / folder)
        if name.endswith(ending)
    }
    wrong = sorted(stem for stem in stems if not stem.isdecimal())
    if wrong:
        raise DataError(f"{printable(scene)}: {printable(wrong[0])} is not the number of a frame")
    return sorted(stems, key=lambda stem: (int(stem), stem))


def of_each_group(pairs: Iterable[Pair], first: int = 0, last: int | None = None) -> tuple[Pair, ...]:
    """Pairs `first` to `last` of each group, as of a slice, in the order in which they came."""
    every = tuple(pairs)
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for place, pair in enumerate(every):
        groups[pair.group].append(place)
    chosen = {place for places in groups.values() for place in places[first:last]}
    return tuple(pair for place, pair in enumerate(every) if place in chosen)
