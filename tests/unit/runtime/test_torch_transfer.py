"""Transfers beside computing, on a device whose streams run in any order that events allow, chosen at random.

A wait that is missing, a buffer that is used twice or a result that is read too early gives wrong numbers here.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from dptkit.runtime.torch_transfer import SLOTS, Transfer

Array = npt.NDArray[np.float32]
TIMEOUT = 20


class Event:
    def __init__(self, device: Device) -> None:
        self.device, self.reached = device, False

    def reach(self) -> None:
        self.reached = True

    def synchronize(self) -> None:
        self.device.run_until(lambda: self.reached)


class Stream:
    def __init__(self, device: Device) -> None:
        self.device = device
        self.queue: deque[Callable[[], None] | Event] = deque()
        device.streams.append(self)

    def run(self, work: Callable[[], None]) -> None:
        if self.device.at_once:
            work()
        else:
            self._enqueue(work)

    def record(self) -> Event:
        event = Event(self.device)
        self._enqueue(event.reach)
        return event

    def wait(self, event: Event) -> None:
        self._enqueue(event)

    def memory(self, count: int, dtype: torch.dtype) -> Tensor:
        return self.device.pinned(count, dtype)

    def _enqueue(self, step: Callable[[], None] | Event) -> None:
        self.device.must_launch()
        self.queue.append(step)

    def is_ready(self) -> bool:
        if not self.queue:
            return False
        head = self.queue[0]
        return head.reached if isinstance(head, Event) else True

    def step(self) -> None:
        head = self.queue.popleft()
        if not isinstance(head, Event):
            head()


class Device:
    """Runs nothing until somebody waits, and then one step of a random stream after the other.

    at_once: work runs as it is enqueued instead, and its errors are the launcher's.
    """

    def __init__(self, seed: int = 0, at_once: bool = False) -> None:
        self.streams: list[Stream] = []
        self.random, self.at_once = random.Random(seed), at_once
        self.taken: list[int] = []
        self.settled = 0
        self._lock, self._steps = threading.Lock(), threading.Lock()
        self._launching: int | None = None

    def stream(self) -> Stream:
        return Stream(self)

    @contextmanager
    def launching(self) -> Iterator[None]:
        with self._lock:
            self._launching = threading.get_ident()
            try:
                yield
            finally:
                self._launching = None

    def must_launch(self) -> None:
        assert self._launching == threading.get_ident(), "work is enqueued, or memory taken, without `launching`"

    def pinned(self, count: int, dtype: torch.dtype) -> Tensor:
        self.must_launch()
        self.taken.append(count)
        return torch.full((count,), torch.nan, dtype=dtype)

    def settle(self) -> None:
        self.must_launch()
        self.settled += 1
        self.run_until(lambda: not any(stream.queue for stream in self.streams))

    def run_until(self, done: Callable[[], bool]) -> None:
        while True:
            with self._steps:
                if done():
                    return
                self.random.choice([stream for stream in self.streams if stream.is_ready()]).step()


def forward(source: Tensor, target: Tensor) -> None:
    """Another number for every place of the input, so that anything out of order shows."""
    target.copy_(source.float().sum(1, keepdim=True) * 2 + 1)


def wanted(images: Array, dtype: torch.dtype = torch.float32) -> Array:
    target = torch.empty(len(images), 1, *images.shape[2:])
    forward(torch.from_numpy(images).to(dtype), target)
    return target.numpy()


def pictures(count: int, seed: int = 0) -> list[Array]:
    """Batches of 1 and 4, of three sizes."""
    rng = np.random.default_rng(seed)
    shapes = [(batch, 3, height, width) for batch in (1, 4) for height, width in ((8, 8), (8, 12), (16, 8))]
    return [rng.standard_normal(shapes[rng.integers(len(shapes))], np.float32) for _ in range(count)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_one_after_the_other_with_memory_for_one(dtype: torch.dtype) -> None:
    device = Device()
    transfer = Transfer(device, forward, dtype, 1)
    rng = np.random.default_rng(0)
    images = [rng.standard_normal((batch, 3, 8, 8), np.float32) for batch in (1, 1, 4, 1, 4)]
    found = [transfer.predict(picture) for picture in images]
    # Compared after all have run: a result that still lay in a buffer would be the last one's.
    for result, picture in zip(found, images, strict=True):
        np.testing.assert_array_equal(result, wanted(picture, dtype))
    # Four buffers, which grow once.
    assert len(device.taken) == 8


@pytest.mark.parametrize("seed", range(20))
def test_threads_and_shapes_in_turn_in_any_order_of_the_streams(seed: int) -> None:
    transfer = Transfer(Device(seed), forward, torch.float32, 1)
    images = pictures(24, seed)
    start = threading.Barrier(4)

    def work(worker: int) -> list[Array]:
        start.wait(TIMEOUT)
        return [transfer.predict(picture) for picture in images[worker::4]]

    with ThreadPoolExecutor(4) as pool:
        for worker, results in enumerate(pool.map(work, range(4))):
            for result, picture in zip(results, images[worker::4], strict=True):
                np.testing.assert_array_equal(result, wanted(picture))


class Waiting(Device):
    """Counts predictions that wait for their result, and lets none end before `together` of them do."""

    def __init__(self, together: int) -> None:
        super().__init__()
        self.together = threading.Barrier(together)

    def run_until(self, done: Callable[[], bool]) -> None:
        self.together.wait(TIMEOUT)
        super().run_until(done)


def test_one_is_launched_while_another_waits_for_its_result() -> None:
    """Else the barrier breaks: it takes as many waiting at a time as there are slots."""
    transfer = Transfer(Waiting(SLOTS), forward, torch.float32, 1)
    images = pictures(SLOTS)
    with ThreadPoolExecutor(SLOTS) as pool:
        for result, picture in zip(pool.map(transfer.predict, images), images, strict=True):
            np.testing.assert_array_equal(result, wanted(picture))


def test_no_more_are_under_way_than_there_are_slots() -> None:
    device = Waiting(SLOTS + 1)
    device.together.wait = lambda timeout: threading.Barrier.wait(device.together, 0.2)  # type: ignore[method-assign]
    transfer = Transfer(device, forward, torch.float32, 1)
    with ThreadPoolExecutor(SLOTS + 1) as pool:
        jobs = [pool.submit(transfer.predict, picture) for picture in pictures(SLOTS + 1)]
    assert all(isinstance(job.exception(), threading.BrokenBarrierError) for job in jobs)


def test_a_failed_prediction_leaves_nothing_behind() -> None:
    """Its work has ended before its buffers are anybody else's, memory is given back, and the next one works."""
    device = Device(at_once=True)
    full = True

    def fails(source: Tensor, target: Tensor) -> None:
        if full:
            raise RuntimeError("CUDA out of memory")
        forward(source, target)

    transfer = Transfer(device, fails, torch.float32, 1)
    (picture,) = pictures(1)
    for failed in range(1, 2 * SLOTS + 1):
        with pytest.raises(RuntimeError, match="out of memory"):
            transfer.predict(picture)
        assert device.settled == failed
        assert len(device.taken) == 4 * failed  # none were kept
        assert not any(stream.queue for stream in device.streams)
    full = False
    np.testing.assert_array_equal(transfer.predict(picture), wanted(picture))
