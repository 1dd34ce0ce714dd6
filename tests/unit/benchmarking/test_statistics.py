"""Against values computed by hand and, for percentiles, numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dptkit.benchmarking.statistics import latency, median, median_of_ratios, percentile

values = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=60)


def test_percentiles_lie_between_the_two_nearest_values() -> None:
    # Places 0..4 of five values: 90% is place 3.6, 99% is place 3.96.
    found = latency([5.0, 1.0, 2.0, 4.0, 3.0])
    assert found.p50 == 3.0
    assert found.p90 == pytest.approx(4.6)
    assert found.p99 == pytest.approx(4.96)
    assert (found.mean, found.count) == (3.0, 5)


@settings(deadline=None)
@given(values, st.floats(0, 100))
def test_percentiles_are_numpys(numbers: list[float], percent: float) -> None:
    assert percentile(numbers, percent) == pytest.approx(float(np.percentile(numbers, percent)))


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)
    with pytest.raises(ValueError, match="not in"):
        percentile([1.0], 101)


@pytest.mark.parametrize(
    ("count", "low", "high", "confidence"),
    [
        (1, 1, 1, 0.0),  # 1 - 2 / 2
        (5, 1, 5, 1 - 2 / 32),
        (6, 1, 6, 1 - 2 / 64),
        (8, 1, 8, 1 - 2 / 256),  # ranks 2 and 7 would be 1 - 2 * 9 / 256 = 0.93
        (9, 2, 8, 1 - 2 * (1 + 9) / 512),
        (20, 6, 15, 1 - 2 * (1 + 20 + 190 + 1140 + 4845 + 15504) / 2**20),
    ],
)
def test_the_interval_of_a_median_is_two_ranks(count: int, low: float, high: float, confidence: float) -> None:
    found = median([float(n) for n in range(count, 0, -1)])
    assert (found.low, found.high, found.count) == (low, high, count)
    assert found.confidence == pytest.approx(confidence)
    assert found.value == (count + 1) / 2


def test_the_interval_holds_the_true_median_as_often_as_it_says() -> None:
    # Skewed values, so that nothing normal is assumed. True median of exp(N) is 1. Standard error of the share over
    # 2000 trials is 0.005, and the exact coverage for 15 values is 0.965: four of them below it.
    generator = np.random.default_rng(0)
    found = [median(list(row)) for row in np.exp(generator.standard_normal((2000, 15)))]
    share = np.mean([interval.low <= 1 <= interval.high for interval in found])
    assert found[0].confidence == pytest.approx(0.965, abs=1e-3)
    assert share == pytest.approx(0.965, abs=0.02)


def test_ratios_are_taken_pair_by_pair() -> None:
    # The machine halves its speed after the first pair: ratio of medians would be 4 / 2.1, of pairs it is 2.
    found = median_of_ratios([2.0, 4.0, 4.2], [1.0, 2.0, 2.1])
    assert found.value == pytest.approx(2.0)
    assert (found.low, found.high) == (pytest.approx(2.0), pytest.approx(2.0))


def test_pairs_need_a_partner() -> None:
    with pytest.raises(ValueError, match="zip"):
        median_of_ratios([1.0, 2.0], [1.0])


@settings(deadline=None)
@given(values)
def test_the_median_is_within_its_interval(numbers: list[float]) -> None:
    found = median(numbers)
    assert min(numbers) <= found.low <= found.value * (1 + 1e-9)
    assert found.value <= found.high * (1 + 1e-9) <= max(numbers) * (1 + 2e-9)
