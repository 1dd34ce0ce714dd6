"""How much faster a pruned network is than the unpruned one, on the default engine. Random weights: speed only.

Sides alternate within one run; the figure is the median of the ratios. Run: python benchmarks/pruning.py
(options: an architecture, rounds, and shares, as in `dpt-large 5 0.25 0.5`)
"""

from __future__ import annotations

import platform
import statistics
import sys
import time
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from dptkit.config import ModelSpec
from dptkit.engines import open_model
from dptkit.model.build import build_model
from dptkit.presets import find_architecture
from dptkit.pruning.cost import cost_of
from dptkit.pruning.importance import importance_of_weights
from dptkit.pruning.removal import remove
from dptkit.pruning.selection import select
from dptkit.runtime.backend import Backend
from dptkit.weights.tensor_file import write_tensors

SIDE = 384


def pruned_backends(name: str, shares: list[float], folder: Path) -> list[tuple[ModelSpec, Backend]]:
    """The network of that name on the default engine, whole and with each share of heads and neurons removed."""
    whole = find_architecture(name)
    torch.manual_seed(0)
    network = build_model(whole.model)
    if whole.task == "depth":
        torch.nn.init.constant_(network.get_parameter("head.conv3.bias"), 1.0)
    tensors = network.state_dict()
    importance = importance_of_weights(whole, tensors)
    found = []
    for share in (0.0, *shares):
        smaller, left = remove(whole, tensors, select(importance, share, share, "block"))
        path = folder / f"{share}.safetensors"
        write_tensors(path, left, smaller)
        found.append((smaller, open_model(path).backend))
    return found


def seconds(backend: Backend, image: np.ndarray) -> float:
    started = time.perf_counter()
    backend.predict(image)
    return time.perf_counter() - started


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "dpt-large"
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    shares = [float(share) for share in sys.argv[3:]] or [0.25, 0.5]
    print(f"{platform.machine()}, Python {platform.python_version()}, torch {version('torch')}, {rounds} rounds")
    image = np.random.default_rng(0).standard_normal((1, 3, SIDE, SIDE)).astype(np.float32)
    with TemporaryDirectory(prefix="dptkit-") as folder:
        sides = pruned_backends(name, shares, Path(folder))
    print(f"{name}, {SIDE}x{SIDE}, engine {sides[0][1].engine}, {sides[0][1].precision}", flush=True)
    for _, backend in sides:
        seconds(backend, image)
    times = []
    for _ in range(rounds):
        times.append([seconds(backend, image) for _, backend in sides])
        print("seconds:", " ".join(f"{one:.3f}" for one in times[-1]), flush=True)
    for k, (share, (spec, _)) in enumerate(zip((0.0, *shares), sides, strict=True)):
        cost, own = cost_of(spec, (SIDE, SIDE)), statistics.median(row[k] for row in times)
        ratio = statistics.median(row[0] / row[k] for row in times)
        print(
            f"{share:.0%} removed: {cost.parameters / 1e6:.1f} M parameters, {cost.flop / 1e9:.0f} GFLOP, "
            f"{own:.3f} s, {ratio:.2f} times as fast"
        )


if __name__ == "__main__":
    main()
