"""A network with merged tokens against the same without, on one engine, alternating in one run.

Weights are random, made here and kept in FOLDER with the compiled models, so that a second run only measures.
Run: python benchmarks/token_merging.py FOLDER [--model dpt-large] [--size 384 384] [--ratio 0.4 ...] [--rounds 9]
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

from dptkit.engines import open_model
from dptkit.runtime.backend import Backend
from pairing import Results, alternate, medians
from random_weights import random_weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="dpt-large")
    parser.add_argument("--size", type=int, nargs=2, default=(384, 384), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--ratio", type=float, nargs="+", default=[0.4])
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    os.environ.setdefault("DPTKIT_COMPILED_CACHE", str(asked.folder / "compiled"))
    weights = random_weights(asked.model, asked.folder)

    def backend_at(ratio: float) -> Backend:
        return open_model(weights, engine=asked.engine, precision=asked.precision, token_merge=ratio).backend

    images = np.random.default_rng(0).standard_normal((asked.batch, 3, *asked.size), np.float32)
    whole = backend_at(0)
    results = Results(asked.json)
    for ratio in asked.ratio:
        merged = backend_at(ratio)
        taken = alternate(
            {"whole": lambda: whole.predict(images), "merged": lambda merged=merged: merged.predict(images)},
            asked.rounds,
        )
        results.ratio(
            f"{asked.model} {asked.size[0]}x{asked.size[1]}, {whole.engine} {whole.precision}, batch {asked.batch}: "
            f"tokens merged at ratio {ratio:g}, against none",
            taken["whole"],
            taken["merged"],
            at_least=1.3 if ratio == 0.4 and asked.model == "dpt-large" else None,
            note=medians(taken, "merged", "whole"),
        )
        del merged
    results.write()


if __name__ == "__main__":
    main()
