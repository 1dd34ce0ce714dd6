"""When a network runs as a captured CUDA graph and when eagerly. Decisions only: nothing here touches a device.

A graph is for one input shape. A shape's first use is eager, since many come only once; its second captures. The least
recently used graph goes when there are too many. Whatever a graph cannot do, eager can: no failure of one is an error.
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dptkit.runtime.backend import first_line, is_about_memory

if TYPE_CHECKING:
    from torch import Tensor

_log = logging.getLogger("dptkit")

Shape = tuple[int, ...]

FIRST_CAPTURE = 2
"""The use of a shape at which it is captured. After each time that its graph had to go, twice as many are asked for:
more shapes in turn than graphs are kept would otherwise be captured again and again, at the cost of many predictions.
"""

REMEMBERED = 256
"""Shapes whose uses are counted."""


@dataclass(frozen=True)
class CapturedForward:
    """A forward pass that always reads `source` and writes `result`, which both live as long as it does.

    launch: enqueue the captured work. forget: give up its memory; nothing of it may be at work any more.
    """

    source: Tensor
    result: Tensor
    launch: Callable[[], None]
    forget: Callable[[], None]

    def replay(self, source: Tensor, target: Tensor) -> None:
        """Enqueue: input in, forward pass, output out, before whatever is enqueued next can overwrite it.

        Graphs that share a memory pool overwrite each other's results, and the next input overwrites this one.
        """
        self.source.copy_(source, non_blocking=True)
        self.launch()
        target.copy_(self.result, non_blocking=True)


@dataclass
class _Use:
    count: int = 0
    needed: float = FIRST_CAPTURE


class Graphs:
    """The captured graphs of one network, by input shape. Not thread-safe: the caller takes turns."""

    def __init__(self, capture: Callable[[Shape], CapturedForward], limit: int) -> None:
        """capture: warms up and captures; raises whatever went wrong. limit: graphs kept at a time, 0 for none."""
        self._capture, self._limit = capture, limit
        self._kept: OrderedDict[Shape, CapturedForward] = OrderedDict()
        self._uses: OrderedDict[Shape, _Use] = OrderedDict()
        self._told_of_memory = False

    def find(self, shape: Shape) -> CapturedForward | None:
        """The graph for this use of a shape, captured now if its time has come. None: compute it eagerly."""
        graph = self._kept.get(shape)
        if graph is not None:
            self._kept.move_to_end(shape)
            return graph
        if self._limit < 1:
            return None
        use = self._use(shape)
        use.count += 1
        return self._make(shape, use) if use.count >= use.needed else None

    def clear(self) -> bool:
        """Let go of all graphs, and with the last one of the memory they share. Whether there were any."""
        had_any = bool(self._kept)
        while self._kept:
            self._drop_oldest()
        return had_any

    def _use(self, shape: Shape) -> _Use:
        use = self._uses.setdefault(shape, _Use())
        self._uses.move_to_end(shape)
        if len(self._uses) > REMEMBERED:
            self._uses.popitem(last=False)
        return use

    def _drop_oldest(self) -> None:
        shape, graph = self._kept.popitem(last=False)
        use = self._use(shape)
        use.count, use.needed = 0, 2 * use.needed
        graph.forget()

    def _make(self, shape: Shape, use: _Use) -> CapturedForward | None:
        while len(self._kept) >= self._limit:
            self._drop_oldest()
        try:
            graph = self._capture(shape)
        except Exception as error:  # a capture fails in as many ways as there are kernels, and eager is always there
            self._give_up(shape, use, error)
        else:
            self._kept[shape] = graph
            return graph
        # Here, where what the failed capture held is gone.
        self.clear()
        return None

    def _give_up(self, shape: Shape, use: _Use, error: BaseException) -> None:
        if not _began_with_memory(error):
            self._limit = 0
            _log.warning("CUDA graphs do not work here (%s): computing without them", first_line(error))
            return
        use.needed = math.inf
        if not self._told_of_memory:
            self._told_of_memory = True
            batch, _, height, width = shape
            size = f"a batch of {batch}, {height}x{width}"
            _log.warning("not enough memory for a CUDA graph of %s: computing such without one", size)


class Forward:
    """The network's forward pass on a device: a graph's replay where there is one, else eager. Takes turns as above."""

    def __init__(
        self, eager: Callable[[Tensor, Tensor], None], graphs: Graphs, free_memory: Callable[[], None]
    ) -> None:
        """eager: enqueue the pass from a source to a target. free_memory: return to the device what nobody uses."""
        self._eager, self._graphs, self._free_memory = eager, graphs, free_memory

    def __call__(self, source: Tensor, target: Tensor) -> None:
        """Enqueue `target` = network(`source`). Where memory is short the graphs go first; only then is it an error."""
        try:
            graph = self._graphs.find(tuple(source.shape))
            if graph is None:
                self._eager(source, target)
            else:
                graph.replay(source, target)
            return
        except RuntimeError as error:
            if not is_about_memory(error) or not self._graphs.clear():
                raise
        # Here, where the failed call's tensors are gone, and with them what they held.
        self._free_memory()
        self._eager(source, target)


def _began_with_memory(error: BaseException | None) -> bool:
    """Whether memory ran out somewhere in this chain: ending a broken capture raises an error of its own on top."""
    while error is not None:
        if is_about_memory(error):
            return True
        error = error.__cause__ or error.__context__
    return False
