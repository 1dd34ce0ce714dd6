"""Samples read by one thread while the one before is predicted."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dptkit.data.sample import Dataset, OrdinalDataset, OrdinalSample, Sample
from dptkit.errors import DataError

AHEAD = 2
"""Samples that wait, besides the one being read: pictures of ETH3D take 200 MB each."""

_PATIENCE = 0.1
"""Seconds between two looks at whether the reader is still wanted."""


@dataclass(frozen=True)
class Read:
    """A sample, or the reason why there is none. seconds: that reading took."""

    index: int
    sample: Sample | OrdinalSample | None
    problem: str
    seconds: float


def read_ahead(dataset: Dataset | OrdinalDataset, indices: Sequence[int]) -> Iterator[Read]:
    """Samples of `indices`, in that order. A DataError becomes `problem`; any other error is raised here.

    Close the iterator to stop the thread, as leaving a for loop by an error does.
    """
    waiting: queue.Queue[Read | BaseException] = queue.Queue(AHEAD)
    stopped = threading.Event()

    def put(item: Read | BaseException) -> None:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=_PATIENCE)
                return
            except queue.Full:
                continue

    def read() -> None:
        try:
            for index in indices:
                if stopped.is_set():
                    return
                put(_read(dataset, index))
        except BaseException as error:  # raised where the sample is wanted
            put(error)

    thread = threading.Thread(target=read, name="dptkit-reader", daemon=True)
    thread.start()
    try:
        for _ in indices:
            item = waiting.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()


def _read(dataset: Dataset | OrdinalDataset, index: int) -> Read:
    started = time.perf_counter()
    try:
        sample: Sample | OrdinalSample | None = dataset[index]
        problem = ""
    except DataError as error:
        sample, problem = None, str(error)
    return Read(index, sample, problem, time.perf_counter() - started)
