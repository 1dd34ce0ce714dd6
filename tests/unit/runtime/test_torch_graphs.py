"""Which shapes get a CUDA graph and when, which go, and what happens where one cannot be had. No device needed."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dptkit.runtime.torch_graphs import CapturedForward, Forward, Graphs, Shape

SMALL, WIDE, TALL = (1, 3, 32, 32), (1, 3, 32, 64), (1, 3, 64, 32)


class Device:
    """Captures what adds one, and says what it was asked. `fails`: what the next captures raise."""

    def __init__(self, *fails: Callable[[], None]) -> None:
        self.log: list[tuple[str, Shape]] = []
        self.fails = list(fails)

    def capture(self, shape: Shape) -> CapturedForward:
        self.log.append(("capture", shape))
        if self.fails:
            self.fails.pop(0)()
        source, result = torch.zeros(shape), torch.zeros(shape)

        def launch() -> None:
            self.log.append(("launch", shape))
            result.copy_(source + 1)

        return CapturedForward(source, result, launch, lambda: self.log.append(("forget", shape)))

    def captured(self) -> list[Shape]:
        return [shape for what, shape in self.log if what == "capture"]


def runs_out() -> None:
    raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")


def runs_out_and_breaks_the_capture() -> None:
    try:
        runs_out()
    finally:
        raise RuntimeError("CUDA error: operation failed due to a previous error during capture")


def is_not_allowed() -> None:
    raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nCompile with ...")


def kinds(graphs: Graphs, *shapes: Shape) -> list[bool]:
    """Whether each use in turn is a graph's."""
    return [graphs.find(shape) is not None for shape in shapes]


def test_each_shape_is_eager_once_then_captured_once_then_replayed() -> None:
    device = Device()
    graphs = Graphs(device.capture, 8)
    uses = (SMALL, WIDE, SMALL, (4, *SMALL[1:]), SMALL, WIDE, SMALL)
    assert kinds(graphs, *uses) == [False, False, True, False, True, True, True]
    assert device.captured() == [SMALL, WIDE]


def test_the_least_recently_used_goes_before_another_is_captured() -> None:
    device = Device()
    graphs = Graphs(device.capture, 2)
    assert kinds(graphs, SMALL, SMALL, WIDE, WIDE, SMALL, TALL, TALL) == [False, True, False, True, True, False, True]
    assert device.log[-2:] == [("forget", WIDE), ("capture", TALL)]
    assert kinds(graphs, SMALL, TALL, WIDE, WIDE, WIDE, WIDE) == [True, True, False, False, False, True]


def test_shapes_that_push_each_other_out_are_captured_ever_more_rarely() -> None:
    device = Device()
    graphs = Graphs(device.capture, 2)
    for _ in range(1000):
        kinds(graphs, SMALL, WIDE, TALL)
    # The uses before a capture double with every one of the same shape: 2 + 4 + ... + 512 > 1000.
    assert max(device.captured().count(shape) for shape in (SMALL, WIDE, TALL)) <= 9
    forgotten = [shape for what, shape in device.log if what == "forget"]
    assert len(device.captured()) - len(forgotten) == 2


def test_no_graphs_if_none_are_wanted() -> None:
    device = Device()
    assert kinds(Graphs(device.capture, 0), SMALL, SMALL, SMALL) == [False] * 3
    assert device.log == []


def test_what_cannot_be_captured_is_tried_once_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    device = Device()
    graphs = Graphs(device.capture, 8)
    kinds(graphs, SMALL, SMALL)
    device.fails = [is_not_allowed, is_not_allowed]
    with caplog.at_level(logging.WARNING, "dptkit"):
        assert kinds(graphs, WIDE, WIDE, WIDE, SMALL, SMALL, TALL, TALL) == [False] * 7
    assert device.log[-2:] == [("capture", WIDE), ("forget", SMALL)]
    (note,) = [record.getMessage() for record in caplog.records]
    assert "operation not permitted when stream is capturing" in note
    assert "\n" not in note


@pytest.mark.parametrize("failure", [runs_out, runs_out_and_breaks_the_capture])
def test_memory_that_runs_out_costs_one_shape_its_graph(
    failure: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    device = Device()
    graphs = Graphs(device.capture, 8)
    kinds(graphs, SMALL, SMALL)
    device.fails = [failure, failure]
    with caplog.at_level(logging.WARNING, "dptkit"):
        assert kinds(graphs, WIDE, WIDE, WIDE, TALL, TALL) == [False] * 5
    assert [record.getMessage()[:10] for record in caplog.records] == ["not enough"]
    # The others' memory was given up for it; they come back.
    assert ("forget", SMALL) in device.log
    assert kinds(graphs, *[SMALL] * 5)[-1]
    assert kinds(graphs, *[WIDE, TALL] * 40) == [False] * 80
    assert device.captured() == [SMALL, WIDE, TALL, SMALL]


class Eager:
    """Adds one, but for the first calls, which `fails` says; counts its calls."""

    def __init__(self, *fails: Callable[[], None]) -> None:
        self.fails, self.calls = list(fails), 0

    def __call__(self, source: Tensor, target: Tensor) -> None:
        self.calls += 1
        if self.fails:
            self.fails.pop(0)()
        target.copy_(source + 1)


def filled(value: float, shape: Shape = SMALL) -> Tensor:
    return torch.full(shape, float(value))


def test_eager_and_graph_give_the_same_and_inputs_and_results_stay_apart() -> None:
    device, eager = Device(), Eager()
    forward = Forward(eager, Graphs(device.capture, 8), lambda: None)
    sources = [filled(value) for value in range(5)]
    targets = [filled(-9) for _ in sources]
    for source, target in zip(sources, targets, strict=True):
        forward(source, target)
    assert eager.calls == 1
    # Looked at after all have run: a result that still lay in the graph's own memory would be the last one's.
    assert [float(target.mean()) for target in targets] == [1, 2, 3, 4, 5]
    assert [float(source.mean()) for source in sources] == [0, 1, 2, 3, 4]


def test_graphs_give_way_where_eager_is_short_of_memory() -> None:
    device, eager, freed = Device(), Eager(), []
    forward = Forward(eager, Graphs(device.capture, 8), lambda: freed.append(list(device.log)))
    for _ in range(2):
        forward(filled(0), filled(0))
    eager.fails = [runs_out]
    target = filled(0, WIDE)
    forward(filled(5, WIDE), target)
    assert float(target.mean()) == 6
    # Memory is returned after the graphs are gone: before, there is nothing to return.
    assert freed == [[("capture", SMALL), ("launch", SMALL), ("forget", SMALL)]]


def test_without_graphs_to_give_up_it_is_the_callers_to_know() -> None:
    eager = Eager(runs_out)
    forward = Forward(eager, Graphs(Device().capture, 8), lambda: None)
    with pytest.raises(RuntimeError, match="out of memory"):
        forward(filled(0), filled(0))
    assert eager.calls == 1


def test_another_error_costs_no_graph_and_is_not_tried_again() -> None:
    device, eager = Device(), Eager()
    graphs = Graphs(device.capture, 8)
    forward = Forward(eager, graphs, lambda: None)
    for _ in range(2):
        forward(filled(0), filled(0))
    eager.fails = [is_not_allowed]
    with pytest.raises(RuntimeError, match="not permitted"):
        forward(filled(0, WIDE), filled(0, WIDE))
    assert eager.calls == 2
    assert graphs.find(SMALL) is not None
