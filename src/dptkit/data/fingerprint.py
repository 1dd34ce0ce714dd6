"""What tells whether a data set is still the same, without opening a picture."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

from dptkit.data.sample import Dataset, KnowsItsFiles, OrdinalDataset

_SIZED = 10_000


def dataset_fingerprint(dataset: Dataset | OrdinalDataset) -> str:
    """SHA-256 in hexadecimal over each sample's source, name and sizes of its files, in the order of the samples.

    Where the folder lies and when files were written do not count. A missing file counts as one of size -1. Of more
    than 10,000 samples so many, evenly spread, count with their files, the others by name. A data set that is not
    `KnowsItsFiles` counts by name and number of samples alone.
    """
    digest = sha256()
    if not isinstance(dataset, KnowsItsFiles):
        digest.update(_line(dataset.name, str(len(dataset))))
        return digest.hexdigest()
    step = max(1, -(-len(dataset) // _SIZED))
    sizes: dict[Path, str] = {}  # a file that holds many samples is looked at once
    for index, sample in enumerate(dataset.sample_files()):
        parts = [sample.source, sample.name]
        if index % step == 0:
            for file in sample.files:
                if file not in sizes:
                    sizes[file] = _size(file)
                parts.append(sizes[file])
        digest.update(_line(*parts))
    return digest.hexdigest()


def describe_dataset(dataset: Dataset | OrdinalDataset) -> dict[str, Any]:
    """Name, number of samples and fingerprint, for records of a run."""
    return {"name": dataset.name, "samples": len(dataset), "sha256_of_names_and_sizes": dataset_fingerprint(dataset)}


def _size(file: Path) -> str:
    try:
        return str(file.stat().st_size)
    except OSError:
        return "-1"


def _line(*parts: str) -> bytes:
    """Unambiguous: no part can hold the byte 0 that divides them, as no file's name can."""
    return "\0".join(parts).encode("utf-8", "surrogateescape") + b"\0\n"
