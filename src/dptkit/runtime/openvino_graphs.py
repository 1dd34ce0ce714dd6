"""One network's compiled graphs on OpenVINO: one for any size of picture, and quicker ones for one size each.

Results of the two kinds differ by rounding. So which of them computes a picture depends on the network input's size
alone: not on what was asked before, on the batch, on time, or on what the cache holds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from dptkit.errors import ConfigError, DptkitError
from dptkit.runtime.backend import Precision, first_line, require_near
from dptkit.runtime.compiled_cache import CompiledCache
from dptkit.runtime.openvino_backend import (
    OpenVINOBackend,
    compile_graph,
    read_compiled,
    read_graph,
    write_compiled,
    write_graph,
)

if TYPE_CHECKING:
    from dptkit.model.dpt import DPT

Kept = TypeVar("Kept")
Size = tuple[int, int]

_BLOB, _STRIDE = "model.blob", "stride.json"
_SOURCE = "source"
"""The converted network's `shape` among the facts of its entry."""


class _Source(NamedTuple):
    """What graphs for one size are compiled from: an openvino.Model for any, and its network's stride."""

    graph: Any
    stride: int


class OpenVINOGraphs:
    """A Backend. Pictures whose size is among `sizes` go through a graph for that size, one by one; others through the
    graph for any size, all at once.

    Graphs are compiled or read from the cache when they are first needed. Where there are `sizes`, the cache also keeps
    the converted network, so that a further size needs no PyTorch.
    """

    engine = "openvino"
    device = "cpu"

    def __init__(
        self,
        network: Callable[[], DPT],
        precision: Precision,
        streams: int,
        sizes: Set[Size],
        cache: CompiledCache | None,
        facts: Mapping[str, str],
    ) -> None:
        """`network`: loads it, where nothing of it is kept. `facts`: what its graphs depend on beside their shape."""
        self.precision = precision
        self._network = network
        self._streams = streams
        self._sizes = sizes
        self._cache = cache
        self._facts = facts
        self._lock = threading.RLock()  # making a graph for one size asks for the one for any
        self._open: dict[Size | None, OpenVINOBackend] = {}
        self._source: _Source | None = None

    def is_kept(self) -> bool:
        """Whether `convert` can be spared. Without `sizes` this opens the graph; otherwise it waits for the picture."""
        if self._sizes and self._cache is not None:
            return any(self._cache.has(self._facts_of(shape)) for shape in (_shape(None), _SOURCE))
        with self._lock:
            found = self._read(_shape(None), self._read_compiled)
            if found is not None:
                self._open[None] = found
            return found is not None

    def convert(self, network: DPT) -> None:
        """Make the graph for any size, compare it with the network, and keep it.

        Raises RuntimeError if they differ, and what converters raise.
        """
        from dptkit.runtime.conversion import require_agreement, to_openvino

        stride, graph = network.encoder.stride, to_openvino(network)
        compiled = compile_graph(graph, self.precision, self._streams)
        backend = OpenVINOBackend(compiled, self.precision, stride)
        require_agreement(backend, network)
        self._keep(_shape(None), stride, lambda folder: write_compiled(compiled, folder / _BLOB))
        if self._sizes:
            self._source = _Source(graph, stride)
            self._keep(_SOURCE, stride, lambda folder: write_graph(graph, folder))
        self._open[None] = backend

    def predict(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Normalised images float32 [B, 3, h, w] -> raw output float32 [B, K, h, w].

        Raises ConfigError if a graph that is not kept cannot be made.
        """
        size = (images.shape[2], images.shape[3])
        if size not in self._sizes:
            return self._usable(None).predict(images)
        graph = self._usable(size)
        if len(images) == 1:
            return graph.predict(images)
        return np.concatenate([graph.predict(images[index : index + 1]) for index in range(len(images))])

    def _usable(self, size: Size | None) -> OpenVINOBackend:
        found = self._open.get(size)
        if found is not None:
            return found
        try:
            return self._graph(size)
        except (DptkitError, MemoryError):
            raise
        except Exception as error:  # converters fail in as many ways as there are networks
            raise ConfigError(f"engine openvino cannot compile ({first_line(error)}): use engine torch") from error

    def _graph(self, size: Size | None) -> OpenVINOBackend:
        """The graph for `size`, None being any: open, from the cache, or made now."""
        with self._lock:
            if size not in self._open:
                found = self._read(_shape(size), self._read_compiled)
                if found is not None:
                    self._open[size] = found
                elif size is not None:
                    self._open[size] = self._compile(size)
                else:
                    self.convert(self._network())
            return self._open[size]

    def _compile(self, size: Size) -> OpenVINOBackend:
        """The graph for one size, compared with the one for any before it is kept."""
        self._source = self._source or self._read(_SOURCE, _read_source)
        if self._source is None:
            self.convert(self._network())
        assert self._source is not None
        fixed = self._source.graph.clone()
        fixed.reshape([1, 3, *size])
        compiled = compile_graph(fixed, self.precision, self._streams)
        backend = OpenVINOBackend(compiled, self.precision, self._source.stride)
        picture = np.random.default_rng(0).standard_normal((1, 3, *size), np.float32)
        require_near(backend.predict(picture), self._graph(None).predict(picture), self.precision)
        self._keep(_shape(size), self._source.stride, lambda folder: write_compiled(compiled, folder / _BLOB))
        return backend

    def _read_compiled(self, entry: Path) -> OpenVINOBackend:
        return read_compiled(entry / _BLOB, self.precision, _read_stride(entry), self._streams)

    def _facts_of(self, shape: str) -> dict[str, str]:
        return {**self._facts, "shape": shape}

    def _read(self, shape: str, read: Callable[[Path], Kept]) -> Kept | None:
        return None if self._cache is None else self._cache.read(self._facts_of(shape), read)

    def _keep(self, shape: str, stride: int, write: Callable[[Path], object]) -> None:
        def write_all(folder: Path) -> None:
            (folder / _STRIDE).write_text(str(stride), "utf-8")
            write(folder)

        if self._cache is not None:
            self._cache.store(self._facts_of(shape), write_all)


def _shape(size: Size | None) -> str:
    return "any" if size is None else f"1x3x{size[0]}x{size[1]}"


def _read_stride(entry: Path) -> int:
    return int((entry / _STRIDE).read_text("utf-8"))


def _read_source(entry: Path) -> _Source:
    return _Source(read_graph(entry), _read_stride(entry))
