"""dpt-lite on our engines, as `--size 256` has it, against the same network in eager torch float32, 256 x 256, batch 1.

Sides alternate within one run; a figure is the median of the rounds' ratios.
Run: python benchmarks/against_torch.py [--rounds 40] [--size 256] [--json FILE]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from dptkit.engines import open_model
from dptkit.runtime.torch_backend import TorchBackend
from dptkit.weights.load import load_model
from pairing import Results, alternate, medians

TARGET = 3.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="dpt-lite")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    default = open_model(options.model, device="cpu", size=options.size).backend
    float32 = open_model(options.model, engine="openvino", precision="float32", size=options.size).backend
    eager = TorchBackend(load_model(options.model).network, "cpu", "float32")
    image = np.random.default_rng(0).standard_normal((1, 3, options.size, options.size)).astype(np.float32)
    results = Results(options.json)
    sides = {"default": default, "float32": float32, "eager": eager}
    seconds = alternate(
        {name: lambda side=side: side.predict(image) for name, side in sides.items()}, options.rounds, 3
    )
    size = f"{options.model} {options.size}x{options.size}"
    for name, target in (("default", TARGET), ("float32", None)):
        side = sides[name]
        what = f"{size}, {side.engine} {side.precision} against torch float32"
        results.ratio(what, seconds["eager"], seconds[name], at_least=target, note=medians(seconds, name, "eager"))
    results.write()


if __name__ == "__main__":
    main()
