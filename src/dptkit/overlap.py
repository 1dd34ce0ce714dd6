"""Work on many pictures by several threads, in order and within bounds: while one computes, others read and write."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

PIXELS_AT_ONCE = 1 << 26
"""Pixels of all pictures under way: with their results and files about 1.5 GB. A larger picture goes alone."""

_WAITING = 2
"""Results that may wait for an earlier one, beside the items at work."""

_PATIENCE = 0.5
"""Seconds between two looks at whether Ctrl-C was pressed, where waiting alone does not notice."""


class Overlap(Generic[Item, Result]):
    """`work(item)` for each item, by threads; iterating gives the results in the order of the items.

    Items are taken, by the thread that iterates, only as they are needed: at most `workers` are at work and two more
    finished, and their costs add up to `budget` at most, or to that of one item alone. So what is taken when, and with
    it memory, depends on the consumer and not on luck.

    An error of `work` is raised where its result is due. A MemoryError is not yet: the item is worked on once more,
    alone, after all others under way have ended, since side by side they may have taken what it needed.

    Whoever iterates closes it in the end, also after an error.
    """

    def __init__(
        self,
        work: Callable[[Item], Result],
        items: Iterable[Item],
        workers: int,
        *,
        cost: Callable[[Item], int] = lambda _: 0,
        budget: int = PIXELS_AT_ONCE,
        alone: Callable[[Item], Result] | None = None,
    ) -> None:
        """`workers`: threads; 1 works in the caller's own, one item at a time. `alone`: `work` of the second try."""
        if workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers}")
        self._work, self._alone = work, alone or work
        self._items = iter(items)
        self._workers, self._cost, self._budget = workers, cost, budget
        self._threads: ThreadPoolExecutor | None = None
        self._under_way: deque[tuple[Item, int, Future[Result]]] = deque()

    def __iter__(self) -> Iterator[Result]:
        if self._workers == 1:
            yield from map(self._alone, self._items)
            return
        self._threads = ThreadPoolExecutor(self._workers, "dptkit-picture")
        for item in self._items:
            cost = self._cost(item)
            while self._under_way and not self._fits(cost):
                yield self._oldest()
            self._under_way.append((item, cost, self._threads.submit(self._work, item)))
            del item
            while self._under_way and self._under_way[0][2].done():
                yield self._oldest()
        while self._under_way:
            yield self._oldest()

    def close(self) -> list[Result]:
        """Start nothing more, wait for what is at work, and return what was finished and not yet given, in order."""
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
        ended = [future for _, _, future in self._under_way if not future.cancelled()]
        self._under_way.clear()
        return [future.result() for future in ended if future.exception() is None]

    def _fits(self, cost: int) -> bool:
        if len(self._under_way) >= self._workers + _WAITING:
            return False
        return cost + sum(other for _, other, _ in self._under_way) <= self._budget

    def _oldest(self) -> Result:
        """The result that is due."""
        item, _, future = self._under_way[0]
        while not wait((future,), _PATIENCE).done:
            pass
        short_of_memory = isinstance(future.exception(), MemoryError)
        if short_of_memory:
            wait([other for _, _, other in self._under_way])
        self._under_way.popleft()
        if not short_of_memory:
            return future.result()
        del future  # and with it what the failed try still holds
        return self._alone(item)
