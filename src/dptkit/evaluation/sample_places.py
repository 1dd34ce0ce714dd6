"""Where in a data set the pictures of a result are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dptkit.data.sample import Dataset, OrdinalDataset
from dptkit.errors import DataError
from dptkit.evaluation.result import ImageResult

SampleKey = tuple[str, str]


def sample_key(image: ImageResult) -> SampleKey:
    """(source, name): names are unique within a source."""
    return image.source, image.name


def sample_places(dataset: Dataset | OrdinalDataset) -> dict[SampleKey, int]:
    """Indices by key, without broken samples where names are only known after reading."""
    pairs: Sequence[Any] | None = getattr(dataset, "pairs", None)
    places = {}
    for index in range(len(dataset)):
        try:
            entry = dataset[index] if pairs is None else pairs[index]
        except DataError:
            continue
        places[(entry.source or dataset.name, entry.name)] = index
    return places
