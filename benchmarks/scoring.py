"""Time of scoring against time of predicting, picture by picture, alternating in one run.

Of videos with known cameras it includes the fit of the whole video and the temporal alignment error (TAE), which is
also told alone.

Run: python benchmarks/scoring.py FOLDER [--protocol folder] [--model dpt-lite] [--limit 40]
     python benchmarks/scoring.py CLIPS --dataset rendered-clips --protocol temporal-rendered
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

from dptkit.data.registry import open_dataset
from dptkit.data.sample import Sample
from dptkit.evaluation.depth_pixels import depth_pixels
from dptkit.evaluation.depth_scoring import aligned_depth, score_pixels
from dptkit.evaluation.open_subject import open_subject
from dptkit.evaluation.protocol import DepthProtocol, Protocol
from dptkit.evaluation.protocols import find_protocol
from dptkit.evaluation.scoring import fit_of_parts, part_of_fit, score_picture
from dptkit.evaluation.subject import ImagePredictor
from dptkit.evaluation.temporal import Frame, Scratch, frame_pair_error
from dptkit.outputs import DepthMap

Seconds = tuple[float, float, float]
"""Predicting, scoring, and what of scoring is the TAE."""


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
    video = isinstance(protocol, DepthProtocol) and protocol.alignment_scope == "video"
    step = 1 if video else max(1, len(dataset) // options.limit)
    samples = [dataset[index] for index in range(0, min(len(dataset), step * options.limit), step)]
    subject.predict(samples[0].image)
    timed = list(_videos(samples, subject, protocol) if video else _pictures(samples, subject, protocol))
    predicting, scoring, temporal = zip(*timed, strict=True)
    height, width = samples[0].image.shape[:2]
    print(
        f"{platform.machine()}, Python {platform.python_version()}, torch {version('torch')}, {len(samples)} pictures, "
        f"the first of {width}x{height}"
    )
    print(
        f"{options.model}, {options.protocol}: predicting {1e3 * statistics.median(predicting):.1f} ms, scoring "
        f"{1e3 * statistics.median(scoring):.1f} ms (medians); median of the ratios {_ratio(scoring, predicting):.1%}"
    )
    if video:
        took = f"{1e3 * statistics.median(temporal):.1f} ms"
        print(f"of which TAE: {took}; median of the ratios {_ratio(temporal, predicting):.1%}")


def _ratio(over: Sequence[float], under: Sequence[float]) -> float:
    return statistics.median(one / other for one, other in zip(over, under, strict=True))


def _pictures(samples: Sequence[Sample], subject: ImagePredictor, protocol: Protocol) -> Iterator[Seconds]:
    for sample in samples:
        start = time.perf_counter()
        prediction = subject.predict(sample.image)
        between = time.perf_counter()
        score_picture(prediction, sample, protocol)
        yield between - start, time.perf_counter() - between, 0.0


def _videos(samples: Sequence[Sample], subject: ImagePredictor, protocol: Protocol) -> Iterator[Seconds]:
    """As `dptkit.evaluation.video_groups` goes through them: a pass for the fit, a pass for the numbers.

    A video's first frame has no TAE, and is not among what is told.
    """
    assert isinstance(protocol, DepthProtocol)
    for _, group in groupby(samples, key=lambda sample: sample.group):
        frames = list(group)
        parts, fitting, predicting = [], [], []
        for sample in frames:
            start = time.perf_counter()
            prediction = subject.predict(sample.image)
            between = time.perf_counter()
            parts.append(part_of_fit(prediction, sample, protocol))
            fit_of_parts(parts[-1:], protocol)
            fitting.append(time.perf_counter() - between)
            predicting.append(between - start)
        fit = fit_of_parts(parts, protocol)
        before: Frame | None = None
        scratch = Scratch()
        for k, sample in enumerate(frames):
            start = time.perf_counter()
            prediction = subject.predict(sample.image)
            predicted = time.perf_counter()
            assert isinstance(prediction, DepthMap)
            assert sample.camera_pose is not None
            assert sample.intrinsics is not None
            pixels = depth_pixels(prediction, sample, protocol)
            score_pixels(pixels, sample, protocol, fit)
            scored = time.perf_counter()
            depth, (top, left, _, _) = aligned_depth(pixels, protocol, fit), pixels.window
            (fx, fy, cx, cy), here = sample.intrinsics, Frame(depth, sample.camera_pose)
            if before is not None:
                frame_pair_error(before, here, (fx, fy, cx - left, cy - top), scratch)
            done = time.perf_counter()
            if before is not None:
                yield (predicted - start + predicting[k]) / 2, fitting[k] + done - predicted, done - scored
            before = here


if __name__ == "__main__":
    main()
