"""Depth metrics by hand, in plain loops, against other people's, and pooled."""

from __future__ import annotations

from math import isnan, log, nan, sqrt

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dptkit.evaluation import depth_metrics
from dptkit.evaluation.depth_metrics import DEPTH_METRICS, Pixels

Array = npt.NDArray[np.float64]
few = settings(max_examples=40, deadline=None)
LN2 = log(2)
depths = st.lists(st.tuples(st.floats(1e-3, 100), st.floats(1e-3, 100)), min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("name", "predicted", "truth", "expected"),
    [
        ("abs_rel", [1, 2, 4], [2, 2, 2], (0.5 + 0 + 1) / 3),
        ("sq_rel", [1, 2, 4], [2, 2, 2], (1 / 2 + 0 + 4 / 2) / 3),
        ("rmse", [1, 2, 4], [2, 2, 2], sqrt((1 + 0 + 4) / 3)),
        ("rmse_log", [1, 2, 4], [2, 2, 2], LN2 * sqrt(2 / 3)),
        ("log10", [1, 2, 200], [10, 2, 2], (1 + 0 + 2) / 3),
        # e = 0, 0, ln 2: mean e^2 = ln^2 2 / 3, (mean e)^2 = ln^2 2 / 9
        ("silog", [2, 2, 4], [2, 2, 2], 100 * LN2 * sqrt(1 / 3 - 1 / 9)),
        ("silog_half", [2, 2, 4], [2, 2, 2], LN2 * sqrt(1 / 3 - 1 / 18)),
        # 1.25, 1 / 1.25, 1.25^2 and 1.25^3 exactly are not below
        ("delta1", [5, 4, 1.249, 1], [4, 5, 1, 1], 0.5),
        ("delta2", [25, 16, 1.25, 1], [16, 25, 1, 1], 0.5),
        ("delta3", [125, 64, 1.95, 1], [64, 125, 1, 1], 0.5),
        ("delta1_error", [5, 4, 5, 1], [4, 5, 4, 1], 0.75),
        ("delta2_error", [25, 16, 1.25, 1], [16, 25, 1, 1], 0.5),
        ("delta3_error", [125, 64, 1.95, 1.0], [64, 125, 1, 1], 0.5),
    ],
)
def test_by_hand(name: str, predicted: list[float], truth: list[float], expected: float) -> None:
    function = getattr(depth_metrics, name)
    assert function(np.array(predicted, np.float64), np.array(truth, np.float64)) == pytest.approx(expected, rel=1e-14)
    assert DEPTH_METRICS[name].function is function


def naive(pairs: list[tuple[float, float]]) -> dict[str, float]:
    count = len(pairs)
    e = [log(p) - log(t) for p, t in pairs]
    mean_e, mean_ee = sum(e) / count, sum(x * x for x in e) / count
    found = {
        "abs_rel": sum(abs(p - t) / t for p, t in pairs) / count,
        "sq_rel": sum((p - t) * (p - t) / t for p, t in pairs) / count,
        "rmse": sqrt(sum((p - t) * (p - t) for p, t in pairs) / count),
        "rmse_log": sqrt(mean_ee),
        "log10": sum(abs(x) for x in e) / log(10) / count,
        "silog": 100 * sqrt(sum((x - mean_e) ** 2 for x in e) / count),
        "silog_half": sqrt(mean_ee - 0.5 * mean_e * mean_e),
    }
    for k in (1, 2, 3):
        found[f"delta{k}"] = sum(p / t < 1.25**k and t / p < 1.25**k for p, t in pairs) / count
        found[f"delta{k}_error"] = sum(p / t >= 1.25**k or t / p >= 1.25**k for p, t in pairs) / count
    return found


@few
@given(depths)
def test_plain_loops_agree(pairs: list[tuple[float, float]]) -> None:
    predicted, truth = np.array(pairs).T
    found = {name: metric.function(predicted, truth) for name, metric in DEPTH_METRICS.items()}
    # The variance of e, up to 11^2, is right to 1e-14: silog, 100 times its root, to 1e-5.
    assert found == pytest.approx(naive(pairs), rel=1e-9, abs=1e-5)
    assert {k: v for k, v in found.items() if k != "silog"} == pytest.approx(
        {k: v for k, v in naive(pairs).items() if k != "silog"}, rel=1e-9, abs=1e-12
    )


@few
@given(depths, st.integers(0, 30))
def test_sums_of_pictures_give_the_metric_of_all_their_pixels(pairs: list[tuple[float, float]], cut: int) -> None:
    predicted, truth = np.array(pairs).T
    for metric in DEPTH_METRICS.values():
        parts = metric.sums(predicted[:cut], truth[:cut]), metric.sums(predicted[cut:], truth[cut:])
        pooled = metric.from_sums(tuple(a + b for a, b in zip(*parts, strict=True)))
        assert pooled == pytest.approx(metric.function(predicted, truth), rel=1e-9, abs=1e-5), metric.name


def test_the_mean_over_pictures_is_another_number_than_the_pooled() -> None:
    small, large = (np.array([2.0]), np.array([1.0])), (np.ones(99), np.ones(99))
    metric = DEPTH_METRICS["abs_rel"]
    parts = metric.sums(*small), metric.sums(*large)
    assert metric.from_sums(tuple(a + b for a, b in zip(*parts, strict=True))) == pytest.approx(0.01)
    assert (metric.function(*small) + metric.function(*large)) / 2 == 0.5


def test_torchmetrics_and_scikit_image_agree() -> None:
    torchmetrics = pytest.importorskip("torchmetrics.functional")
    skimage = pytest.importorskip("skimage.metrics")
    rng = np.random.default_rng(0)
    predicted, truth = rng.uniform(1, 10, (2, 500))
    p, t = torch.from_numpy(predicted), torch.from_numpy(truth)
    assert depth_metrics.abs_rel(predicted, truth) == pytest.approx(
        float(torchmetrics.mean_absolute_percentage_error(p, t)), rel=1e-12
    )
    assert depth_metrics.rmse(predicted, truth) ** 2 == pytest.approx(
        skimage.mean_squared_error(truth, predicted), rel=1e-12
    )
    assert depth_metrics.rmse_log(predicted, truth) == pytest.approx(
        float(torchmetrics.mean_squared_error(p.log(), t.log(), squared=False)), rel=1e-12
    )


def test_the_table_says_what_is_true() -> None:
    rng = np.random.default_rng(1)
    truth = rng.uniform(1, 10, 200)
    good, bad = truth * np.exp(rng.normal(0, 0.1, 200)), truth * np.exp(rng.normal(0, 1, 200))
    for name, metric in DEPTH_METRICS.items():
        assert metric.name == name
        ours, theirs = metric.function(good, truth), metric.function(bad, truth)
        assert (ours > theirs) == metric.higher_is_better, name
        in_metres = metric.function(7 * good, 7 * truth) != pytest.approx(ours, rel=1e-9)
        assert in_metres == metric.needs_metres == (metric.unit == "m"), name
        assert isnan(metric.function(np.empty(0), np.empty(0))), name
        assert not metric.percent or 0 <= ours <= 1
    assert {name for name, metric in DEPTH_METRICS.items() if metric.percent} == {f"delta{k}_error" for k in (1, 2, 3)}


def test_silog_does_not_see_scale_and_its_namesake_does() -> None:
    rng = np.random.default_rng(2)
    predicted, truth = rng.uniform(1, 10, (2, 100))
    assert depth_metrics.silog(3 * predicted, truth) == pytest.approx(depth_metrics.silog(predicted, truth), rel=1e-9)
    assert depth_metrics.silog_half(3 * predicted, truth) > 1.1 * depth_metrics.silog_half(predicted, truth)
    assert depth_metrics.silog(3 * truth, truth) == pytest.approx(0, abs=1e-5)  # the rounding that is documented


@pytest.mark.parametrize("bad", [0.0, -1.0, nan, np.inf])
def test_depth_that_is_none_is_refused(bad: float) -> None:
    for metric in DEPTH_METRICS.values():
        with pytest.raises(ValueError, match="predicted depth must be finite and above 0"):
            metric.function(np.array([1.0, bad]), np.ones(2))
        with pytest.raises(ValueError, match="true depth must be finite and above 0"):
            metric.sums(np.ones(2), np.array([1.0, bad]))
        with pytest.raises(ValueError, match="1-D arrays of one length"):
            metric.function(np.ones(2), np.ones(3))


@pytest.mark.parametrize("inverse", [(False, True), (True, False), (True, True)])
@few
@given(pairs=depths)
def test_inverse_depth_has_the_sums_of_depth(inverse: tuple[bool, bool], pairs: list[tuple[float, float]]) -> None:
    p, t = np.array(pairs).T
    # Off the thresholds: there the last bit of a reciprocal decides.
    worse = np.maximum(p / t, t / p)
    p[np.isclose(worse[:, None], [1.25, 1.25**2, 1.25**3], rtol=1e-9, atol=0).any(axis=1)] *= 1.01
    given_p, given_t = (1 / side if inverted else side for side, inverted in zip((p, t), inverse, strict=True))
    for name, metric in DEPTH_METRICS.items():
        ours = metric.pixel_sums(Pixels(given_p, given_t, inverse))
        # Logarithms and differences of nearly equal depths cancel: absolutely, by the rounding of the largest.
        assert ours == pytest.approx(metric.sums(p, t), rel=1e-9, abs=1e-12), name
