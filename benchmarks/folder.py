"""How many pictures a second `dpt depth FOLDER` does, from JPEG to written PNG, beside the model alone.

The folder holds COUNT 640x480 JPEGs, made from the pictures in PHOTOS, or of smooth noise without it. Sides:
the bare model (`backend.predict` on tensors that are ready, by the engine's own threads); the same with as many
predictions side by side as the command uses; and the command in this process, the model loaded before the clock starts.
They alternate within one run; a figure is the median of the ratios to the quicker bare model of its round. Processor
time, of all threads together, tells what a picture costs beside the model, also on a machine that has other work.
A last line gives the command as a process, by the difference of two folders, so that starting cancels out.

Run: python benchmarks/folder.py [PHOTOS] [--model dpt-lite] [--count 200] [--rounds 5] [--format png16]
--random FOLDER: with random weights, made once and kept there with the compiled model. --in-process: no last line.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dptkit import Predictor, load
from dptkit.cli import loading
from dptkit.cli.main import app
from dptkit.image_io import read_image
from dptkit.preprocess import preprocess
from pairing import Results, median
from random_weights import random_weights

SIZE = (640, 480)


def make_folder(folder: Path, count: int, photos: Path | None) -> Path:
    """`count` JPEGs of quality 90: photographs, cut and turned differently each time, or noise on a gradient."""
    folder.mkdir()
    paths = sorted(path for path in photos.iterdir() if path.suffix == ".jpg") if photos else []
    sources = [_reduced(path) for path in paths[:count]]
    for number in range(count):
        rng = np.random.default_rng(number)
        if sources:
            photo = sources[number % len(sources)]
            width, height = photo.size
            left, top = int(rng.integers(0, width // 5)), int(rng.integers(0, height // 5))
            picture = photo.crop((left, top, left + width * 4 // 5, top + height * 4 // 5)).resize(SIZE)
        else:
            small = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
            smooth = np.asarray(small.resize(SIZE, Image.Resampling.BICUBIC), np.float64)
            slope = np.linspace(0.4, 1, SIZE[1])[:, None, None]
            noisy = smooth * slope + rng.normal(0, 6, smooth.shape)
            picture = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
        picture.save(folder / f"{number:05}.jpg", quality=90)
    return folder


def _reduced(path: Path) -> Image.Image:
    with Image.open(path) as opened:
        opened.draft("RGB", (2 * SIZE[0], 2 * SIZE[1]))  # large photographs take long to cut again and again
        return opened.convert("RGB")


@dataclass(frozen=True)
class Speed:
    """pictures: a second. processor_ms: of all cores together, a picture."""

    pictures: float
    processor_ms: float


def timed(work: Callable[[], object], count: int) -> Speed:
    started, computed = time.perf_counter(), time.process_time()
    work()
    seconds, processor = time.perf_counter() - started, time.process_time() - computed
    return Speed(count / seconds, 1e3 * processor / count)


def bare(predictor: Predictor, tensors: list[np.ndarray], threads: int) -> Speed:
    """Through the engine alone, asked by `threads` threads."""
    waiting = iter(tensors)
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                tensor = next(waiting, None)
            if tensor is None:
                return
            predictor.backend.predict(tensor)

    def all_work() -> None:
        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    return timed(all_work, len(tensors))


def command(folder: Path, options: list[str], predictor: Predictor | None = None) -> Speed:
    """Of the command in this process, with the model at hand."""
    count = len(list(folder.iterdir()))
    with tempfile.TemporaryDirectory() as out:
        loading.load = lambda *_, **__: predictor  # type: ignore[assignment]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            line = ["depth", str(folder), "-o", out, *options]
            speed = timed(lambda: app(line, standalone_mode=False), count)
        assert len(list(Path(out).iterdir())) >= count
        return speed


def process_seconds(folder: Path, options: list[str]) -> float:
    with tempfile.TemporaryDirectory() as out:
        line = [sys.executable, "-m", "dptkit.cli.main", "depth", str(folder), "-o", out, *options]
        started = time.perf_counter()
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="?")
    parser.add_argument("--model", default="dpt-lite")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--format", default="png16")
    parser.add_argument("--streams", type=int, default=len(os.sched_getaffinity(0)), help="as the command chooses them")
    parser.add_argument("--random", type=Path, metavar="FOLDER")
    parser.add_argument("--in-process", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    model = arguments.model
    if arguments.random is not None:
        model = str(random_weights(model, arguments.random))
        os.environ.setdefault("DPTKIT_COMPILED_CACHE", str(arguments.random / "compiled"))
    options = ["--model", model, "--format", arguments.format]
    single, several = load(model), load(model, streams=arguments.streams)
    computing = f"{several.backend.engine} {several.backend.precision}"
    name = f"{arguments.model}, {arguments.count} JPEGs of 640x480 to {arguments.format}, {computing}"
    results = Results(arguments.json, {"streams": arguments.streams})
    with tempfile.TemporaryDirectory() as scratch:
        folder = make_folder(Path(scratch) / "in", arguments.count, arguments.photos)
        few = Path(scratch) / "few"
        few.mkdir()
        for path in sorted(folder.iterdir())[: max(arguments.count // 10, 2)]:
            (few / path.name).symlink_to(path)
        images = [read_image(path) for path in sorted(folder.iterdir())]
        tensors = [preprocess(image, single.spec.preprocess)[None] for image in images]
        del images
        for predictor in (single, several):
            bare(predictor, tensors[:8], arguments.streams)  # memory taken, caches warm
        command(few, options, several)
        wholes, quicker = [], []
        for _ in range(arguments.rounds):
            sides = bare(single, tensors, 1), bare(several, tensors, arguments.streams)
            wholes.append(command(folder, options, several))
            quicker.append(max(sides, key=lambda side: side.pictures))
        rates, bare_rates = ([side.pictures for side in of] for of in (wholes, quicker))
        results.add(name, median(rates), "images/s", at_least={"dpt-lite": 40}.get(arguments.model))
        results.ratio(
            f"{name}: against the bare model's rate",
            rates,
            bare_rates,
            at_least={"dpt-lite": 0.9, "dpt-large": 0.98}.get(arguments.model),
            note=f"bare {median(bare_rates).value:.3g} images/s",
        )
        beside = [whole.processor_ms - alone.processor_ms for whole, alone in zip(wholes, quicker, strict=True)]
        alone = median([side.processor_ms for side in quicker]).value
        what = f"{name}: processor time a picture beside the bare model's"
        results.add(what, median(beside), "ms", note=f"bare {alone:.1f} ms")
        if not arguments.in_process:
            least, most = process_seconds(few, options), process_seconds(folder, options)
            more = len(tensors) - len(list(few.iterdir()))
            results.add(f"{name}, as a process, without its start", more / (most - least), "images/s")
    results.write()


if __name__ == "__main__":
    main()
