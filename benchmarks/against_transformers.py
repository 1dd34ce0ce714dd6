"""DPT-Large and DPT-Hybrid against transformers' DPTForDepthEstimation, 384 x 384, batch 1.

Both sides load one file with random weights, which this script writes (1.4 GB for DPT-Large) and removes. Sides
alternate within one run; a figure is the median of the rounds' ratios. The share of the matrix product rate is the
network's own operations, counted by torch, over the time of a prediction, against a large bfloat16 product in torch
between the predictions.
Run: python benchmarks/against_transformers.py [--only large|hybrid] [--rounds 11] [--json FILE]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.utils.flop_counter import FlopCounterMode
from transformers import BitConfig, DPTConfig, DPTForDepthEstimation

from dptkit.config import ModelConfig
from dptkit.engines import open_model
from dptkit.model.build import build_model
from dptkit.presets import find_preset
from pairing import Results, alternate, median, median_of_ratios, medians

SIZE = 384
TARGETS = {"large": {"float32": 3.8, "bfloat16": 1.4, "share": 85.0}, "hybrid": {"float32": 3.0}}
LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "neck_hidden_sizes": [256, 512, 1024, 1024],
    "backbone_out_indices": [5, 11, 17, 23],
}
HYBRID = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "neck_hidden_sizes": [256, 512, 768, 768],
    "backbone_out_indices": [0, 1, 8, 11],
    "is_hybrid": True,
    "backbone_featmap_shape": [1, 1024, 24, 24],
}


def peer_config(name: str) -> DPTConfig:
    """transformers' configuration of the published network (Intel/dpt-large, Intel/dpt-hybrid-midas)."""
    both: dict[str, Any] = {"image_size": SIZE, "readout_type": "project"}
    if name == "large":
        return DPTConfig(**both, **LARGE)
    stem = BitConfig(
        global_padding="same",
        layer_type="bottleneck",
        depths=[3, 4, 9],
        out_features=["stage1", "stage2", "stage3"],
        embedding_dynamic_padding=True,
    )
    return DPTConfig(**both, **HYBRID, backbone_config=stem)


def operations(config: ModelConfig) -> float:
    """Floating point operations of one prediction; a multiplication with its addition is two."""
    with torch.device("meta"):
        network, image = build_model(config).eval(), torch.empty(1, 3, SIZE, SIZE)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(image)
    return float(counter.get_total_flops())


def peer_side(config: DPTConfig, path: Path, dtype: torch.dtype, image: np.ndarray) -> Callable[[], object]:
    """transformers' prediction: eager; in bfloat16 with channels last, which is its quicker layout there."""
    with torch.device("meta"):
        peer = DPTForDepthEstimation(config)
    peer.to_empty(device="cpu").load_state_dict(load_file(path), strict=True)
    peer = peer.eval().to(dtype)
    pixels = torch.from_numpy(image).to(dtype)
    if dtype is torch.bfloat16:
        peer, pixels = peer.to(memory_format=torch.channels_last), pixels.to(memory_format=torch.channels_last)

    def predict() -> object:
        with torch.inference_mode():
            return peer(pixel_values=pixels).predicted_depth.float().numpy()

    return predict


def compare(name: str, rounds: int, results: Results, folder: Path) -> None:
    config, preset = peer_config(name), find_preset(f"dpt-{name}")
    path = folder / f"dpt-{name}.safetensors"
    torch.manual_seed(0)
    peer = DPTForDepthEstimation(config)
    torch.nn.init.ones_(peer.head.head[4].bias)  # off the last ReLU's zero
    save_file(peer.state_dict(), path)
    del peer
    image = np.random.default_rng(0).standard_normal((1, 3, SIZE, SIZE)).astype(np.float32)
    float32 = peer_side(config, path, torch.float32, image)
    bfloat16 = peer_side(config, path, torch.bfloat16, image)
    ours = open_model(preset.name, path, device="cpu").backend
    wanted, found = np.asarray(float32()), ours.predict(image)[:, 0]
    difference = float(np.abs(found - wanted).max() / np.ptp(wanted))
    product, product_operations = product_rate(torch.bfloat16)
    sides = {
        "ours": lambda: ours.predict(image),
        "product": product,
        "ours again": lambda: ours.predict(image),
        "transformers bfloat16": bfloat16,
        "transformers float32": float32,
    }
    seconds = alternate(sides, rounds)
    engine = f"{preset.name} {SIZE}x{SIZE}, {ours.engine} {ours.precision}"
    print(f"{engine}: differs from transformers float32 by {difference:.2g} of the range")
    targets = TARGETS[name]
    for precision in ("float32", "bfloat16"):
        peer = f"transformers {precision}"
        results.ratio(
            f"{engine} against {peer}",
            seconds[peer],
            seconds["ours"],
            at_least=targets.get(precision),
            note=medians(seconds, "ours", peer),
        )
    # The product runs between two predictions, so that what the machine does meanwhile meets both.
    mean = [(before + after) / 2 for before, after in zip(seconds["ours"], seconds["ours again"], strict=True)]
    work = operations(preset.spec.model)
    results.add(
        f"{engine}, {work / 1e9:.0f} GFLOP: share of the bfloat16 matrix product rate",
        100 * work / product_operations * median_of_ratios(seconds["product"], mean).value,
        "%",
        at_least=targets.get("share"),
        note=f"the product at {product_operations / median(seconds['product']).value / 1e9:.0f} GFLOP/s",
    )


def product_rate(dtype: torch.dtype) -> tuple[Callable[[], object], float]:
    """A large matrix product as a side, and its floating point operations: 2048 x 4096 by 4096 x 4096."""
    left, right = torch.randn(2048, 4096).to(dtype), torch.randn(4096, 4096).to(dtype)
    return lambda: left @ right.t(), 2.0 * 2048 * 4096 * 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=list(TARGETS), help="this network; both if not given")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = Results(options.json, {"transformers": version("transformers")})
    with TemporaryDirectory(prefix="dptkit-") as folder:
        for name in [options.only] if options.only else TARGETS:
            compare(name, options.rounds, results, Path(folder))
    results.write()


if __name__ == "__main__":
    main()
