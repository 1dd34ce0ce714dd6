"""How long `dpt --version`, `dpt --help` and `dpt depth` of one picture take beside `python -c "import torch"`.

Whole processes, in turn within one run; a figure is the median of the ratios. `dpt depth` finds its model compiled.
Run: python benchmarks/startup.py [--rounds 9] [--json FILE]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from dptkit.benchmarking.pictures import make_picture
from pairing import Results, alternate

DPT = str(Path(sys.executable).with_name("dpt"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = Results(options.json)
    with TemporaryDirectory(prefix="dptkit-") as folder:
        picture = str(make_picture(Path(folder) / "picture.jpg"))
        commands = {
            "import torch": [sys.executable, "-c", "import torch"],
            "dpt --version": [DPT, "--version"],
            "dpt --help": [DPT, "--help"],
            "dpt depth picture.jpg": [DPT, "depth", picture, "--output", folder],
        }

        def side(words: list[str]) -> None:
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        sides = {name: lambda words=words: side(words) for name, words in commands.items()}
        seconds = alternate(sides, options.rounds)
    baseline = seconds.pop("import torch")
    for name, taken in seconds.items():
        at_most = 1.0 if "depth" in name else None
        note = f"{1e3 * sorted(taken)[len(taken) // 2]:.0f} ms"
        results.ratio(f"`{name}` against `import torch`, wall time", taken, baseline, at_most=at_most, note=note)
    results.write()


if __name__ == "__main__":
    main()
