"""The 16-bit PNG of a depth map, deflated by ISA-L and by zlib: processor time and size, in turn within one run.

The map is dpt-lite's of PICTURE, by default of one that is made, at the picture's size, scaled as `dpt depth` does.
Run: python benchmarks/deflate.py [PICTURE] [--rounds 20] [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from dptkit import load
from dptkit.benchmarking.pictures import make_picture
from dptkit.image_io.png_encode import encode_pixels
from pairing import Results, alternate, medians


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with TemporaryDirectory(prefix="dptkit-") as folder:
        values = load("dpt-lite").predict(asked.picture or make_picture(Path(folder) / "p.jpg")).values
    pixels = np.rint((values - values.min()) / np.ptp(values) * 65535).astype(np.uint16)
    installed = __import__("isal")
    sizes: dict[str, int] = {}

    def encode(name: str) -> None:
        sys.modules["isal"] = installed if name == "ISA-L" else None  # type: ignore[assignment]
        started = time.thread_time()
        sizes[name] = len(encode_pixels(pixels, (), "smooth"))
        seconds[name].append(time.thread_time() - started)

    seconds: dict[str, list[float]] = {"ISA-L": [], "zlib": []}
    alternate({name: lambda name=name: encode(name) for name in seconds}, asked.rounds)
    results = Results(asked.json)
    note = f"{medians(seconds, 'ISA-L', 'zlib')}; {sizes['ISA-L'] / sizes['zlib']:.3g} times the size"
    what = f"16-bit PNG of {pixels.shape[1]}x{pixels.shape[0]}, filtered and deflated: zlib's time over ISA-L's"
    results.ratio(what, seconds["zlib"], seconds["ISA-L"], note=note)
    results.write()


if __name__ == "__main__":
    main()
