"""Overlapped work: the order of the items, bounds that hold whatever the timing, and early ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from dptkit.overlap import Overlap


def test_results_come_in_order_although_the_first_take_longest() -> None:
    def work(number: int) -> int:
        time.sleep(0.02 if number % 3 == 0 else 0)
        return number

    overlap = Overlap(work, range(20), 3)
    assert list(overlap) == list(range(20))
    assert overlap.close() == []


def test_items_are_worked_on_side_by_side() -> None:
    both = threading.Barrier(2)  # broken, and the test failed, unless two are at work at once
    assert list(Overlap(lambda _: both.wait(timeout=20) >= 0, range(4), 2)) == [True] * 4


def test_one_worker_is_the_callers_thread_and_takes_one_item_at_a_time() -> None:
    taken: list[int] = []
    overlap = Overlap(lambda item: (item, threading.current_thread()), (taken.append(n) or n for n in range(9)), 1)
    results = iter(overlap)
    assert next(results) == (0, threading.current_thread())
    assert taken == [0]


@pytest.mark.parametrize(("budget", "most"), [(100, 5), (25, 2), (10, 1), (1, 1)])
def test_no_more_items_are_taken_than_bounds_allow(budget: int, most: int) -> None:
    """3 workers and two that wait, or as many items of cost 10 as the budget holds; never less than one."""
    taken = given = 0
    worst = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(30):
            taken += 1
            yield number

    def work(number: int) -> int:
        nonlocal worst
        worst = max(worst, taken - given)
        return number

    overlap = Overlap(work, items(), 3, cost=lambda _: 10, budget=budget)
    for _ in overlap:
        given += 1
    # One more is in hand while its turn is awaited: an input's name, not yet read.
    assert worst <= most + 1
    assert given == 30


def test_an_error_is_raised_where_its_result_is_due() -> None:
    def work(number: int) -> int:
        if number == 2:
            raise ValueError("third")
        return number

    overlap = Overlap(work, range(9), 3)
    seen: list[int] = []
    with pytest.raises(ValueError, match="third"):
        seen.extend(overlap)
    assert seen == [0, 1]
    overlap.close()


def test_what_memory_failed_for_is_tried_again_alone() -> None:
    at_work = 0
    lock = threading.Lock()
    alone: list[tuple[int, int]] = []

    def work(number: int) -> int:
        nonlocal at_work
        with lock:
            at_work += 1
        time.sleep(0.01)
        with lock:
            at_work -= 1
        if number == 1:
            raise MemoryError
        return number

    def again(number: int) -> int:
        alone.append((number, at_work))
        return -number

    assert list(Overlap(work, range(8), 3, alone=again)) == [0, -1, *range(2, 8)]
    assert alone == [(1, 0)]


def test_closing_starts_nothing_more_and_gives_what_is_finished() -> None:
    started: list[int] = []
    go = threading.Event()

    def work(number: int) -> int:
        started.append(number)
        if number:
            go.wait(timeout=20)
        return number

    overlap = Overlap(work, range(50), 2)
    assert next(iter(overlap)) == 0
    threading.Timer(0.05, go.set).start()
    left = overlap.close()
    assert left == sorted(started)[1:]
    assert len(started) <= 5


def test_no_workers_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Overlap(abs, [1], 0)
