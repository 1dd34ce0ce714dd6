"""The order of sides, and when a measurement ends; no clock but a made-up one."""

from __future__ import annotations

import pytest

from dptkit.benchmarking.alternating import alternate, rounds_of
from dptkit.benchmarking.surroundings import busy_warning


def test_each_round_starts_with_the_next_side() -> None:
    called: list[str] = []
    sides = {name: lambda number, name=name: called.append(f"{name}{number}") for name in "abc"}
    assert len(list(rounds_of(sides, runs=3, pause=lambda _: None))) == 3
    assert called == ["a0", "b0", "c0", "b1", "c1", "a1", "c2", "a2", "b2"]


def test_a_time_ends_with_the_round_that_reaches_it() -> None:
    now = [0.0]

    def side(_: int) -> float:
        now[0] += 3.0
        return now[0]

    found = list(rounds_of({"a": side}, seconds=7.0, clock=lambda: now[0], pause=lambda _: None))
    assert found == [{"a": 3.0}, {"a": 6.0}, {"a": 9.0}]


def test_a_time_of_nothing_is_one_round() -> None:
    assert len(list(rounds_of({"a": lambda _: 0}, seconds=0.0))) == 1


@pytest.mark.parametrize("ends", [{}, {"runs": 1, "seconds": 1.0}])
def test_rounds_end_in_one_way(ends: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="either"):
        next(rounds_of({"a": lambda _: 0}, **ends))  # type: ignore[arg-type]


def test_warming_up_is_not_measured() -> None:
    called: list[str] = []
    sides = {name: lambda name=name: called.append(name) for name in "ab"}
    taken = alternate(sides, 2, warm_up=3)
    assert {name: len(seconds) for name, seconds in taken.items()} == {"a": 2, "b": 2}
    assert called == [*"aaabbb", "a", "b", "b", "a"]


def test_a_busy_machine_is_said_so() -> None:
    assert busy_warning(0.5, 2) is None
    assert busy_warning(None, 2) is None
    warning = busy_warning(4.06, 2)
    assert warning is not None
    assert "load 4.1 on 2 cores" in warning
