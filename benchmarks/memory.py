"""Peak memory of a process that predicts once, from a warm cache of compiled models, beside its weights' size.

Resident memory as the system counts it, shared libraries and mapped files included (Linux and macOS).
Run: python benchmarks/memory.py [--model dpt-large] [--weights FILE] [--size 384] [--json FILE]
Without published weights on this machine: --weights with a file of random ones; such a file is written, and removed,
if it is the word "random".
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from dptkit.presets import find_preset
from pairing import Results
from random_weights import random_weights

CODE = """
import sys
import numpy as np
from dptkit import load
model, weights, size = sys.argv[1], sys.argv[2] or None, int(sys.argv[3])
predictor = load(model, weights=weights, size=size, device="cpu")
predictor.predict(np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8))
print(predictor.provenance.engine, predictor.provenance.precision, "torch" in sys.modules)
if sys.platform == "linux":
    print(*(line for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def run(model: str, weights: str, size: int) -> tuple[int, str]:
    """(peak resident bytes, what the process says)."""
    command = [sys.executable, "-c", CODE, model, weights, str(size)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the prediction failed: exit code {process.returncode}")
    said, _, own = said.strip().partition("\n")
    # Linux counts what the parent held when it started the process into ru_maxrss, and here the parent may have written
    # weights; the process's own peak is without.
    peak = int(own.split()[1]) if own else usage.ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024), said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="dpt-large")
    parser.add_argument("--weights", default="")
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    preset = find_preset(options.model)
    with TemporaryDirectory(prefix="dptkit-") as folder:
        weights = options.weights
        if weights == "random":
            weights = str(random_weights(options.model, Path(folder)))
        first, _ = run(options.model, weights, options.size)  # converts, where nobody has
        peak, said = run(options.model, weights, options.size)
    engine, precision, with_torch = said.split()
    size = preset.parameters * BYTES[precision]
    limit = 1.3 * size + 300e6
    results = Results(options.json)
    results.add(
        f"{options.model}, {engine} {precision}: peak memory of a process that predicts once",
        peak / 1e6,
        "MB",
        at_most=limit / 1e6,
        note=f"weights {size / 1e6:.0f} MB; torch imported: {with_torch}; the run before, which converts if nothing "
        f"was kept: {first / 1e6:.0f} MB",
    )
    results.write()


if __name__ == "__main__":
    main()
