"""mIoU of a street segmentation model on CamVid's test split: single scale, or averaged over scales and flips.

One confusion matrix over all pixels with a label. Intervals: 95%, of 1,000 bootstrap samples of the pictures.
Run: python benchmarks/street_quality.py CAMVID [--model NAME|FILE ...] [--scales 0.75 1 1.25 --flip] [--split test]
"""

from __future__ import annotations

import argparse
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dptkit import Predictor, load
from dptkit.data.registry import open_dataset
from dptkit.data.sample import IGNORED
from dptkit.postprocess import resize_map
from dptkit.preprocess import preprocess, with_size

Counts = npt.NDArray[np.int64]


def predict_labels(
    predictor: Predictor, image: npt.NDArray[np.uint8], scales: list[float], flip: bool
) -> npt.NDArray[np.uint8]:
    """Class ids: the largest mean probability over scales of the network's input and mirrored pictures."""
    if scales == [1.0] and not flip:
        return predictor.predict(image).labels  # type: ignore[union-attr]
    config, total = predictor.spec.preprocess, 0.0
    for scale in scales:
        sized = with_size(config, max(1, round(config.size[0] * scale / config.multiple_of)) * config.multiple_of)
        for mirrored in (False, True) if flip else (False,):
            tensor = preprocess(np.ascontiguousarray(image[:, ::-1]) if mirrored else image, sized)
            raw = predictor.backend.predict(tensor[None])[0]
            logits = np.stack([resize_map(plane[:, ::-1] if mirrored else plane, image.shape[:2]) for plane in raw])
            odds = np.exp(logits - logits.max(axis=0))
            total = total + odds / odds.sum(axis=0)
    return np.asarray(np.argmax(total, axis=0), np.uint8)


def confusion(labels: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8], classes: int) -> Counts:
    """[true, predicted] pixel counts where the truth is known."""
    known = truth != IGNORED
    pairs = truth[known].astype(np.int64) * classes + labels[known]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def class_iou(counts: Counts) -> npt.NDArray[np.float64]:
    """Intersection over union by class; NaN for a class that is neither there nor predicted."""
    union = counts.sum(axis=0) + counts.sum(axis=1) - np.diag(counts)
    return np.where(union > 0, np.diag(counts) / np.maximum(union, 1), np.nan)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", nargs="*", default=["dpt-lite-street"])
    parser.add_argument("--split", default="test")
    parser.add_argument("--scales", type=float, nargs="*", default=[1.0])
    parser.add_argument("--flip", action="store_true")
    options = parser.parse_args()
    dataset = open_dataset("camvid", options.folder, options.split)
    print(
        f"{platform.machine()}, Python {platform.python_version()}, torch {version('torch')}, CamVid {options.split}, "
        f"{len(dataset)} pictures, scales {options.scales}, flip {options.flip}"
    )
    for name in options.model:
        predictor = load(name, precision="float32")
        names = predictor.spec.decoding.class_names  # type: ignore[union-attr]
        each = []
        for index in range(len(dataset)):
            sample = dataset[index]
            labels = predict_labels(predictor, sample.image, options.scales, options.flip)
            each.append(confusion(labels, sample.target, len(names)))
        table, rng = np.array(each), np.random.default_rng(0)
        counts = table.sum(axis=0)
        resampled = [
            np.nanmean(class_iou(table[rng.integers(len(table), size=len(table))].sum(axis=0))) for _ in range(1000)
        ]
        low, high = np.percentile(resampled, [2.5, 97.5])
        iou = class_iou(counts)
        accuracy = np.trace(counts) / counts.sum()
        print(f"{name}: mIoU {np.nanmean(iou):.4f} [{low:.3f}, {high:.3f}], pixel accuracy {accuracy:.4f}")
        print("  " + ", ".join(f"{label} {value:.3f}" for label, value in zip(names, iou, strict=True)))


if __name__ == "__main__":
    main()
