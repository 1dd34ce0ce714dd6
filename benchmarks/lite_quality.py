"""AbsRel and δ1 of dpt-lite on pictures with depth, beside two predictors that never look at the picture.

Per picture, scale and shift are fitted by least squares in inverse depth over valid pixels; aligned inverse depth is
kept above half the smallest true one; metrics per picture, mean per source, mean over sources.
Run: python benchmarks/lite_quality.py FOLDER [--model NAME|FILE] (a folder with manifest.csv, split val)
"""

from __future__ import annotations

import argparse
import platform
from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dptkit import DepthMap, load
from dptkit.data.augment import to_inverse_depth
from dptkit.data.registry import open_dataset

Array = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]


def score(prediction: Array, truth: Array, valid: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """(AbsRel, δ1) after the alignment that the module's docstring tells. `truth`: inverse depth."""
    columns = np.stack([prediction[valid], np.ones(int(valid.sum()))], axis=1)
    solution, *_ = np.linalg.lstsq(columns, truth[valid], rcond=None)
    aligned = np.maximum(columns @ solution, truth[valid].min() / 2)
    ratio = truth[valid] / aligned  # aligned depth / true depth
    return float(np.abs(ratio - 1).mean()), float((np.maximum(ratio, 1 / ratio) < 1.25).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="dpt-lite")
    options = parser.parse_args()
    dataset = open_dataset("manifest", options.folder, "val")
    predictor = load(options.model)

    def network(image: Picture) -> Array:
        depth = predictor.predict(image)
        assert isinstance(depth, DepthMap)
        return depth.values.astype(np.float64)

    predictors: dict[str, Callable[[Picture], Array]] = {
        options.model: network,
        "vertical ramp": lambda image: np.tile(np.linspace(0, 1, image.shape[0])[:, None], (1, image.shape[1])),
        "constant": lambda image: np.zeros(image.shape[:2]),
    }
    print(
        f"{platform.machine()}, Python {platform.python_version()}, torch {version('torch')}, {len(dataset)} pictures"
    )
    for name, predict in predictors.items():
        scores: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for index in range(len(dataset)):
            sample = to_inverse_depth(dataset[index])
            if sample.valid.any():
                truth = sample.target.astype(np.float64)
                valid = sample.valid & (truth > 0)
                scores[sample.name.partition("/")[0] or sample.source].append(
                    score(predict(sample.image), truth, valid)
                )
        per_source = {source: np.mean(values, axis=0) for source, values in scores.items()}
        mean = np.mean(list(per_source.values()), axis=0)
        details = ", ".join(f"{source} {values[1]:.3f}" for source, values in per_source.items())
        print(f"{name}: AbsRel {mean[0]:.3f}, δ1 {mean[1]:.3f} over {len(per_source)} sources (δ1: {details})")


if __name__ == "__main__":
    main()
