"""A batch that does not fit is halved until it does, and nothing is lost, doubled or put out of order."""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt
import pytest
import torch

from dptkit.runtime.backend import is_about_memory
from dptkit.runtime.memory import predict_within_memory
from dptkit.runtime.torch_backend import TorchBackend

Array = npt.NDArray[np.float32]


class Small:
    """An engine that fits `room` pictures, and counts what it was asked."""

    engine, precision, device = "fake", "float32", "cpu"

    def __init__(self, room: int) -> None:
        self.room = room
        self.asked: list[int] = []

    def predict(self, images: Array) -> Array:
        self.asked.append(len(images))
        if len(images) > self.room:
            raise MemoryError("full")
        return images[:, :1] * 2


def numbered(count: int) -> Array:
    return np.arange(count, dtype=np.float32)[:, None, None, None] * np.ones((1, 3, 2, 2), np.float32)


@pytest.mark.parametrize(
    ("count", "room", "asked"),
    [(4, 4, [4]), (8, 2, [8, 4, 2, 2, 2, 2]), (5, 3, [5, 2, 2, 1]), (7, 1, [7, 3, 1, 1, 1, 1, 1, 1, 1]), (1, 1, [1])],
)
def test_the_work_goes_on(count: int, room: int, asked: list[int]) -> None:
    backend = Small(room)
    np.testing.assert_array_equal(predict_within_memory(backend, numbered(count)), numbered(count)[:, :1] * 2)
    assert backend.asked == asked


def test_it_is_said_once_for_each_halving(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "dptkit"):
        predict_within_memory(Small(2), numbered(8))
    assert [record.getMessage()[-12:] for record in caplog.records] == ["batches of 4", "batches of 2"]


def test_one_picture_too_large_is_an_error() -> None:
    with pytest.raises(MemoryError):
        predict_within_memory(Small(0), numbered(4))


def test_another_error_is_no_reason_to_try_again() -> None:
    class Broken(Small):
        def predict(self, images: Array) -> Array:
            super().predict(images)
            raise ValueError("wrong size")

    backend = Broken(9)
    with pytest.raises(ValueError, match="wrong size"):
        predict_within_memory(backend, numbered(4))
    assert backend.asked == [4]


@pytest.mark.parametrize(
    "words",
    [
        "CUDA out of memory. Tried to allocate 20.00 GiB",
        "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes",
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 1099511627776 bytes. Error code 12",
        "std::bad_alloc",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "Failed to allocate memory for requested buffer of size 1099511627776",
    ],
)
def test_the_words_of_each_engine_are_known(words: str) -> None:
    assert is_about_memory(RuntimeError(words))


class Hungry(torch.nn.Module):
    """A network that wants 1 TB for every picture."""

    def freeze(self) -> Hungry:
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.empty((len(images), 1, 1 << 20, 1 << 18))


def test_torch_says_it_as_a_memory_error() -> None:
    backend = TorchBackend(Hungry(), "cpu")  # type: ignore[arg-type]
    with pytest.raises(MemoryError, match="memory"):
        backend.predict(numbered(64))
