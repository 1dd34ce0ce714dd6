"""DPT-Large in int8 against transformers' default (eager float32), one picture of 384x384, alternating in one run.

Random weights: time does not depend on them. Run: python benchmarks/int8.py [--model dpt-large] [--rounds 5]
Quantising takes minutes; --keep FILE.xml keeps the quantised graph for another run.
"""

from __future__ import annotations

import argparse
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from transformers import DPTForDepthEstimation

from against_transformers import peer_config
from dptkit.model.build import build_model
from dptkit.presets import PRESETS
from dptkit.runtime.conversion import to_openvino
from dptkit.runtime.openvino_backend import OpenVINOBackend, compile_graph, precisions
from dptkit.runtime.openvino_import import import_openvino, openvino_core
from dptkit.runtime.quantize_openvino import quantize_openvino
from pairing import Results, alternate, medians

STRIDE = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="dpt-large", choices=("dpt-large", "dpt-hybrid"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rest = precisions()[0]
    ours = OpenVINOBackend(compile_graph(_quantized(options.model, options.keep), rest), rest, STRIDE)
    theirs = DPTForDepthEstimation(peer_config(options.model.removeprefix("dpt-"))).eval()
    picture = np.random.default_rng(0).standard_normal((1, 3, 384, 384)).astype(np.float32)
    tensor = torch.from_numpy(picture)
    results = Results(options.json, {name: version(name) for name in ("transformers", "nncf")})

    def eager() -> None:
        with torch.inference_mode():
            theirs(tensor)

    seconds = alternate({"int8": lambda: ours.predict(picture), "transformers": eager}, options.rounds)
    results.ratio(
        f"{options.model} 384x384 in int8, the rest in {rest}, against transformers float32",
        seconds["transformers"],
        seconds["int8"],
        at_least=6,
        note=medians(seconds, "int8", "transformers"),
    )
    results.write()


def _quantized(model: str, kept: Path | None) -> object:
    openvino = import_openvino()
    if kept is not None and kept.is_file():
        return openvino_core().read_model(str(kept))
    torch.manual_seed(0)
    graph = to_openvino(build_model(PRESETS[model].spec.model).eval())
    # Ranges do not change the time, so a small picture does.
    inputs = [np.random.default_rng(0).standard_normal((1, 3, 64, 96)).astype(np.float32)]
    quantized = quantize_openvino(graph, inputs, ("encoder.stem.conv", "encoder.patch_embedding"))
    if kept is not None:
        openvino.save_model(quantized, str(kept), compress_to_fp16=False)
    return quantized


if __name__ == "__main__":
    main()
