"""A data set -> WebDataset shards, see `dptkit.data.shards` for what is in them."""

from __future__ import annotations

import hashlib
import io
import json
import math
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dptkit.data.pairs import PairedFiles
from dptkit.data.sample import Dataset
from dptkit.data.shard_target import encode_target
from dptkit.data.shards import FORMAT, INDEX, shard_name
from dptkit.errors import DataError
from dptkit.image_io import read_image
from dptkit.image_io.atomic import atomic_write, write_bytes
from dptkit.image_io.names import printable

_KEPT_AS_THEY_ARE = {".jpg": "jpg", ".jpeg": "jpg", ".png": "png"}


def write_shards(
    dataset: Dataset,
    out: Path,
    split: str,
    samples_per_shard: int = 1000,
    on_sample: Callable[[], None] | None = None,
) -> tuple[Path, ...]:
    """Write all samples, in order, as shards of `samples_per_shard`; returns their files.

    Each shard appears whole or not at all, and shards that are there are left alone, so an interrupted run goes on
    where it stopped. The same data set gives the same bytes. JPEG and PNG pictures are copied as they are.

    Raises DataError for a broken sample, and for a folder that has shards of something else; OutputWriteError.
    """
    if samples_per_shard < 1:
        raise DataError(f"a shard needs at least one sample, not {samples_per_shard}")
    index = {
        "format": FORMAT,
        "dataset": dataset.name,
        "split": split,
        "samples": len(dataset),
        "samples_per_shard": samples_per_shard,
        "class_names": list(getattr(dataset, "class_names", ())),
        "names_sha256": _names_hash(dataset),
    }
    _check_folder(out, index)
    write_bytes(out / INDEX, (json.dumps(index, indent=2) + "\n").encode("ascii"))
    paths = []
    for shard in range(math.ceil(len(dataset) / samples_per_shard)):
        path = out / shard_name(shard)
        numbers = range(shard * samples_per_shard, min((shard + 1) * samples_per_shard, len(dataset)))
        if not path.is_file():
            with atomic_write(path) as part, part.open("wb") as file, tarfile.open(fileobj=file, mode="w:") as tar:
                for number in numbers:
                    _add_sample(tar, dataset, number)
                    if on_sample is not None:
                        on_sample()
        elif on_sample is not None:
            for _ in numbers:
                on_sample()
        paths.append(path)
    return tuple(paths)


def _add_sample(tar: tarfile.TarFile, dataset: Dataset, number: int) -> None:
    sample = dataset[number]
    ending, picture = _picture(dataset, number, sample.image)
    target_ending, target, scaling = encode_target(sample)
    record: dict[str, Any] = {
        "name": sample.name,
        "source": sample.source,
        "group": sample.group,
        "quantity": sample.quantity,
        "unit": sample.unit,
        "intrinsics": sample.intrinsics,
        **scaling,
    }
    for part, data in (
        (ending, picture),
        (target_ending, target),
        ("json", json.dumps(record, sort_keys=True).encode("ascii")),
    ):
        entry = tarfile.TarInfo(f"{number:08d}.{part}")  # time, owner and group are 0: the same bytes every time
        entry.size = len(data)
        entry.mode = 0o644
        tar.addfile(entry, io.BytesIO(data))


def _picture(dataset: Dataset, number: int, image: Any) -> tuple[str, bytes]:
    """(ending, bytes): the file as it is, where reading it upright and whole, as shards are, gives this picture."""
    if isinstance(dataset, PairedFiles):
        pair, path = dataset.pairs[number], dataset.image_path(number)
        ending = _KEPT_AS_THEY_ARE.get(path.suffix.lower())
        if ending is not None:
            stored = path.read_bytes()
            if (pair.upright and pair.larger is None) or np.array_equal(read_image(stored), image):
                return ending, stored
    return "png", cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()


def _names_hash(dataset: Dataset) -> str:
    """Of the samples' names in order, where they are known without opening files; "" elsewhere."""
    if not isinstance(dataset, PairedFiles):
        return ""
    digest = hashlib.sha256()
    for pair in dataset.pairs:
        digest.update(pair.name.encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()


def _check_folder(out: Path, index: dict[str, Any]) -> None:
    """Raises DataError if `out` has shards that are not of this index."""
    path = out / INDEX
    if path.is_file():
        try:
            found = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise DataError(f"{printable(path)}: cannot be read ({error}); choose another folder") from error
        differing = [key for key in index if not isinstance(found, dict) or found.get(key) != index[key]]
        if differing:
            raise DataError(f"{printable(out)} has other shards ({', '.join(differing)} differ); choose another folder")
    elif out.is_dir() and any(out.glob("shard-*.tar")):
        raise DataError(f"{printable(out)} has shards without {INDEX}; choose another folder")
