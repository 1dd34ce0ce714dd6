"""DPT-Large 384 x 384 in bfloat16 on a CUDA GPU, batches of 32 and 1, against transformers eager and matrix products.

Every side goes from a float32 array in the host's memory to another one, so transfers and waiting count on all. Both
networks load one file with random weights, which this script writes (1.4 GB) and removes. transformers is timed in both
layouts of its tensors, and the quicker one counts. Sides alternate within one run; a figure is the median of rounds'
ratios. The share of the matrix product rate is the network's own operations, counted by torch, over the time of a
prediction, against a large bfloat16 product beside it. "Two callers": two threads, one's transfers beside the other's
computing, as `dpt depth` and `predict_stream(workers=2)` do it.
Run: python benchmarks/gpu.py [--rounds 9] [--json FILE]. Where there is no GPU it says so and ends with 2.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from dptkit.engines import open_model
from dptkit.presets import find_preset
from dptkit.runtime.backend import Backend
from pairing import Results, alternate, median, median_of_ratios, medians

NAME, SIZE = "dpt-large", 384
TARGETS = {32: 2.0, 1: 3.0}
"""By batch, against transformers."""
SHARE = 45.0
"""Of the matrix product rate, in percent, at the largest batch."""
SIDE, PRODUCTS = 8192, 20
"""Of the square matrices, and how many products make one measurement: waiting for the last one must not count."""
WARM_UP = 3
"""Ours runs eagerly first, captures a graph next, and replays it from the third call on."""
IN_TURN = 8
"""Predictions of two callers in one measurement."""

Side = Callable[[], object]


def transformers_sides(path: Path, images: np.ndarray) -> tuple[dict[str, Side], np.ndarray]:
    """transformers in bfloat16, eager, by layout; and the first picture's depth in float32."""
    from safetensors.torch import load_file
    from transformers import DPTForDepthEstimation

    from against_transformers import peer_config

    def load(dtype: torch.dtype, layout: torch.memory_format) -> Callable[[np.ndarray], np.ndarray]:
        with torch.device("meta"):
            peer = DPTForDepthEstimation(peer_config("large"))
        peer.to_empty(device="cpu").load_state_dict(load_file(path), strict=True)
        peer = peer.eval().to("cuda", dtype).to(memory_format=layout)

        def predict(pictures: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                pixels = torch.from_numpy(pictures).to("cuda", dtype).contiguous(memory_format=layout)
                return peer(pixel_values=pixels).predicted_depth.float().cpu().numpy()

        return predict

    exact = load(torch.float32, torch.contiguous_format)(images[:1])
    plain, channels_last = (load(torch.bfloat16, layout) for layout in (torch.contiguous_format, torch.channels_last))
    return {
        "transformers": lambda: plain(images),
        "transformers channels-last": lambda: channels_last(images),
    }, exact


def product_side() -> tuple[Side, float]:
    """Large bfloat16 matrix products as a side, and their floating point operations."""
    left, right = (torch.randn(SIDE, SIDE, device="cuda", dtype=torch.bfloat16) for _ in range(2))

    def multiply() -> None:
        for _ in range(PRODUCTS):
            left @ right
        torch.cuda.synchronize()

    return multiply, PRODUCTS * 2.0 * SIDE**3


def write_weights(path: Path) -> None:
    """Random ones, in transformers' layout."""
    from safetensors.torch import save_file
    from transformers import DPTForDepthEstimation

    from against_transformers import peer_config

    torch.manual_seed(0)
    peer = DPTForDepthEstimation(peer_config("large"))
    torch.nn.init.ones_(peer.head.head[4].bias)  # off the last ReLU's zero
    save_file(peer.state_dict(), path)


def measure(batch: int, ours: Backend, path: Path, rounds: int, work: float, results: Results) -> None:
    """work: floating point operations of one picture."""
    images = np.random.default_rng(0).standard_normal((batch, 3, SIZE, SIZE), np.float32)
    theirs, exact = transformers_sides(path, images)
    product, product_operations = product_side()

    def two_callers() -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(ours.predict, [images] * IN_TURN))

    sides: dict[str, Side] = {"ours": lambda: ours.predict(images), "product": product, "two callers": two_callers}
    seconds = alternate({**sides, **theirs}, rounds, WARM_UP)
    what = f"{NAME} {SIZE}x{SIZE}, {ours.engine} {ours.precision} on {ours.device}, batch {batch}"
    difference = float(np.abs(ours.predict(images)[0] - exact[0]).max() / np.ptp(exact))
    print(f"{what}: differs from transformers float32 by {difference:.2g} of the range")
    quicker = min(theirs, key=lambda name: median(seconds[name]).value)
    results.ratio(
        f"{what} against transformers bfloat16 eager",
        seconds[quicker],
        seconds["ours"],
        at_least=TARGETS[batch],
        note=medians(seconds, "ours", *theirs),
    )
    each = [one / IN_TURN for one in seconds["two callers"]]
    rate = product_operations / median(seconds["product"]).value / 1e12
    for caller, taken, target in (
        ("", seconds["ours"], SHARE if batch == max(TARGETS) else None),
        (", two callers", each, None),
    ):
        share = 100 * batch * work / product_operations * median_of_ratios(seconds["product"], taken).value
        results.add(
            f"{what}{caller}: share of the bfloat16 matrix product rate",
            share,
            "%",
            at_least=target,
            note=f"{batch / median(taken).value:.1f} images/s; the product at {rate:.0f} TFLOP/s",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("no GPU here: torch sees no CUDA device", file=sys.stderr)
        sys.exit(2)
    # After the check: transformers takes seconds to import.
    from importlib.metadata import version

    from against_transformers import operations

    torch.cuda.init()  # the header names the GPU
    results = Results(options.json, {"transformers": version("transformers")})
    with TemporaryDirectory(prefix="dptkit-") as folder:
        path = Path(folder) / f"{NAME}.safetensors"
        write_weights(path)
        ours = open_model(NAME, path, engine="torch", device="cuda", precision="bfloat16").backend
        work = operations(find_preset(NAME).spec.model)
        for batch in TARGETS:
            measure(batch, ours, path, options.rounds, work, results)
    results.write()


if __name__ == "__main__":
    main()
