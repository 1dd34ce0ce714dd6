"""What a network's time goes to on OpenVINO: shares by kind of node, and what a fixed size of picture would save.

Shares are of OpenVINO's own counters, each node's mean over all predictions, so that they hold on a busy machine too;
milliseconds do not. Weights are random unless the model is bundled: time does not depend on them.
Run: python benchmarks/node_times.py [--model dpt-lite] [--size 256] [--batch 1] [--rounds 40]
[--int8 FILE.xml] [--fixed]
--int8: a quantised graph instead, of `benchmarks/int8.py --keep` or `dpt quantize`. --fixed: also against the same
graph for this size only, which takes the pictures of a batch one by one; and what compiling it takes.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dptkit.benchmarking.alternating import alternate
from dptkit.benchmarking.statistics import median_of_ratios
from dptkit.benchmarking.surroundings import surroundings
from dptkit.runtime.backend import Precision
from dptkit.runtime.openvino_backend import compile_graph, precisions
from dptkit.runtime.openvino_import import openvino_core

WARM_UP = 3
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


class Side:
    """A graph whose predictions are timed by the processor, too."""

    def __init__(self, model: Any, precision: Precision) -> None:
        started = time.process_time()
        self.request = compile_graph(model, precision).create_infer_request()
        self.compiled_s = time.process_time() - started
        self.processor_s: list[float] = []

    def predict(self, *pictures: Any) -> None:
        started = time.process_time()
        for picture in pictures:
            self.request.infer([picture])
        self.processor_s.append(time.process_time() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="dpt-lite")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--int8", type=Path, metavar="FILE.xml")
    parser.add_argument("--fixed", action="store_true")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=40)
    asked = parser.parse_args()
    around, precision = surroundings(), precisions()[0]
    print(f"{around.machine}; {', '.join(f'{name} {number}' for name, number in around.versions.items())}")
    openvino_core().set_property("CPU", {"PERF_COUNT": "YES"})
    model = graph(asked.model, asked.int8)
    for_one = model.clone()
    for_one.reshape([1, 3, asked.size, asked.size])
    images = np.random.default_rng(0).standard_normal((asked.batch, 3, asked.size, asked.size)).astype(np.float32)
    free = Side(model, precision)
    sides: dict[str, Callable[[], object]] = {"free": lambda: free.predict(images)}
    if asked.fixed:
        fixed = Side(for_one, precision)
        sides["fixed"] = lambda: fixed.predict(*images[:, None])
    seconds = alternate(sides, asked.rounds, WARM_UP)
    what = f"{asked.int8 or asked.model} {asked.batch}x3x{asked.size}x{asked.size}, the rest in {precision}"
    print(f"{what}: {1e3 * min(seconds['free']):.1f} ms at best of {asked.rounds}")
    for kind, share in shares(free.request).items():
        print(f"{share:5.1f}%  {kind}")
    if asked.fixed:
        wall = median_of_ratios(seconds["free"], seconds["fixed"])
        processor = median_of_ratios(free.processor_s[WARM_UP:], fixed.processor_s[WARM_UP:])
        for of, ratio in (("wall", wall), ("processor", processor)):
            print(f"a graph for this size only, by {of} time: {ratio.value:.3g} times as fast", end=" ")
            print(f"({ratio.low:.3g} to {ratio.high:.3g})")
        print(f"compiling it takes {fixed.compiled_s:.1f} s of processor time")


if __name__ == "__main__":
    main()
