"""Fits by hand, against numpy's least squares, for a video, and where there is nothing to fit."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from math import nan
from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dptkit.evaluation.alignment import DOMAINS, Fit, apply_fit, fit_alignment, fit_parts, fit_video, gather_part
from dptkit.evaluation.depth_metrics import DEPTH_METRICS
from dptkit.evaluation.protocol import Alignment

Array = npt.NDArray[np.float64]
LEAST_SQUARES: list[Alignment] = ["inverse_least_squares", "depth_least_squares"]
KINDS: list[Alignment] = [*LEAST_SQUARES, "median_scale", "inverse_median_mad"]
few = settings(max_examples=40, deadline=None)


def pixels(seed: int, count: int = 50) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    predicted = rng.uniform(0.1, 3, count)
    return predicted, rng.uniform(0.5, 2) * predicted + rng.uniform(0.5, 2) + rng.normal(0, 0.05, count)


@pytest.mark.parametrize(
    ("kind", "predicted", "truth", "scale", "shift"),
    [
        ("none", [1, 2, 3], [4, 5, 9], 1, 0),
        ("inverse_least_squares", [0, 1, 2], [1, 3, 5], 2, 1),
        # means 1 and 1; sum (p - 1)(t - 1) = 1 + 0 + 2, sum (p - 1)^2 = 2
        ("depth_least_squares", [0, 1, 2], [0, 0, 3], 1.5, -0.5),
        ("median_scale", [1, 2, 10], [2, 6, 8], 3, 0),
        # medians 1 and 4, mean deviations 5/3 and 4/3
        ("inverse_median_mad", [0, 1, 5], [2, 4, 6], 0.8, 3.2),
        # an even number: the mean of the middle two, 3 and 5
        ("median_scale", [1, 2, 4, 9], [1, 4, 6, 7], 5 / 3, 0),
    ],
)
def test_by_hand(kind: Alignment, predicted: list[float], truth: list[float], scale: float, shift: float) -> None:
    fit = fit_alignment(kind, np.array(predicted, np.float64), np.array(truth, np.float64))
    assert (fit.scale, fit.shift) == pytest.approx((scale, shift), abs=1e-14)
    assert not fit.degenerate
    assert fit.domain == DOMAINS[kind]


def test_every_alignment_has_a_domain() -> None:
    assert set(DOMAINS) == set(get_args(Alignment))
    inverse = {kind for kind, domain in DOMAINS.items() if domain == "inverse_depth"}
    assert inverse == {"inverse_least_squares", "inverse_median_mad"}


@pytest.mark.parametrize("kind", LEAST_SQUARES)
@few
@given(seed=st.integers(0, 10**6), count=st.integers(2, 60))
def test_is_the_least_squares_solution(kind: Alignment, seed: int, count: int) -> None:
    predicted, truth = pixels(seed, count)
    columns = np.stack([predicted, np.ones(count)], axis=1)
    fit = fit_alignment(kind, predicted, truth)
    # Two pixels can lie close: the solution's error is the rounding of lstsq times its condition number.
    tolerance = 1e-13 * np.linalg.cond(columns) ** 2
    np.testing.assert_allclose(
        (fit.scale, fit.shift), np.linalg.lstsq(columns, truth, rcond=None)[0], atol=tolerance, rtol=tolerance
    )


@few
@given(seed=st.integers(0, 10**6))
def test_weights_are_those_of_the_normal_equations(seed: int) -> None:
    predicted, truth = pixels(seed)
    weights = np.random.default_rng(seed + 1).uniform(0.1, 5, len(truth))
    columns = np.stack([predicted, np.ones(len(truth))], axis=1)
    expected = np.linalg.solve(columns.T @ (weights[:, None] * columns), columns.T @ (weights * truth))
    fit = fit_alignment("inverse_least_squares", predicted, truth, weights=weights)
    np.testing.assert_allclose((fit.scale, fit.shift), expected, rtol=1e-9, atol=1e-9)  # the oracle is not centred


@pytest.mark.parametrize("kind", KINDS)
@few
@given(seed=st.integers(0, 10**6), count=st.integers(2, 9))
def test_a_weight_of_two_is_a_pixel_twice_and_of_zero_is_none(kind: Alignment, seed: int, count: int) -> None:
    predicted, truth = pixels(seed, count)
    times = np.random.default_rng(seed).integers(0, 4, count)
    holes = np.where(times == 0, nan, predicted)
    weighted = fit_alignment(kind, holes, truth, weights=times.astype(np.float64))
    repeated = fit_alignment(kind, np.repeat(predicted, times), np.repeat(truth, times))
    assert weighted.degenerate == repeated.degenerate
    np.testing.assert_allclose((weighted.scale, weighted.shift), (repeated.scale, repeated.shift), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("offset", [1e6, -1e8])
@pytest.mark.parametrize("split", [False, True])
def test_a_huge_offset_costs_only_its_own_rounding(offset: float, split: bool) -> None:
    predicted, truth = pixels(3, 1000)
    moved = predicted + offset
    plain = apply_fit(fit_alignment("inverse_least_squares", predicted, truth), predicted)
    if split:
        fit = fit_video("inverse_least_squares", zip(np.split(moved, 8), np.split(truth, 8), strict=True))
    else:
        fit = fit_alignment("inverse_least_squares", moved, truth)
    # moved + shift is exact to a few units in the last place of the offset, where sums of squares lose all digits.
    np.testing.assert_allclose(apply_fit(fit, moved), plain, atol=16 * np.spacing(abs(offset)), rtol=0)


UP, DOWN, SAME = [1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [2.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("kind", "predicted", "truth", "expected"),
    [
        *((kind, [], [], (1, 0)) for kind in KINDS),
        *((kind, [5.0], [3.0], (0, 3)) for kind in (*LEAST_SQUARES, "inverse_median_mad")),
        ("inverse_least_squares", SAME, [1.0, 2.0, 6.0], (0, 3)),
        ("inverse_median_mad", SAME, [1.0, 2.0, 6.0], (0, 2)),
        ("inverse_least_squares", [0.1 + 0.2, 0.3, 0.3], UP, (0, 2)),  # constant but for rounding
        ("inverse_least_squares", UP, SAME, (0, 2)),
        ("inverse_median_mad", UP, SAME, (0, 2)),
        ("depth_least_squares", UP, DOWN, (-1, 4)),  # kept, as the papers fit
        ("median_scale", [-1.0, 0.0, 2.0], UP, (1, 0)),
        ("median_scale", UP, [-1.0, 0.0, 2.0], (1, 0)),
        ("median_scale", [-2.0], [1.0], (-0.5, 0)),
    ],
)
def test_degenerate(kind: Alignment, predicted: list[float], truth: list[float], expected: tuple[float, float]) -> None:
    fit = fit_alignment(kind, np.array(predicted), np.array(truth))
    assert (fit.scale, fit.shift) == pytest.approx(expected, abs=1e-15)
    assert fit.degenerate
    assert fit_video(kind, [(np.array(predicted), np.array(truth))]) == fit


def test_what_is_not_degenerate() -> None:
    assert fit_alignment("none", np.empty(0), np.empty(0)) == Fit(1.0, 0.0, "depth", degenerate=False)
    assert fit_alignment("median_scale", np.array([5.0]), np.array([3.0])) == Fit(0.6, 0.0, "depth", degenerate=False)
    # The order is turned round, but median and deviation never look at it.
    assert not fit_alignment("inverse_median_mad", np.array(UP), np.array(DOWN)).degenerate


@pytest.mark.parametrize("kind", [*KINDS, "none"])
@few
@given(seed=st.integers(0, 10**6), cuts=st.lists(st.integers(0, 50), max_size=6))
def test_a_video_is_fitted_as_one_picture(kind: Alignment, seed: int, cuts: list[int]) -> None:
    predicted, truth = pixels(seed)
    bounds = sorted(cuts)
    parts = list(zip(np.split(predicted, bounds), np.split(truth, bounds), strict=True))
    video, whole = fit_video(kind, parts), fit_alignment(kind, predicted, truth)
    assert (video.degenerate, video.domain) == (whole.degenerate, whole.domain)
    np.testing.assert_allclose((video.scale, video.shift), (whole.scale, whole.shift), rtol=1e-12, atol=1e-12)


def test_a_video_is_never_held_whole() -> None:
    seen: list[weakref.ref[Array]] = []
    alive = []

    def frames() -> Iterator[tuple[Array, Array]]:
        for seed in range(10):
            predicted, truth = pixels(seed)
            seen.append(weakref.ref(predicted))
            yield predicted, truth
            del predicted, truth
            alive.append(sum(frame() is not None for frame in seen))

    fit_video("inverse_least_squares", frames())
    assert max(alive) == 1


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (([nan, 1.0], [1.0, 2.0], None), "prediction is not finite"),
        (([np.inf, 1.0], [1.0, 2.0], None), "prediction is not finite"),
        (([1.0, 2.0], [nan, 1.0], None), "truth is not finite"),
        (([1.0, 2.0], [1.0], None), "of one length"),
        (([[1.0]], [[1.0]], None), "1-D"),
        (([1.0, 2.0], [1.0, 2.0], [1.0]), "of one length"),
        (([1.0, 2.0], [1.0, 2.0], [1.0, -1.0]), "not negative"),
        (([1.0, 2.0], [1.0, 2.0], [1.0, nan]), "finite"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_refused(
    kind: Alignment, arrays: tuple[list[float], list[float], list[float] | None], message: str
) -> None:
    predicted, truth, weights = arrays
    with pytest.raises(ValueError, match=message):
        fit_alignment(
            kind, np.array(predicted), np.array(truth), weights=None if weights is None else np.array(weights)
        )
    if weights is None:
        with pytest.raises(ValueError, match=message):
            fit_video(kind, [(np.array(predicted), np.array(truth))])


def test_values_beyond_float64s_squares_are_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        fit_alignment("inverse_least_squares", np.array([1e200, 0.0]), np.array([1.0, 2.0]))


def scores(kind: Alignment, predicted: Array, truth_m: Array) -> dict[str, float]:
    """Of predicted depth or inverse depth, whichever `kind` fits; nothing comes near the horizon in these tests."""
    inverse = DOMAINS[kind] == "inverse_depth"
    fit = fit_alignment(kind, predicted, 1 / truth_m if inverse else truth_m)
    aligned = apply_fit(fit, predicted)
    return {name: m.function(1 / aligned if inverse else aligned, truth_m) for name, m in DEPTH_METRICS.items()}


@pytest.mark.parametrize(
    ("kind", "affine"),
    [
        ("inverse_least_squares", True),
        ("inverse_median_mad", True),
        ("depth_least_squares", True),
        ("median_scale", False),
    ],
)
@few
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e3), shift=st.floats(-100, 100))
def test_scores_do_not_see_what_the_alignment_takes_off(
    kind: Alignment, affine: bool, seed: int, scale: float, shift: float
) -> None:
    predicted, truth = pixels(seed)
    truth_m = 1 / truth if DOMAINS[kind] == "inverse_depth" else truth
    predicted = truth + 0.05 * (predicted - predicted.mean())
    before = scores(kind, predicted, truth_m)
    after = scores(kind, scale * predicted + (shift if affine else 0), truth_m)
    # A shift of 100 beside values scaled by 1e-3 leaves 11 digits; sums of squares of their errors at least 8.
    assert after == pytest.approx(before, rel=1e-7, abs=1e-7)


def test_without_alignment_scale_counts() -> None:
    truth = np.array([1.0, 2.0, 4.0])
    assert scores("none", truth, truth)["abs_rel"] == 0
    assert scores("none", 2 * truth, truth)["abs_rel"] == 1


@pytest.mark.parametrize("first", ["like the rest", "constant", "far from the rest"])
def test_strips_whose_first_is_unlike_the_rest_keep_their_digits(first: str) -> None:
    rng = np.random.default_rng(0)
    predicted = 1000 + rng.normal(0, 1e-3, 40 * 64)  # a mean of a million spreads
    if first != "like the rest":
        predicted[:64] = 1000 if first == "constant" else 1000.1 + rng.normal(0, 1e-3, 64)
    truth = 3 * predicted + rng.normal(0, 1e-3, len(predicted))
    exact_p, exact_t = (side.astype(np.longdouble) for side in (predicted, truth))
    along = exact_p - exact_p.mean()
    scale = float((along * (exact_t - exact_t.mean())).sum() / (along * along).sum())
    strips = list(zip(np.split(predicted, 40), np.split(truth, 40), strict=True))
    ranges = ((predicted.min(), predicted.max()), (truth.min(), truth.max()))
    for known in (None, ranges):
        fit = fit_parts("inverse_least_squares", [gather_part("inverse_least_squares", strips, known)])
        # The values themselves have 16 digits, of which their spread is the last ten.
        assert fit.scale == pytest.approx(scale, rel=1e-11)
        assert not fit.degenerate


def test_strips_of_one_value_are_degenerate_whether_ranges_are_known_or_not() -> None:
    strips = [(np.full(7, 0.1), np.linspace(1, 2, 7)) for _ in range(5)]
    parts = [gather_part("inverse_least_squares", strips, known) for known in (None, ((0.1, 0.1), (1.0, 2.0)))]
    for part in parts:
        fit = fit_parts("inverse_least_squares", [part])
        assert fit.degenerate
        assert (fit.scale, fit.shift) == (0, pytest.approx(1.5, rel=1e-14))
