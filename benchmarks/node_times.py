"""What a network's time goes to on OpenVINO: shares by kind of node, and what a fixed size of picture would save.

Shares are of OpenVINO's own counters, each node's mean over all predictions, so that they hold on a busy machine too;
milliseconds do not. Weights are random unless the model is bundled: time does not depend on them.
Run: python benchmarks/node_times.py [--model dpt-lite] [--size 256] [--int8 FILE.xml] [--fixed] [--rounds 40]
--int8: a graph of `benchmarks/int8.py --keep` instead. --fixed: also against the same graph for this size only.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from dptkit.benchmarking.alternating import alternate
from dptkit.benchmarking.statistics import median_of_ratios
from dptkit.benchmarking.surroundings import surroundings
from dptkit.runtime.openvino_backend import compile_graph, precisions
from dptkit.runtime.openvino_import import openvino_core

KINDS = {
    "FullyConnected": "linear layers, with GELU",
    "Convolution": "convolutions",
    "ConvolutionBackpropData": "convolutions",
    "GroupConvolution": "depthwise convolutions",
    "Interpolate": "resizing",
    "MVN": "layer norms",
    "MulAdd": "layer norms",
    "Transpose": "transpositions, reorders, copies",
    "Reorder": "transpositions, reorders, copies",
    "VariadicSplit": "transpositions, reorders, copies",
    "Slice": "transpositions, reorders, copies",
    "Concat": "transpositions, reorders, copies",
    "Add": "additions",
}


def graph(model: str, int8: Path | None) -> Any:
    """openvino.Model for any size of picture."""
    if int8 is not None:
        return openvino_core().read_model(str(int8))
    import torch

    from dptkit.model.build import build_model
    from dptkit.presets import PRESETS
    from dptkit.runtime.conversion import to_openvino
    from dptkit.weights.load import load_model

    if model.startswith("dpt-lite"):
        return to_openvino(load_model(model).network)
    torch.manual_seed(0)
    return to_openvino(build_model(PRESETS[model].spec.model).eval())


def shares(request: Any) -> dict[str, float]:
    """Percent of the time by kind, from the counters of a request that ran."""
    found: dict[str, float] = defaultdict(float)
    for node in request.profiling_info:
        attention = "scaled_dot_product" in node.node_name and node.node_type == "Subgraph"
        kind = "attention: two products and softmax" if attention else KINDS.get(node.node_type, "the rest")
        found[kind] += node.real_time.total_seconds()
    whole = sum(found.values())
    return {kind: 100 * seconds / whole for kind, seconds in sorted(found.items(), key=lambda item: -item[1])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="dpt-lite")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--int8", type=Path, metavar="FILE.xml")
    parser.add_argument("--fixed", action="store_true")
    parser.add_argument("--rounds", type=int, default=40)
    asked = parser.parse_args()
    around, precision = surroundings(), precisions()[0]
    print(f"{around.machine}; {', '.join(f'{name} {number}' for name, number in around.versions.items())}")
    openvino_core().set_property("CPU", {"PERF_COUNT": "YES"})
    free = graph(asked.model, asked.int8)
    fixed = free.clone() if asked.fixed else None
    image = np.random.default_rng(0).standard_normal((1, 3, asked.size, asked.size)).astype(np.float32)
    sides = {"free": compile_graph(free, precision).create_infer_request()}
    if fixed is not None:
        fixed.reshape(list(image.shape))
        sides["fixed"] = compile_graph(fixed, precision).create_infer_request()
    seconds = alternate({name: lambda side=side: side.infer([image]) for name, side in sides.items()}, asked.rounds, 3)
    what = f"{asked.int8 or asked.model} {asked.size}x{asked.size}, the rest in {precision}"
    print(f"{what}: {1e3 * min(seconds['free']):.1f} ms at best of {asked.rounds}")
    for kind, share in shares(sides["free"]).items():
        print(f"{share:5.1f}%  {kind}")
    if "fixed" in sides:
        ratio = median_of_ratios(seconds["free"], seconds["fixed"])
        print(f"a graph for this size only: {ratio.value:.3g} times as fast ({ratio.low:.3g} to {ratio.high:.3g})")


if __name__ == "__main__":
    main()
