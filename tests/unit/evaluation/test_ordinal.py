"""WHDR and pairwise accuracy by hand and in a loop."""

from __future__ import annotations

from math import isnan, nan

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dptkit.evaluation.ordinal import ordinal_relation, ordinal_sums, pairwise_accuracy, values_at, whdr


def test_by_hand() -> None:
    predicted = np.array([[3.0, 1.0], [1.0, 3.0], [2.0, 1.0], [1.0, 1.0]])
    nearer = np.array([1, 1, 1, -1], np.int8)  # right, wrong, right, a tie where there is none
    assert whdr(predicted, nearer) == 0.5
    assert pairwise_accuracy(predicted, nearer) == 0.5
    assert whdr(predicted, nearer, weights=np.array([1.0, 2.0, 4.0, 1.0])) == 3 / 8
    assert ordinal_sums(predicted, nearer, weights=np.array([1.0, 2.0, 4.0, 1.0])) == (8, 5)


def test_a_constant_map_and_a_map_upside_down_are_always_wrong() -> None:
    nearer = np.array([1, -1, 1], np.int8)
    assert whdr(np.ones((3, 2)), nearer) == 1
    points = np.array([[2.0, 1.0], [1.0, 2.0], [9.0, -4.0]])
    assert whdr(points, nearer) == 0
    assert whdr(-points, nearer) == 1
    assert pairwise_accuracy(points, nearer) == 1


@pytest.mark.parametrize(
    ("a", "b", "ratio", "expected"),
    [
        (1.1, 1.0, 0.1, 0),
        (1.2, 1.0, 0.1, 1),
        (1.0, 1.2, 0.1, -1),
        (-1.0, -1.1, 0.1, 0),
        (-1.0, -1.2, 0.1, 1),
        (0.001, -0.001, 0.1, 1),
        (0.0, 0.0, 0.0, 0),
        (0.0, 1e-9, 0.5, -1),
        (np.nextafter(1.0, 2.0), 1.0, 0.0, 1),
    ],
)
def test_relation(a: float, b: float, ratio: float, expected: int) -> None:
    assert ordinal_relation(np.array([[a, b]]), ratio).tolist() == [expected]
    assert ordinal_relation(np.array([[b, a]]), ratio).tolist() == [-expected]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0.1, 10), st.floats(0.1, 10), st.sampled_from([-1, 0, 1]), st.floats(0, 5)), min_size=1
    ),
    st.floats(0, 1),
)
def test_a_plain_loop_agrees(pairs: list[tuple[float, float, int, float]], ratio: float) -> None:
    wrong = total = right = 0.0
    for a, b, annotated, weight in pairs:
        said = 0 if max(a, b) <= (1 + ratio) * min(a, b) else (1 if a > b else -1)
        wrong += weight * (said != annotated)
        right += said == annotated
        total += weight
    columns = np.array(pairs)
    predicted, nearer = columns[:, :2], columns[:, 2].astype(np.int8)
    found = whdr(predicted, nearer, weights=columns[:, 3], equal_ratio=ratio)
    assert isnan(found) if total == 0 else found == pytest.approx(wrong / total, abs=1e-12)
    assert pairwise_accuracy(predicted, nearer, equal_ratio=ratio) == pytest.approx(right / len(pairs))


def test_points_are_row_and_column() -> None:
    inverse_depth = np.arange(12.0).reshape(3, 4)
    points = np.array([[[0, 3], [2, 0]], [[1, 1], [1, 2]]])
    assert values_at(inverse_depth, points).tolist() == [[3, 8], [5, 6]]
    assert ordinal_relation(values_at(inverse_depth, points)).tolist() == [-1, -1]


def test_no_pairs_have_no_score() -> None:
    assert isnan(whdr(np.empty((0, 2)), np.empty(0, np.int8)))
    assert isnan(pairwise_accuracy(np.empty((0, 2)), np.empty(0, np.int8)))


@pytest.mark.parametrize(
    ("predicted", "nearer", "options", "message"),
    [
        ([[1.0, nan]], [1], {}, "finite"),
        ([1.0, 2.0], [1], {}, r"\[P, 2\]"),
        ([[1.0, 2.0]], [1, 1], {}, "as many relations"),
        ([[1.0, 2.0]], [1], {"weights": np.array([-1.0])}, "not negative"),
        ([[1.0, 2.0]], [1], {"equal_ratio": -0.1}, "equal_ratio must be 0 or more"),
    ],
)
def test_what_is_refused(
    predicted: list[list[float]], nearer: list[int], options: dict[str, float | npt.NDArray[np.float64]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        whdr(np.array(predicted), np.array(nearer, np.int8), **options)
