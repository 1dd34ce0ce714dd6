"""AbsRel, δ1 and boundary F1 of a relative depth model on pictures with depth, beside two predictors that never look.

Per picture, scale and shift are fitted by least squares in inverse depth over valid pixels; aligned inverse depth is
kept above half the smallest true one; metrics per picture, mean per source, mean over sources. Intervals: 95%, of 1,000
bootstrap samples of the pictures within each source.
Run: python benchmarks/lite_quality.py FOLDER [--model NAME|FILE ...] [--size N] (a folder with manifest.csv, split val)
"""

from __future__ import annotations

import argparse
import platform
from collections import defaultdict
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from dptkit import DepthMap, load
from dptkit.data.augment import to_inverse_depth
from dptkit.data.registry import open_dataset

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Picture = npt.NDArray[np.uint8]
BOUNDARY_RATIOS = (1.05, 1.1, 1.15, 1.2, 1.25)
"""Depth of a pixel against its neighbour's from which there is a boundary (Depth Pro, arXiv 2410.02073)."""
TOLERANCE = 0.004
"""How far off a boundary may be, as a share of the diagonal: 3 pixels at 640x480."""


class Score(NamedTuple):
    """Of one picture. boundary_f1: NaN where the truth has no boundary."""

    abs_rel: float
    delta1: float
    boundary_f1: float


def score(prediction: Array, truth: Array, valid: Mask) -> Score:
    """After the alignment that the module's docstring tells. `truth`: inverse depth."""
    columns = np.stack([prediction[valid], np.ones(int(valid.sum()))], axis=1)
    solution, *_ = np.linalg.lstsq(columns, truth[valid], rcond=None)
    floor = truth[valid].min() / 2
    aligned = np.maximum(columns @ solution, floor)
    ratio = truth[valid] / aligned  # aligned depth / true depth
    whole = np.maximum(prediction * solution[0] + solution[1], floor)
    return Score(
        float(np.abs(ratio - 1).mean()),
        float((np.maximum(ratio, 1 / ratio) < 1.25).mean()),
        boundary_f1(whole, np.where(valid, truth, 1.0), valid),
    )


def boundary_f1(prediction: Array, truth: Array, valid: Mask) -> float:
    """Mean F1 over `BOUNDARY_RATIOS` of depth steps between neighbours, both valid, matched within `TOLERANCE`.

    A thin, exact line of steps scores 1; a ramp in place of a step has no step that is large enough, or too many.
    """
    radius = max(1, round(TOLERANCE * float(np.hypot(*valid.shape))))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    scores = []
    for ratio in BOUNDARY_RATIOS:
        found, true = _boundaries(prediction, valid, ratio), _boundaries(truth, valid, ratio)
        if not true.any():
            continue
        near_found, near_true = (cv2.dilate(lines.astype(np.uint8), kernel) > 0 for lines in (found, true))
        precision = (found & near_true).sum() / max(1, found.sum())
        recall = (true & near_found).sum() / true.sum()
        scores.append(2 * precision * recall / max(1e-12, precision + recall))
    return float(np.mean(scores)) if scores else float("nan")


def _boundaries(inverse: Array, valid: Mask, ratio: float) -> Mask:
    lines = np.zeros(valid.shape, np.bool_)
    for here, there in (((slice(None), slice(1, None)), (slice(None), slice(-1))), ((slice(1, None),), (slice(-1),))):
        step = np.maximum(inverse[here] / inverse[there], inverse[there] / inverse[here]) > ratio
        lines[here] |= step & valid[here] & valid[there]
    return lines


def mean_over_sources(scores: Mapping[str, list[Score]], rng: np.random.Generator | None = None) -> Array:
    """Mean over sources of the means over pictures, or over a bootstrap sample of each source's pictures."""
    means = []
    for values in scores.values():
        table = np.array(values)
        means.append(np.nanmean(table if rng is None else table[rng.integers(len(table), size=len(table))], axis=0))
    return np.asarray(np.nanmean(means, axis=0))


def score_all(
    folder: Path, split: str, predict: Callable[[Picture], Array], sources: list[str]
) -> dict[str, list[Score]]:
    """Scores by source of every picture of a split."""
    dataset = open_dataset("manifest", folder, split, **({"sources": sources} if sources else {}))
    scores: dict[str, list[Score]] = defaultdict(list)
    for index in range(len(dataset)):
        sample = to_inverse_depth(dataset[index])
        valid = sample.valid & (sample.target > 0)
        if valid.any():
            truth = sample.target.astype(np.float64)
            scores[sample.name.partition("/")[0] or sample.source].append(score(predict(sample.image), truth, valid))
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", nargs="*", default=["dpt-lite"])
    parser.add_argument("--size", type=int)
    parser.add_argument("--split", default="val")
    parser.add_argument("--sources", nargs="*", default=[])
    options = parser.parse_args()

    def network(name: str) -> Callable[[Picture], Array]:
        predictor = load(name, size=options.size, precision="float32")

        def predict(image: Picture) -> Array:
            depth = predictor.predict(image)
            assert isinstance(depth, DepthMap)
            return depth.values.astype(np.float64)

        return predict

    predictors: dict[str, Callable[[Picture], Array]] = {
        **{name: network(name) for name in options.model},
        "vertical ramp": lambda image: np.tile(np.linspace(0, 1, image.shape[0])[:, None], (1, image.shape[1])),
        "constant": lambda image: np.zeros(image.shape[:2]),
    }
    print(f"{platform.machine()}, Python {platform.python_version()}, torch {version('torch')}, split {options.split}")
    for name, predict in predictors.items():
        scores = score_all(options.folder, options.split, predict, options.sources)
        mean, rng = mean_over_sources(scores), np.random.default_rng(0)
        low, high = np.percentile([mean_over_sources(scores, rng) for _ in range(1000)], [2.5, 97.5], axis=0)
        parts = [
            f"{label} {value:.3f} [{a:.3f}, {b:.3f}]"
            for label, value, a, b in zip(("AbsRel", "δ1", "boundary F1"), mean, low, high, strict=True)
        ]
        print(f"{name}: {', '.join(parts)}; {sum(map(len, scores.values()))} pictures of {len(scores)} sources")
        for source, values in scores.items():
            print(f"  {source}: " + ", ".join(f"{value:.3f}" for value in np.nanmean(np.array(values), axis=0)))


if __name__ == "__main__":
    main()
