"""Means, pooling and intervals against loops that do the same a picture at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from dptkit.evaluation.depth_metrics import DEPTH_METRICS
from dptkit.evaluation.protocol import DepthProtocol, OrdinalProtocol, SegmentationProtocol
from dptkit.evaluation.result import ImageResult, Interval
from dptkit.evaluation.summary import summarise

METRICS = ("abs_rel", "rmse", "delta1", "silog")


def depth(aggregation: str, metrics: tuple[str, ...] = METRICS) -> DepthProtocol:
    return DepthProtocol("p", "", (), "test", "none", metrics, aggregation=aggregation)  # type: ignore[arg-type]


def labels(classes: int, aggregation: str = "pooled") -> SegmentationProtocol:
    names = tuple(f"c{k}" for k in range(classes))
    metrics = ("mean_iou", "pixel_accuracy", "boundary_iou")
    return SegmentationProtocol("p", "", (), "val", names, metrics, aggregation=aggregation)  # type: ignore[arg-type]


def image(number: int, source: str = "s", state: str = "scored", **scores: float | None) -> ImageResult:
    return ImageResult(str(number), source, "", state, scores)  # type: ignore[arg-type]


def naive(
    images: Sequence[ImageResult],
    estimate: Callable[[list[ImageResult]], float | None],
    sources: bool,
    seed: int = 0,
    samples: int = 1000,
) -> tuple[float, float]:
    """The bootstrap, one sample and one picture at a time, from the same random numbers."""
    rng = np.random.default_rng(seed)
    strata: dict[str, list[ImageResult]] = {}
    for entry in images:
        strata.setdefault(entry.source if sources else "", []).append(entry)
    drawn = [rng.integers(len(part), size=(samples, len(part))) for part in strata.values()]
    values = []
    for k in range(samples):
        parts = [estimate([part[j] for j in places[k]]) for part, places in zip(strata.values(), drawn, strict=True)]
        present = [value for value in parts if value is not None]
        if present:
            values.append(sum(present) / len(present))
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def mean_of(metric: str) -> Callable[[list[ImageResult]], float | None]:
    def estimate(images: list[ImageResult]) -> float | None:
        values = [value for one in images if (value := one.scores[metric]) is not None]
        return sum(values) / len(values) if values else None

    return estimate


def test_image_mean_and_its_interval_against_a_loop() -> None:
    rng = np.random.default_rng(1)
    values = rng.gamma(2.0, 0.1, 40)
    images = [image(k, abs_rel=float(v), rmse=None if k % 7 == 0 else float(10 * v)) for k, v in enumerate(values)]
    summary, by_source = summarise(images, depth("image_mean", ("abs_rel", "rmse")))
    assert list(summary) == ["abs_rel", "rmse"]
    for metric in summary:
        there = [one.scores[metric] for one in images if one.scores[metric] is not None]
        low, high = naive(images, mean_of(metric), sources=False)
        # Sums of 40 float64 in another order.
        assert summary[metric].value == pytest.approx(np.mean(there), rel=1e-13)
        assert (summary[metric].low, summary[metric].high) == pytest.approx((low, high), rel=1e-12)
        assert summary[metric].pictures == len(there)
        assert by_source == {"s": {name: entry.value for name, entry in summary.items()}}
    assert summary["rmse"].pictures == 34
    # What the interval is for: about the mean, plus and minus two standard errors.
    error = values.std() / np.sqrt(len(values))
    assert summary["abs_rel"].low == pytest.approx(values.mean() - 1.96 * error, abs=0.4 * error)


def test_source_mean_weighs_sources_alike_and_draws_within_each() -> None:
    rng = np.random.default_rng(2)
    images = [image(k, "large", abs_rel=float(v)) for k, v in enumerate(rng.normal(0.1, 0.02, 30))]
    images += [image(k, "small", abs_rel=float(v)) for k, v in enumerate(rng.normal(0.5, 0.05, 3))]
    images = [images[k] for k in rng.permutation(len(images))]  # sources need not lie together
    summary, by_source = summarise(images, depth("source_mean", ("abs_rel",)), seed=3)
    large, small = (
        np.mean([one.scores["abs_rel"] for one in images if one.source == name]) for name in ("large", "small")
    )
    assert summary["abs_rel"].value == pytest.approx((large + small) / 2, rel=1e-13)
    assert by_source == {
        "large": {"abs_rel": pytest.approx(large)},
        "small": {"abs_rel": pytest.approx(small)},
    }
    low, high = naive(images, mean_of("abs_rel"), sources=True, seed=3)
    assert (summary["abs_rel"].low, summary["abs_rel"].high) == pytest.approx((low, high), rel=1e-12)


def test_pooled_depth_is_the_metric_of_all_pixels_together() -> None:
    rng = np.random.default_rng(4)
    pixels = [rng.uniform(1, 9, (2, size)) for size in (5, 400, 60)]
    images = []
    for k, (predicted, truth) in enumerate(pixels):
        counts = {name: [float(v) for v in DEPTH_METRICS[name].sums(predicted, truth)] for name in METRICS}
        scores = {name: DEPTH_METRICS[name].function(predicted, truth) for name in METRICS}
        images.append(ImageResult(str(k), "s", "", "scored", scores, counts=counts))
    summary, _ = summarise(images, depth("pooled"))
    together = np.concatenate(pixels, axis=1)
    for name in METRICS:
        expected = DEPTH_METRICS[name].function(*together)
        assert summary[name].value == pytest.approx(expected, rel=1e-12)
        # Pooled is not the mean over pictures, or this test would pass without pooling.
        assert abs(np.mean([one.scores[name] for one in images]) - expected) > 1e-4

    def pooled(drawn: list[ImageResult]) -> float:
        return float(DEPTH_METRICS["silog"].function(*np.concatenate([pixels[int(i.name)] for i in drawn], axis=1)))

    low, high = naive(images, pooled, sources=False)
    # SILog is a difference of two nearly equal sums: rounding of the two orders of summation shows in digit ten.
    assert (summary["silog"].low, summary["silog"].high) == pytest.approx((low, high), rel=1e-9)


def confusion(predicted: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    table = np.zeros((classes, classes))
    np.add.at(table, (truth, predicted), 1)
    return table


def test_pooled_labels_against_concatenated_pictures() -> None:
    rng, K = np.random.default_rng(5), 4
    pictures = [(rng.integers(0, 3, size), rng.integers(0, 3, size)) for size in (7, 50, 300)]
    pictures[0] = (np.zeros(7, int), np.zeros(7, int))  # c1 and c2 are not in it; c3 is nowhere at all
    images = []
    for k, (predicted, truth) in enumerate(pictures):
        table = confusion(predicted, truth, K)
        counts = {"intersection": np.diag(table), "predicted": table.sum(0), "truth": table.sum(1)}
        counts |= {"boundary_intersection": np.diag(table) / 2, "boundary_union": table.sum(1)}
        images.append(
            ImageResult(
                str(k),
                "s",
                "",
                "scored",
                {"mean_iou": 0.5},
                counts={n: [float(x) for x in v] for n, v in counts.items()},
            )
        )
    summary, by_source = summarise(images, labels(K))
    predicted, truth = (np.concatenate([pair[k] for pair in pictures]) for k in (0, 1))
    iou = [((predicted == k) & (truth == k)).sum() / ((predicted == k) | (truth == k)).sum() for k in range(3)]
    recall = [((predicted == k) & (truth == k)).sum() / (truth == k).sum() for k in range(3)]
    assert summary["mean_iou"].value == pytest.approx(np.mean(iou), rel=1e-14)  # over the three that are there
    assert summary["pixel_accuracy"].value == pytest.approx(np.mean(predicted == truth), rel=1e-14)
    assert summary["mean_accuracy"].value == pytest.approx(np.mean(recall), rel=1e-14)
    assert summary["boundary_iou"].value == pytest.approx(np.mean(recall) / 2, rel=1e-14)
    for k in range(3):
        assert summary[f"iou/c{k}"].value == pytest.approx(iou[k], rel=1e-14)
    assert summary["iou/c3"] == Interval(None, None, None, 0)
    assert [summary[f"iou/c{k}"].pictures for k in range(3)] == [3, 2, 2]
    assert list(summary)[:3] == ["mean_iou", "pixel_accuracy", "boundary_iou"]  # the protocol's order
    assert by_source["s"]["mean_iou"] == summary["mean_iou"].value
    low, high = summary["mean_iou"].low, summary["mean_iou"].high
    assert low is not None
    assert high is not None
    assert low < np.mean(iou) < high


def test_skipped_pictures_and_missing_values_are_in_no_number() -> None:
    images = [image(0, abs_rel=0.1), image(1, abs_rel=0.3), image(2, state="skipped")]
    images.append(image(3, state="degenerate", abs_rel=0.8))
    summary, _ = summarise(images, depth("image_mean", ("abs_rel", "rmse")))
    assert summary["abs_rel"].value == pytest.approx(0.4)  # (0.1 + 0.3 + 0.8) / 3, the degenerate one counts
    assert summary["abs_rel"].pictures == 3
    assert summary["rmse"] == Interval(None, None, None, 0)
    alone, _ = summarise(images[:1], depth("image_mean", ("abs_rel",)))
    assert alone["abs_rel"] == Interval(0.1, None, None, 1)  # one picture tells nothing of others


@pytest.mark.parametrize("protocol", [depth("image_mean"), depth("source_mean"), depth("pooled"), labels(3)])
def test_nothing_scored_gives_no_value(protocol: DepthProtocol | SegmentationProtocol) -> None:
    summary, by_source = summarise([image(0, state="skipped")], protocol)
    assert set(protocol.metrics) <= set(summary)
    assert all(entry.value is None and entry.pictures == 0 for entry in summary.values())
    assert by_source == {}


def test_the_seed_decides_and_long_runs_are_cut_into_parts() -> None:
    images = [image(k, abs_rel=k / 9000) for k in range(9000)]  # more than fits in memory at once
    protocol = depth("image_mean", ("abs_rel",))
    first, again, other = (summarise(images, protocol, samples=1000, seed=seed)[0] for seed in (0, 0, 1))
    assert first == again
    assert first["abs_rel"].low != other["abs_rel"].low
    error = np.std(np.arange(9000) / 9000) / np.sqrt(9000)
    # An end of the interval has a standard error of its own, about 2.7 / sqrt(1000) standard errors of the mean.
    assert first["abs_rel"].low == pytest.approx(np.mean(np.arange(9000) / 9000) - 1.96 * error, abs=0.35 * error)


def test_ordinal_pictures_are_averaged() -> None:
    protocol = OrdinalProtocol("diw", "", ("diw",), "test", ("whdr",))
    summary, _ = summarise([image(k, whdr=float(k % 4 == 0)) for k in range(40)], protocol)
    assert summary["whdr"].value == 0.25


def test_a_thousand_pictures_take_well_under_a_second() -> None:
    rng, K = np.random.default_rng(6), 150
    counts = rng.integers(1, 1000, (1000, 5, K)).astype(float)
    names = ("intersection", "predicted", "truth", "boundary_intersection", "boundary_union")
    images = [
        ImageResult(
            str(k), "s", "", "scored", {}, counts={n: list(row) for n, row in zip(names, counts[k], strict=True)}
        )
        for k in range(1000)
    ]
    started = time.process_time()
    summarise(images, labels(K))
    # A loop over pictures takes minutes. The machine may be busy: process time, and a wide margin.
    assert time.process_time() - started < 5
