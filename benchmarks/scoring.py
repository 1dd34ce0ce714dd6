"""Time of scoring against time of predicting, picture by picture, alternating in one run.

Run: python benchmarks/scoring.py FOLDER [--protocol folder] [--model dpt-lite] [--limit 40]
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from importlib.metadata import version
from pathlib import Path

from dptkit.data.registry import open_dataset
from dptkit.evaluation.open_subject import open_subject
from dptkit.evaluation.protocols import find_protocol
from dptkit.evaluation.scoring import score_picture
from dptkit.evaluation.subject import ImagePredictor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dataset", default="manifest")
    parser.add_argument("--split", default="val")
    parser.add_argument("--protocol", default="folder")
    parser.add_argument("--model", default="dpt-lite")
    parser.add_argument("--limit", type=int, default=40)
    options = parser.parse_args()
    protocol = find_protocol(options.protocol)
    subject = open_subject(options.model, protocol)
    assert isinstance(subject, ImagePredictor)
    dataset = open_dataset(options.dataset, options.folder, options.split)
    indices = range(0, len(dataset), max(1, len(dataset) // options.limit))
    samples = [dataset[index] for index in indices]
    subject.predict(samples[0].image)
    predicting, scoring = [], []
    for sample in samples:
        start = time.perf_counter()
        prediction = subject.predict(sample.image)
        between = time.perf_counter()
        score_picture(prediction, sample, protocol)
        predicting.append(between - start)
        scoring.append(time.perf_counter() - between)
    ratios = [score / predict for score, predict in zip(scoring, predicting, strict=True)]
    print(
        f"{platform.machine()}, Python {platform.python_version()}, torch {version('torch')}, {len(samples)} pictures"
    )
    print(
        f"{options.model}, {options.protocol}: predicting {1e3 * statistics.median(predicting):.1f} ms, scoring ",
        end="",
    )
    print(f"{1e3 * statistics.median(scoring):.1f} ms (medians); median of the ratios {statistics.median(ratios):.1%}")


if __name__ == "__main__":
    main()
