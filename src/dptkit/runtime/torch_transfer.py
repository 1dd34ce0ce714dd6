"""Pictures to a device and results back, while it computes others: three streams, events between them, two slots.

    pinned input --upload stream--> device input --compute stream--> device output --download stream--> pinned output

Each arrow waits for the one before by an event on the device; the host waits for the last one only. A slot is the four
buffers of one prediction. With two of them, one thread's upload and download run while another's picture is computed.
What a device is, is handed in: `torch_cuda.py` has the real one, tests have one that runs streams in any legal order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from queue import Empty, LifoQueue
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch

if TYPE_CHECKING:
    from torch import Tensor

SLOTS = 2
"""Predictions under way at a time: one computes, while another's data comes or goes."""

Result = TypeVar("Result")


class Event(Protocol):
    """A point in a stream."""

    def synchronize(self) -> None:
        """Wait, on the host, until the stream has come there. Lets other threads run meanwhile."""


class Stream(Protocol):
    """Work that a device does in order; between streams there is no order but by events."""

    def run(self, work: Callable[[], None]) -> None:
        """Enqueue what `work` does on the device."""

    def record(self) -> Event:
        """The point after all that is enqueued so far."""

    def wait(self, event: Event) -> None:
        """What is enqueued from here on begins after `event`."""

    def memory(self, count: int, dtype: torch.dtype) -> Tensor:
        """Device memory that this stream writes before any other touches it."""


class Device(Protocol):
    """Where to compute."""

    def stream(self) -> Stream: ...

    def launching(self) -> AbstractContextManager[None]:
        """Held by whoever enqueues work or takes memory: one thread at a time."""

    def pinned(self, count: int, dtype: torch.dtype) -> Tensor:
        """Host memory that copies reach without the host's help, where it is not too much."""

    def settle(self) -> None:
        """Wait until the device has done everything."""


class _Buffer:
    """Flat memory that grows with what is asked of it."""

    def __init__(self, allocate: Callable[[int, torch.dtype], Tensor], dtype: torch.dtype) -> None:
        self._allocate, self._dtype = allocate, dtype
        self._flat: Tensor | None = None

    def of(self, shape: tuple[int, ...]) -> Tensor:
        """Contiguous memory of this shape, valid until the next call."""
        count = int(np.prod(shape))
        if self._flat is None or self._flat.numel() < count:
            self._flat = None  # let go of the smaller one first
            self._flat = self._allocate(count, self._dtype)
        return self._flat[:count].view(shape)

    def clear(self) -> None:
        self._flat = None


class _Slot:
    def __init__(self, device: Device, upload: Stream, compute: Stream, dtype: torch.dtype) -> None:
        self.pinned_input = _Buffer(device.pinned, dtype)
        self.input = _Buffer(upload.memory, dtype)
        self.output = _Buffer(compute.memory, torch.float32)
        self.pinned_output = _Buffer(device.pinned, torch.float32)

    def clear(self) -> None:
        for buffer in (self.pinned_input, self.input, self.output, self.pinned_output):
            buffer.clear()


class Transfer:
    """Predictions from host memory to host memory. May be called from several threads."""

    def __init__(
        self, device: Device, forward: Callable[[Tensor, Tensor], None], dtype: torch.dtype, channels: int
    ) -> None:
        """forward: enqueue the pass from device input [B, 3, h, w] of `dtype` to float32 output [B, channels, h, w]."""
        self._device, self._forward, self._channels = device, forward, channels
        self._upload, self._compute, self._download = device.stream(), device.stream(), device.stream()
        # Last in, first out: who predicts one picture after the other uses one slot, and the other takes no memory.
        self._free: LifoQueue[_Slot] = LifoQueue()
        for _ in range(SLOTS):
            self._free.put(_Slot(device, self._upload, self._compute, dtype))

    def predict(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """float32 [B, 3, h, w] -> float32 [B, channels, h, w] of the caller's own. Raises what `forward` raises."""
        batch, _, height, width = images.shape
        with self._slot() as slot:
            with self._device.launching():
                pinned_input, source = slot.pinned_input.of(images.shape), slot.input.of(images.shape)
                result_shape = (batch, self._channels, height, width)
                target, pinned_output = slot.output.of(result_shape), slot.pinned_output.of(result_shape)
            # Rounded to the network's precision on the way: half as much to upload.
            pinned_input.copy_(torch.from_numpy(images))
            with self._device.launching():
                self._upload.run(lambda: _copy(source, pinned_input))
                self._compute.wait(self._upload.record())
                self._compute.run(lambda: self._forward(source, target))
                self._download.wait(self._compute.record())
                self._download.run(lambda: _copy(pinned_output, target))
                done = self._download.record()
            # Others launch meanwhile.
            done.synchronize()
            return pinned_output.numpy().copy()

    @contextmanager
    def _slot(self) -> Iterator[_Slot]:
        """A slot of the caller's own, as soon as one is free. After it nothing in it is in use by the device."""
        slot = self._free.get()
        try:
            yield slot
        except BaseException:
            # Work on its buffers may be under way; and where memory was short, they are the first to go.
            try:
                with self._device.launching():
                    self._device.settle()
            finally:
                slot.clear()
                self._clear_free()
            raise
        finally:
            self._free.put(slot)

    def _clear_free(self) -> None:
        idle = []
        while True:
            try:
                idle.append(self._free.get_nowait())
            except Empty:
                break
        for slot in idle:
            slot.clear()
            self._free.put(slot)


def _copy(target: Tensor, source: Tensor) -> None:
    target.copy_(source, non_blocking=True)
