"""The torch engine on a real CUDA device: graphs, transfers, memory that runs out. Skipped where there is none.

"Eager" is the same engine on the same device with no graphs kept. Equal means equal to the bit: a replay runs the very
kernels that were captured.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
import torch

from dptkit import Predictor
from dptkit.outputs import DepthMap
from dptkit.runtime.backend import Precision
from dptkit.runtime.memory import predict_within_memory
from dptkit.runtime.torch_backend import TorchBackend
from miniatures import build_miniature, miniature_spec

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

Array = npt.NDArray[np.float32]

SIZES = ((64, 64), (96, 64), (64, 160))
"""The trained grid first."""


def backend(name: str, precision: Precision = "float32", graphs: int = 8, token_merge: float = 0.0) -> TorchBackend:
    network = build_miniature(name)
    network.set_token_merging(token_merge)
    return TorchBackend(network, "cuda", precision, graphs)


def images(batch: int, height: int, width: int, seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal((batch, 3, height, width), np.float32)


def turns(rounds: int) -> list[Array]:
    """Batches of 1 and 4 of each size in turn, all of different values."""
    kinds = [(batch, *size) for size in SIZES for batch in (1, 4)]
    return [images(*kind, seed=100 * turn + number) for turn in range(rounds) for number, kind in enumerate(kinds)]


def no_notes(caplog: pytest.LogCaptureFixture) -> None:
    assert [record.getMessage() for record in caplog.records] == []


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize(
    ("name", "token_merge"),
    [("dpt-large", 0.0), ("dpt-large", 0.4), ("dpt-base", 0.8), ("dpt-hybrid-ade20k", 0.0), ("dpt-lite", 0.4)],
)
def test_graphs_equal_eager_with_shapes_in_turn(
    name: str, token_merge: float, precision: Precision, caplog: pytest.LogCaptureFixture
) -> None:
    """Six shapes, five rounds: eager, captured, replayed three times, each between the others. Nothing falls back."""
    caplog.set_level(logging.WARNING, "dptkit")
    ours, eager = backend(name, precision, token_merge=token_merge), backend(name, precision, 0, token_merge)
    inputs = turns(5)
    found = [ours.predict(each) for each in inputs]
    for result, each in zip(found, inputs, strict=True):
        np.testing.assert_array_equal(result, eager.predict(each))
    no_notes(caplog)


def test_graphs_that_come_and_go_equal_eager(caplog: pytest.LogCaptureFixture) -> None:
    """Room for two graphs and six shapes: each capture follows an eviction, and old graphs replay after it."""
    caplog.set_level(logging.WARNING, "dptkit")
    ours, eager = backend("dpt-large", "bfloat16", graphs=2), backend("dpt-large", "bfloat16", graphs=0)
    for each in turns(12):
        np.testing.assert_array_equal(ours.predict(each), eager.predict(each))
    no_notes(caplog)


def test_many_grids_between_leave_a_graph_alone() -> None:
    """More grids than resized position embeddings are kept of: a graph must not read one that was let go of."""
    ours, eager = backend("dpt-large"), backend("dpt-large", graphs=0)
    each = images(1, 96, 64, seed=0)
    wanted = eager.predict(each)
    for _ in range(3):
        np.testing.assert_array_equal(ours.predict(each), wanted)
    for number in range(20):
        ours.predict(images(1, 32, 32 * (number + 1), seed=number))
    np.testing.assert_array_equal(ours.predict(each), wanted)


def test_threads_equal_one_after_the_other(caplog: pytest.LogCaptureFixture) -> None:
    """Two networks, four threads each: captures meet launches and waits of other threads and of another network."""
    caplog.set_level(logging.WARNING, "dptkit")
    networks = [(backend(name, "float16"), backend(name, "float16", graphs=0)) for name in ("dpt-large", "dpt-lite")]
    inputs = turns(6)
    start = threading.Barrier(8)

    def work(worker: int) -> list[Array]:
        ours, _ = networks[worker % 2]
        start.wait(60)
        return [ours.predict(each) for each in inputs[worker // 2 :: 4]]

    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(work, range(8)))
    for worker, part in enumerate(parts):
        _, eager = networks[worker % 2]
        for result, each in zip(part, inputs[worker // 2 :: 4], strict=True):
            np.testing.assert_array_equal(result, eager.predict(each))
    no_notes(caplog)


def test_stream_by_threads_equals_pictures_one_by_one() -> None:
    predictor = Predictor(miniature_spec("dpt-large"), backend("dpt-large", "bfloat16"))
    rng = np.random.default_rng(0)
    sizes = [(48, 48 + 16 * (number % 3), 3) for number in range(12)]
    pictures = [rng.integers(0, 256, size, dtype=np.uint8) for size in sizes]
    wanted = [predictor.predict(picture) for picture in pictures]
    for result, single in zip(predictor.predict_stream(pictures, workers=3), wanted, strict=True):
        assert isinstance(result, DepthMap)
        assert isinstance(single, DepthMap)
        np.testing.assert_array_equal(result.values, single.values)


def test_near_the_cpu_in_float32() -> None:
    """As near as other engines are (docs/engines.md): rounded products, as TF32 has by default, would be far off."""
    each = images(2, 96, 64, seed=0)
    for name in ("dpt-large", "dpt-hybrid", "dpt-lite"):
        wanted = TorchBackend(build_miniature(name), "cpu").predict(each)
        found = backend(name).predict(each)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5 * np.ptp(wanted))


def test_memory_that_runs_out_halves_the_batch(caplog: pytest.LogCaptureFixture) -> None:
    """PyTorch's share of the memory is cut to what two thirds of a batch need; graphs that were kept give way to it."""
    caplog.set_level(logging.WARNING, "dptkit")
    ours, eager = backend("dpt-large"), backend("dpt-large", graphs=0)
    small, batch = images(1, 64, 64, seed=0), images(16, 512, 512, seed=1)
    wanted = np.concatenate([eager.predict(batch[k : k + 4]) for k in range(0, 16, 4)])
    for _ in range(2):
        ours.predict(small)  # the second keeps a graph
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_reserved()
    eager.predict(batch)
    peak = torch.cuda.max_memory_reserved()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    torch.cuda.set_per_process_memory_fraction((before + (peak - before) * 2 / 3) / total)
    try:
        found = predict_within_memory(ours, batch)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert any("going on with batches of" in record.getMessage() for record in caplog.records)
    # Batches of another size may sum in another order.
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.ptp(wanted))
    for _ in range(3):
        np.testing.assert_array_equal(ours.predict(small), eager.predict(small))
