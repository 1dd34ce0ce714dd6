"""What lower precision costs dpt-lite in accuracy: `dpt eval` in float32, in bfloat16, and of an int8 file.

The figure is the difference in δ1, in points (percent of pixels), over the same pictures, with the 95% interval of the
bootstrap over pictures. Run: python benchmarks/accuracy_of_precisions.py DATA [INT8_FILE] [--protocol folder]
[--model dpt-lite] [--limit N] [--json FILE]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from dptkit.evaluation.pairing import paired_differences, pictures_in_common
from dptkit.evaluation.result import EvaluationResult, read_result
from pairing import Results

SAMPLES, SEED = 2000, 0
METRIC, SHOWN = "delta1", "δ1"
AT_MOST = {"bfloat16": 0.2, "int8": 0.7}


def score(model: str, precision: str, options: argparse.Namespace, out: Path) -> EvaluationResult:
    """Ends the script with the message of `dpt eval` where that fails."""
    words = [sys.executable, "-m", "dptkit.cli.main", "eval", "--data", str(options.data), "--model", model]
    words += ["--protocol", options.protocol, "--precision", precision, "--json", str(out)]
    if options.limit is not None:
        words += ["--limit", str(options.limit)]
    done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        sys.exit(lines[-1] if lines else f"dpt eval ended with {done.returncode}")
    return read_result(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("int8", type=Path, nargs="?")
    parser.add_argument("--protocol", default="folder")
    parser.add_argument("--model", default="dpt-lite")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = Results(options.json)
    sides = {"bfloat16": (options.model, "bfloat16")}
    if options.int8 is not None:
        sides["int8"] = (str(options.int8), "auto")
    with TemporaryDirectory(prefix="dptkit-") as folder:
        reference = score(options.model, "float32", options, Path(folder) / "float32.json")
        for name, (model, precision) in sides.items():
            lower = score(model, precision, options, Path(folder) / f"{name}.json")
            left, right = pictures_in_common([reference, lower])
            protocols = (reference.protocol, lower.protocol)
            found = paired_differences(left, right, protocols, samples=SAMPLES, seed=SEED)[delta1_of(reference)]
            if found.difference is None:
                sys.exit(f"no {METRIC} for {name}")
            interval = None if found.low is None or found.high is None else (-100 * found.high, -100 * found.low)
            results.add(
                f"{options.model}, {SHOWN} given up by {name}, {len(left)} pictures",
                -100 * found.difference,
                "points",
                at_most=AT_MOST[name],
                interval=interval,
                note=f"{SHOWN} {found.left:.4f} in float32, {found.right:.4f}",
            )
    results.write()


def delta1_of(result: EvaluationResult) -> str:
    if METRIC not in result.summary:
        sys.exit(f"protocol {result.protocol.name} has no {METRIC}: it has {', '.join(result.summary)}")
    return METRIC


if __name__ == "__main__":
    main()
