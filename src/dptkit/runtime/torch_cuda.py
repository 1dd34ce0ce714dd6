"""A network on CUDA: streams, events, pinned memory, captured graphs. The one file that asks `torch.cuda` to compute.

Written by PyTorch's notes "CUDA semantics" (docs.pytorch.org/docs/stable/notes/cuda.html), whose sections the comments
name. What is decided, and when, is in `torch_graphs.py` and `torch_transfer.py`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dptkit.errors import ConfigError
from dptkit.model.dpt import DPT
from dptkit.runtime.backend import is_about_memory
from dptkit.runtime.torch_graphs import CapturedForward, Forward, Graphs, Shape
from dptkit.runtime.torch_transfer import Event, Transfer

GRAPHS = 8
"""Captured graphs kept by a network."""

MOST_PINNED = 256 << 20
"""Bytes of a buffer that is pinned. Pinned memory is taken from the whole system, and segmentation's scores are large:
150 classes of 32 pictures of 384x384 are 2.8 GB. Beyond, copies are the same but do not overlap.
"""

# "Constraints": one capture at a time in a process, and no other CUDA work meanwhile, on any thread. So all networks
# here share it. It is held while work is enqueued, not while it is done.
_LAUNCHING = threading.Lock()


def graph_limit() -> int:
    """DPTKIT_CUDA_GRAPHS: how many graphs a network may keep, 0 for none. Raises ConfigError if it is no number."""
    chosen = os.environ.get("DPTKIT_CUDA_GRAPHS") or str(GRAPHS)
    if not (chosen.isascii() and chosen.isdecimal()):
        raise ConfigError(f"DPTKIT_CUDA_GRAPHS: {chosen!r} is not a number of graphs")
    return int(chosen)


class CudaStream:
    """A side stream, which does not wait for the default one. See `torch_transfer.Stream`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)

    def run(self, work: Callable[[], None]) -> None:
        with torch.cuda.stream(self._stream):
            work()

    def record(self) -> torch.cuda.Event:
        # blocking: who waits sleeps, and leaves its core to threads that read and write pictures.
        event = torch.cuda.Event(blocking=True)
        event.record(self._stream)
        return event

    def wait(self, event: Event) -> None:
        assert isinstance(event, torch.cuda.Event)
        self._stream.wait_event(event)

    def memory(self, count: int, dtype: torch.dtype) -> Tensor:
        # "CUDA streams": memory belongs to the stream that it was allocated on, which may reuse it at once when it is
        # let go of. Ours is let go of only when the host has seen all work on it end.
        with torch.cuda.stream(self._stream):
            return torch.empty(count, dtype=dtype, device=self._device)


class CudaDevice:
    """See `torch_transfer.Device`."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def stream(self) -> CudaStream:
        return CudaStream(self.device)

    @contextmanager
    def launching(self) -> Iterator[None]:
        # Which device is the current one is each thread's own; events and captures belong to the current one.
        with _LAUNCHING, torch.cuda.device(self.device):
            yield

    def pinned(self, count: int, dtype: torch.dtype) -> Tensor:
        return torch.empty(count, dtype=dtype, pin_memory=count * dtype.itemsize <= MOST_PINNED)

    def settle(self) -> None:
        torch.cuda.synchronize(self.device)


class CudaNetwork:
    """A network that predicts on a CUDA device. May be called from several threads."""

    def __init__(self, network: DPT, graphs: int = GRAPHS) -> None:
        """network: frozen, on its device and in its precision; it belongs to this object, which lays it out anew.

        graphs: how many captured graphs to keep, 0 for none.
        """
        weight = next(network.parameters())
        self._device = device = CudaDevice(weight.device)
        with device.launching():
            computation = _Computation(network, weight.device, weight.dtype)
            # AMD's builds call themselves cuda too; what they need before a capture is different.
            self._graphs = Graphs(computation.capture, 0 if torch.version.hip else graphs)
            forward = Forward(computation.eager, self._graphs, _return_memory)
            self._transfer = Transfer(device, forward, weight.dtype, network.head.output_channels)
            # The weights came on the default stream; side streams do not wait for it.
            device.settle()

    def predict(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Normalised images float32 [B, 3, h, w] -> raw output float32 [B, K, h, w]. RuntimeError without memory."""
        with torch.inference_mode():
            try:
                return self._transfer.predict(images)
            except RuntimeError as error:
                # `forward` gives up the graphs by itself. This is for the buffers, which are taken before it.
                if not is_about_memory(error) or not self._give_up_graphs():
                    raise
            return self._transfer.predict(images)

    def free_memory(self) -> None:
        """Return to the device what PyTorch holds and nobody uses."""
        with self._device.launching():
            _return_memory()

    def _give_up_graphs(self) -> bool:
        """Whether there were any."""
        with self._device.launching():
            had_any = self._graphs.clear()
            _return_memory()
        return had_any


def _return_memory() -> None:
    # After a capture that could not be ended, several versions of PyTorch take it to be still under way, and refuse
    # this by an internal assertion. Without memory returned, smaller batches may do all the same.
    with suppress(RuntimeError):
        torch.cuda.empty_cache()


class _Computation:
    """The forward pass, eager and captured. All is called on the compute stream, with `launching` held."""

    def __init__(self, network: DPT, device: torch.device, dtype: torch.dtype) -> None:
        self._device, self._dtype = device, dtype
        # Tensor cores take convolutions in this layout; those of float32, which do without them, gain nothing from it.
        self._layout = torch.contiguous_format if dtype is torch.float32 else torch.channels_last
        self._network = network.to(memory_format=self._layout)  # type: ignore[call-overload]  # not in its overloads
        self._capture_stream = torch.cuda.Stream(device)
        self._pool: Any = None  # an opaque token
        self._captured = 0

    def eager(self, source: Tensor, target: Tensor) -> None:
        target.copy_(self._compute(source.contiguous(memory_format=self._layout)), non_blocking=True)

    def capture(self, shape: Shape) -> CapturedForward:
        source = torch.empty(shape, dtype=self._dtype, device=self._device, memory_format=self._layout).zero_()
        # "PyTorch API": warm up on a side stream. In this very thread: handles of cuBLAS and cuDNN are each thread's
        # own, and cannot be made during a capture.
        self._compute(source)
        # "Sharing memory across captures": safe for graphs that never run at the same time and never need each other's
        # results. All are replayed on the compute stream, which does one thing at a time, and their results are copied
        # there before the next replay. With the last graph the pool dies, and its name must not be used again.
        pool = self._pool if self._pool is not None else torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        # One stream for all captures, as sharing memory asks for, and for nothing else: what cuBLAS takes for a stream
        # then lies in the pool, and stays mapped when the graph that was captured first goes (pytorch issue 193402).
        # "thread_local": other threads may wait for events meanwhile. The outer context puts the compute stream back
        # if the capture cannot be ended, which the inner one does not (`torch/cuda/graphs.py`).
        with (
            torch.cuda.stream(torch.cuda.current_stream(self._device)),
            torch.cuda.graph(graph, pool=pool, stream=self._capture_stream, capture_error_mode="thread_local"),
        ):
            result = self._compute(source)
        self._pool = pool
        self._captured += 1
        return CapturedForward(source, result, graph.replay, lambda: self._forget(graph))

    def _forget(self, graph: torch.cuda.CUDAGraph) -> None:
        torch.cuda.synchronize(self._device)
        graph.reset()
        self._captured -= 1
        if not self._captured:
            self._pool = None

    def _compute(self, images: Tensor) -> Tensor:
        with _exact_convolutions(self._dtype):
            return self._network(images).float()


@contextmanager
def _exact_convolutions(dtype: torch.dtype) -> Iterator[None]:
    """cuDNN takes the same algorithm each time, one whose sums have an order, and float32 is float32.

    PyTorch's default rounds what float32 convolutions multiply to 10 bits ("TensorFloat-32 (TF32)"). The settings are
    the process's, so this is for code that holds `launching`, and they are put back.
    """
    cudnn = torch.backends.cudnn
    benchmark, deterministic = cudnn.benchmark, cudnn.deterministic
    tf32: bool | None = None
    cudnn.benchmark, cudnn.deterministic = False, True
    if dtype is torch.float32:
        with suppress(RuntimeError):  # who has chosen by the newer settings, which these refuse to mix with, has chosen
            tf32 = cudnn.allow_tf32
            cudnn.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = benchmark, deterministic
        if tf32 is not None:
            cudnn.allow_tf32 = tf32
