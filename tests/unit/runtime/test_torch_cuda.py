"""`torch_cuda.py` without a device: `torch.cuda` is replaced by a stand-in that computes on the CPU, and is strict.

Its captures write down operations, and its replays do them again on the same tensors. As on a device, what a capture
computes is not there before the replay, and graphs that share a pool spoil what the others left in it: NaN here. What
it cannot tell is whether kernels may be captured, and what they do side by side; `tests/parity/test_cuda.py` does.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dptkit.errors import ConfigError
from dptkit.model.dpt import DPT
from dptkit.model.encoders.transformer import PositionEmbedding
from dptkit.runtime.torch_backend import TorchBackend
from dptkit.runtime.torch_cuda import CudaDevice, CudaNetwork, CudaStream, graph_limit
from miniatures import build_miniature

Array = npt.NDArray[np.float32]


class Recording(TorchDispatchMode):
    """Operations in their order, and the memory that came from them."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []
        self.foreign: set[int] = set()
        self.made: dict[int, Tensor] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.foreign |= {place(tensor) for tensor in tensors((args, kwargs))} - self.made.keys()
        result = func(*args, **kwargs)
        self.steps.append((func, args, kwargs, result))
        for tensor in tensors(result):
            if place(tensor) not in self.foreign:
                self.made.setdefault(place(tensor), tensor)
        return result

    def repeat(self) -> None:
        for func, args, kwargs, result in self.steps:
            for old, new in zip(tensors(result), tensors(func(*args, **kwargs)), strict=True):
                if place(old) != place(new):
                    old.copy_(new)

    def spoil(self) -> None:
        for tensor in self.made.values():
            if tensor.is_floating_point():
                tensor.fill_(torch.nan)


def tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


class FakeCuda:
    """What `torch_cuda.py` uses of `torch.cuda`. fails: the next captures end as broken ones do.

    stuck: as several versions of PyTorch are after such an end, the allocator takes the capture to be under way.
    """

    def __init__(self) -> None:
        self.default = self.current = object()
        self.capturing = False
        self.fails = 0
        self.stuck = False
        self.captures: list[tuple[Any, Any]] = []
        self.alive: dict[tuple[int, int], list[Any]] = {}
        self.dead: set[tuple[int, int]] = set()
        self.names: list[tuple[int, int]] = []
        cuda = self

        class Stream:
            def __init__(self, device: torch.device) -> None:
                assert device.type == "cpu"

            def wait_event(self, event: Event) -> None:
                assert event.recorded

        class Event:
            def __init__(self, enable_timing: bool = False, blocking: bool = False) -> None:
                self.recorded = False

            def record(self, stream: Stream) -> None:
                self.recorded = True

            def synchronize(self) -> None:
                assert self.recorded
                assert not cuda.capturing

        class CUDAGraph:
            def __init__(self) -> None:
                self.recording: Recording | None = None
                self.pool: tuple[int, int] | None = None

            def replay(self) -> None:
                assert self.recording is not None
                assert self.pool is not None
                assert not cuda.capturing
                for other in cuda.alive[self.pool]:
                    if other is not self:
                        other.recording.spoil()
                self.recording.repeat()

            def reset(self) -> None:
                assert self.pool is not None
                self.recording = None
                cuda.alive[self.pool].remove(self)
                if not cuda.alive[self.pool]:
                    cuda.dead.add(self.pool)

        self.Stream, self.Event, self.CUDAGraph = Stream, Event, CUDAGraph

    @contextmanager
    def stream(self, stream: object) -> Iterator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    def current_stream(self, device: torch.device) -> object:
        return self.current

    @contextmanager
    def device(self, device: torch.device) -> Iterator[None]:
        yield

    def synchronize(self, device: torch.device | None = None) -> None:
        assert not self.capturing

    def empty_cache(self) -> None:
        assert not self.capturing
        if self.stuck:
            raise RuntimeError("captures_underway.empty() INTERNAL ASSERT FAILED")

    def graph_pool_handle(self) -> tuple[int, int]:
        self.names.append((0, len(self.names) + 1))
        return self.names[-1]

    def graph(
        self, cuda_graph: Any, pool: Any = None, stream: Any = None, capture_error_mode: str = "global"
    ) -> FakeCapture:
        return FakeCapture(self, cuda_graph, pool, stream, capture_error_mode)


class FakeCapture:
    """`torch.cuda.graph`, which leaves the capture's stream the current one if the capture cannot be ended."""

    def __init__(self, cuda: FakeCuda, graph: Any, pool: Any, stream: Any, mode: str) -> None:
        assert pool not in cuda.dead, "a pool's name is used again"
        assert mode == "thread_local"
        self.cuda, self.graph, self.pool, self.stream = cuda, graph, pool, stream

    def __enter__(self) -> None:
        assert self.cuda.current not in (self.cuda.default, self.stream), "warmed up on a stream that is not a side's"
        self.cuda.empty_cache()
        self.cuda.capturing = True
        self.before, self.cuda.current = self.cuda.current, self.stream
        self.recording = Recording()
        self.recording.__enter__()

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self.recording.__exit__(kind, error, trace)
        self.cuda.capturing = False
        self.cuda.captures.append((self.pool, self.stream))
        if error is not None or self.cuda.fails:
            self.cuda.fails -= error is None
            self.cuda.stuck = True
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
        self.cuda.current = self.before
        for other in self.cuda.alive.setdefault(self.pool, []):
            other.recording.spoil()
        self.recording.spoil()
        self.graph.recording, self.graph.pool = self.recording, self.pool
        self.cuda.alive[self.pool].append(self.graph)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()
    used = ["Stream", "Event", "CUDAGraph", "stream", "current_stream", "device", "synchronize", "empty_cache"]
    for name in [*used, "graph_pool_handle", "graph"]:
        monkeypatch.setattr(torch.cuda, name, getattr(fake, name))
    monkeypatch.setattr(PositionEmbedding, "_in_cuda_graph", lambda _: fake.capturing)
    # Nothing can be pinned where there is no device to pin it for.
    monkeypatch.setattr(CudaDevice, "pinned", lambda _, count, dtype: torch.full((count,), torch.nan, dtype=dtype))
    return fake


def network(name: str, dtype: torch.dtype = torch.float32) -> DPT:
    return build_miniature(name).to(dtype).freeze()


def images(*shape: int, seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


SHAPES = ((1, 3, 64, 64), (4, 3, 64, 64), (1, 3, 96, 64))
"""One as the trained grid, the others not; one a batch."""
TURNS = (0, 1, 0, 1, 2, 0, 2, 1, 2)


@pytest.mark.parametrize(("name", "ratio"), [("dpt-large", 0.5), ("dpt-hybrid-ade20k", 0.0)])
def test_graphs_give_the_bits_of_eager_with_shapes_in_turn(cuda: FakeCuda, name: str, ratio: float) -> None:
    ours, reference = network(name), network(name)
    for one in (ours, reference):
        one.set_token_merging(ratio)
    predicting, eager = CudaNetwork(ours, graphs=8), TorchBackend(reference, "cpu")
    inputs = [images(*SHAPES[which], seed=turn) for turn, which in enumerate(TURNS)]
    found = [predicting.predict(each) for each in inputs]
    for result, each in zip(found, inputs, strict=True):
        np.testing.assert_array_equal(result, eager.predict(each))
    # Each shape was captured once, into one pool, on one stream of captures' own.
    assert len(cuda.captures) == 3
    assert len(set(cuda.captures)) == 1


def test_low_precision_gives_the_bits_of_eager_in_the_same_layout(cuda: FakeCuda) -> None:
    predicting = CudaNetwork(network("dpt-large", torch.bfloat16), graphs=8)
    eager = CudaNetwork(network("dpt-large", torch.bfloat16), graphs=0)
    for seed in range(4):
        each = images(*SHAPES[1], seed=seed)
        np.testing.assert_array_equal(predicting.predict(each), eager.predict(each))
    assert len(cuda.captures) == 1


def test_with_the_last_graph_the_pool_goes_too(cuda: FakeCuda) -> None:
    predicting, eager = CudaNetwork(network("dpt-large"), graphs=1), TorchBackend(network("dpt-large"), "cpu")
    for turn, which in enumerate([0, 0, 1, 1, 1, 0, 0, 0, 0, 0]):
        each = images(*SHAPES[which], seed=turn)
        np.testing.assert_array_equal(predicting.predict(each), eager.predict(each))
    assert len(cuda.captures) == 3
    assert cuda.dead == set(cuda.names[:2])


def test_a_broken_capture_costs_the_graphs_and_nothing_else(cuda: FakeCuda, caplog: pytest.LogCaptureFixture) -> None:
    predicting, eager = CudaNetwork(network("dpt-large"), graphs=8), TorchBackend(network("dpt-large"), "cpu")
    cuda.fails = 1
    with caplog.at_level(logging.WARNING, "dptkit"):
        for seed in range(4):
            each = images(*SHAPES[0], seed=seed)
            np.testing.assert_array_equal(predicting.predict(each), eager.predict(each))
            assert cuda.current is cuda.default
    assert len(cuda.captures) == 1
    assert len(caplog.records) == 1


def test_eager_never_runs_on_the_captures_stream(cuda: FakeCuda) -> None:
    """Also right after a broken capture, which leaves that stream the current one."""
    ours = network("dpt-large")
    seen: list[tuple[bool, object]] = []
    ours.register_forward_pre_hook(lambda *_: seen.append((cuda.capturing, cuda.current)))
    predicting = CudaNetwork(ours, graphs=8)
    cuda.fails = 1
    for seed in range(3):
        predicting.predict(images(*SHAPES[0], seed=seed))
    assert [capturing for capturing, _ in seen] == [False, False, True, False, False]  # use; warm-up, capture, use; use
    (compute,) = {current for capturing, current in seen if not capturing}
    (capture,) = {current for capturing, current in seen if capturing}
    assert compute is not capture
    assert cuda.default not in (compute, capture)


def test_after_a_broken_capture_memory_that_runs_out_is_no_other_error(cuda: FakeCuda) -> None:
    """PyTorch then refuses to return memory, also where another network would capture."""
    broken, other = (CudaNetwork(network("dpt-large"), graphs=8) for _ in range(2))
    eager = TorchBackend(network("dpt-large"), "cpu")
    cuda.fails = 1
    for predicting in (broken, other):
        for seed in range(3):
            each = images(*SHAPES[0], seed=seed)
            np.testing.assert_array_equal(predicting.predict(each), eager.predict(each))
        predicting.free_memory()
    assert cuda.stuck
    assert len(cuda.captures) == 1


def test_graphs_give_way_to_buffers(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture whose input or output does not fit beside the graphs fits without them."""
    take = CudaStream.memory

    def memory(stream: CudaStream, count: int, dtype: torch.dtype) -> Tensor:
        if any(cuda.alive.values()):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.75 GiB.")
        return take(stream, count, dtype)

    monkeypatch.setattr(CudaStream, "memory", memory)
    predicting, eager = CudaNetwork(network("dpt-large"), graphs=8), TorchBackend(network("dpt-large"), "cpu")
    for _ in range(2):
        predicting.predict(images(*SHAPES[0], seed=0))
    assert any(cuda.alive.values())
    large = images(*SHAPES[1], seed=1)
    np.testing.assert_array_equal(predicting.predict(large), eager.predict(large))


def test_settings_of_convolutions_are_put_back(cuda: FakeCuda) -> None:
    ours = network("dpt-large")
    seen: list[tuple[bool, bool, bool]] = []

    def look(*_: Any) -> None:
        cudnn = torch.backends.cudnn
        seen.append((cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32))

    ours.register_forward_pre_hook(look)
    look()
    CudaNetwork(ours, graphs=8).predict(images(*SHAPES[0], seed=0))
    look()
    before, during, after = seen
    assert during == (False, True, False)
    assert after == before


@pytest.mark.parametrize(("chosen", "limit"), [("", 8), ("0", 0), ("3", 3)])
def test_the_number_of_graphs_can_be_chosen(monkeypatch: pytest.MonkeyPatch, chosen: str, limit: int) -> None:
    monkeypatch.setenv("DPTKIT_CUDA_GRAPHS", chosen)
    assert graph_limit() == limit


@pytest.mark.parametrize("chosen", ["-1", "many", "²"])
def test_what_is_no_number_of_graphs_is_one_line(monkeypatch: pytest.MonkeyPatch, chosen: str) -> None:
    monkeypatch.setenv("DPTKIT_CUDA_GRAPHS", chosen)
    with pytest.raises(ConfigError, match="is not a number of graphs"):
        graph_limit()
