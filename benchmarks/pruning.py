"""How much faster a pruned network is than the unpruned one, on the default engine. Random weights: speed only.

Sides alternate within one run; the figure is the median of the ratios. Run:
python benchmarks/pruning.py [--model dpt-large] [--rounds 5] [--share 0.25 0.5] [--json FILE]
"""

from __future__ import annotations

import argparse
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
from pairing import Results, alternate, medians

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="dpt-large")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--share", type=float, nargs="+", default=[0.25, 0.5])
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    results = Results(asked.json)
    image = np.random.default_rng(0).standard_normal((1, 3, SIDE, SIDE)).astype(np.float32)
    with TemporaryDirectory(prefix="dptkit-") as folder:
        sides = dict(zip((0.0, *asked.share), pruned_backends(asked.model, asked.share, Path(folder)), strict=True))
    taken = alternate(
        {f"{share:.0%}": lambda backend=backend: backend.predict(image) for share, (_, backend) in sides.items()},
        asked.rounds,
    )
    for share in asked.share:
        spec, backend = sides[share]
        cost = cost_of(spec, (SIDE, SIDE))
        results.ratio(
            f"{asked.model} {SIDE}x{SIDE}, {backend.engine} {backend.precision}: {share:.0%} of heads and neurons "
            "removed, against none",
            taken["0%"],
            taken[f"{share:.0%}"],
            note=f"{cost.parameters / 1e6:.1f} M parameters, {cost.flop / 1e9:.0f} GFLOP; "
            + medians(taken, f"{share:.0%}", "0%"),
        )
    results.write()


if __name__ == "__main__":
    main()
