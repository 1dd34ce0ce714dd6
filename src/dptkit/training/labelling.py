"""Pictures with a model's own depth as their ground truth, as a folder to train on: what a student learns from.

OUT/SOURCE/000123.jpg, OUT/SOURCE/000123.png (16 bits, inverse depth up to scale and shift over the picture's range, 0
where no picture is), and one `manifest.csv` of all of them, written last; `labels.json` says how they were made.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import cv2
import numpy as np
import numpy.typing as npt

from dptkit.data.augment import (
    Augment,
    ColourJitter,
    RandomCrop,
    RandomFlip,
    RandomGrey,
    RandomRotation,
    RandomScale,
    ResizeToHold,
    to_inverse_depth,
)
from dptkit.data.sample import Dataset, KnowsItsFiles, Sample, SampleFiles
from dptkit.data.unlabelled import WithoutGroundTruth
from dptkit.errors import ConfigError, DataError
from dptkit.image_io.atomic import write_bytes
from dptkit.image_io.names import printable
from dptkit.outputs import DepthMap
from dptkit.tta import with_detail

RECORD = "labels.json"
_CODES = 65535
_JPEG_QUALITY = 93
_COLUMNS = ("source", "split", "name", "kind", "scale", "metric", "split_group", "picture")

Teacher = Callable[[npt.NDArray[np.uint8]], DepthMap]
"""uint8 RGB [H, W, 3] -> depth [H, W], as `Predictor.predict`."""

Detail = Literal["model", "truth"]
DETAIL_CHOICES: tuple[Detail, ...] = get_args(Detail)


@dataclass(frozen=True)
class Draw:
    """Which pictures are labelled: each as it is, or random crops of them.

    count: how many; None is every picture once. crop: (height, width) of crops; None leaves pictures as they are.
    Crops come from sources by the square root of their numbers, are zoomed up to twice, turned by up to 10 degrees,
    mirrored and recoloured: new pictures to the teacher. What is drawn for number n is a function of `seed` and n.
    detail: where edges come from. model: the teacher; truth: the ground truth, of whole pictures, see
    `dptkit.tta.with_detail`.
    """

    count: int | None = None
    crop: tuple[int, int] | None = None
    seed: int = 0
    detail: Detail = "model"

    def __post_init__(self) -> None:
        if self.detail not in DETAIL_CHOICES:
            raise ConfigError(f"detail {self.detail!r} is none of {', '.join(DETAIL_CHOICES)}")
        if self.detail == "truth" and self.crop is not None:
            raise ConfigError("detail from the ground truth is for whole pictures, not for crops")
        if self.crop is not None and self.count is None:
            raise ConfigError("crops are drawn at random: say how many (count)")
        if self.count is not None and self.count < 1:
            raise ConfigError(f"count must be at least 1, not {self.count}")
        if self.crop is not None and min(self.crop) < 1:
            raise ConfigError(f"crops of {self.crop[0]}x{self.crop[1]} are empty")

    def total(self, pictures: int) -> int:
        """How many labels that is, of so many pictures."""
        if self.count is None:
            return pictures
        return self.count if self.crop is not None else min(self.count, pictures)


def crop_steps(size: tuple[int, int]) -> Augment:
    """What happens to a picture before a teacher sees it, for crops of (height, width)."""
    return Augment(
        (
            WithoutGroundTruth(),
            ResizeToHold(size),
            RandomScale(1.0, 2.0),
            RandomRotation(10.0),
            RandomCrop(size, "enlarge"),
            RandomFlip(0.5),
            ColourJitter(brightness=0.4, contrast=0.4, saturation=0.5, hue=0.05, probability=0.8),
            RandomGrey(0.05),
        )
    )


def write_labels(
    dataset: Dataset, predict: Teacher, out: Path, draw: Draw, teacher: dict[str, Any]
) -> Iterator[str | None]:
    """Label pictures of `dataset` with `predict`; ground truth is not looked at but for `draw.detail` truth.

    Yields after each picture: None, or what was wrong with it; then it is left out.
    teacher: what `predict` is, for the record. Pictures that are complete are left, so a run that was cut off goes on
    with the same command, and more can be drawn later. Raises ConfigError for a folder that holds anything else,
    OutputWriteError where the disk refuses.
    """
    samples = [*dataset.sample_files()] if isinstance(dataset, KnowsItsFiles) else []
    samples = samples or [SampleFiles(dataset.name, str(index)) for index in range(len(dataset))]
    sources = [sample.source for sample in samples]
    total = draw.total(len(sources))
    _claim(out, {"teacher": teacher, "dataset": dataset.name, "pictures": len(sources), "seed": draw.seed,
                 "crop": draw.crop and list(draw.crop), "detail": draw.detail})  # fmt: skip
    steps = Augment((WithoutGroundTruth(),)) if draw.crop is None else crop_steps(draw.crop)
    weights = _shares(sources)
    rows = []
    for number in range(total):
        rng = np.random.default_rng((draw.seed, number))
        index = number if draw.crop is None else int(rng.choice(len(sources), p=weights))
        stem = out / _folder_name(sources[index]) / f"{number:06d}"
        # The picture is written last: with it a pair is complete.
        if not stem.with_suffix(".jpg").is_file():
            try:
                original = dataset[index]
                truth = _ground_truth(original) if draw.detail == "truth" else None
            except DataError as error:
                yield str(error)
                continue
            sample = steps(original, rng)
            label = inverse_depth(predict(sample.image))
            if truth is not None:
                values = with_detail(label.values, truth.values, label.valid & truth.valid)
                label = Inverse(values, label.valid)
            _write(stem, sample, label)
        rows.append(_row(samples[index], stem))
        yield None
    _write_manifest(out, rows)


def _shares(sources: list[str]) -> npt.NDArray[np.float64]:
    counts = Counter(sources)
    each = np.array([counts[source] ** -0.5 for source in sources])
    return np.asarray(each / each.sum())


class Inverse(NamedTuple):
    """Inverse depth up to scale and shift, float64 [H, W], and where it is known."""

    values: npt.NDArray[np.float64]
    valid: npt.NDArray[np.bool_]


def inverse_depth(depth: DepthMap) -> Inverse:
    """A prediction as inverse depth, metres too."""
    values = depth.values.astype(np.float64)
    if depth.quantity != "depth_m":
        return Inverse(values, depth.valid)
    valid = depth.valid & (values > 0)
    return Inverse(np.divide(1, values, out=np.zeros_like(values), where=valid), valid)


def _ground_truth(sample: Sample) -> Inverse:
    if sample.quantity == "labels":
        raise DataError(f"{printable(sample.name)}: has classes, no depth to take detail from")
    known = to_inverse_depth(sample)
    if not known.valid.any():
        raise DataError(f"{printable(sample.name)}: has no ground truth to take detail from")
    return Inverse(known.target.astype(np.float64), known.valid)


def encode(label: Inverse, shown: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint16]:
    """Codes from 1 to 65535 over the label's range; 0 where nothing is shown, or nothing known."""
    valid = label.valid & shown
    if not valid.any():
        return np.zeros(valid.shape, np.uint16)
    low, high = float(label.values[valid].min()), float(label.values[valid].max())
    codes = 1 + np.rint((np.where(valid, label.values, low) - low) / ((high - low) or 1) * (_CODES - 1))
    return np.where(valid, codes, 0).astype(np.uint16)


def _write(stem: Path, sample: Sample, label: Inverse) -> None:
    codes = encode(label, sample.valid)
    bgr = np.asarray(cv2.cvtColor(sample.image, cv2.COLOR_RGB2BGR), np.uint8)
    for suffix, pixels, options in ((".png", codes, []), (".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])):
        write_bytes(stem.with_suffix(suffix), cv2.imencode(suffix, pixels, options)[1].tobytes())


def _folder_name(source: str) -> str:
    """Of a source whose name may be a path, or a folder of its own choice."""
    return re.sub(r"[^\w.-]", "_", source).lstrip(".") or "pictures"


def _row(sample: SampleFiles, stem: Path) -> dict[str, str]:
    return {
        "source": stem.parent.name,
        "split": "train",
        "name": stem.name,
        "kind": "disparity",
        "scale": str(1 / _CODES),
        "metric": "false",
        "split_group": f"{sample.source}/{sample.name}",
        "picture": sample.name,
    }


def _write_manifest(out: Path, rows: list[dict[str, str]]) -> None:
    text = io.StringIO()
    table = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_bytes(out / "manifest.csv", text.getvalue().encode())


def _claim(out: Path, record: dict[str, Any]) -> None:
    """Note how a folder's labels are made. Raises ConfigError for a folder of other labels, or of anything else."""
    path = out / RECORD
    if path.is_file():
        try:
            before = json.loads(path.read_text("utf-8"))
        except ValueError:
            before = None
        if before != json.loads(json.dumps(record)):
            raise ConfigError(f"{printable(out)}: holds labels that were made otherwise; choose another folder")
        return
    if out.is_dir() and any(out.iterdir()):
        raise ConfigError(f"{printable(out)}: is not empty, and not a folder of labels; choose another")
    write_bytes(path, json.dumps(record, indent=1).encode())
