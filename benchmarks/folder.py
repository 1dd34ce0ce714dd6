"""How many pictures a second `dpt depth FOLDER` does, from JPEG to written PNG, beside the model alone.

The folder holds COUNT 640x480 JPEGs, made from the pictures in PHOTOS, or of smooth noise without it. Sides:
the bare model (`backend.predict` on tensors that are ready, by the engine's own threads); the same with as many
predictions side by side as the command uses; and the command in this process, the model loaded before the clock starts.
They alternate within one run; a figure is the median of the ratios to the quicker bare model of its round.
A last line gives the command as a process, by the difference of two folders, so that starting cancels out.

Run: python benchmarks/folder.py [PHOTOS] [--model dpt-lite] [--count 200] [--rounds 5] [--format png16]
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
from pathlib import Path

import numpy as np
from PIL import Image

from dptkit import Predictor, load
from dptkit.cli import loading
from dptkit.cli.main import app
from dptkit.image_io import read_image
from dptkit.preprocess import preprocess
from pairing import Results, median

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


def bare(predictor: Predictor, tensors: list[np.ndarray], threads: int) -> float:
    """Pictures a second through the engine alone, asked by `threads` threads."""
    waiting = iter(tensors)
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                tensor = next(waiting, None)
            if tensor is None:
                return
            predictor.backend.predict(tensor)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    started = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return len(tensors) / (time.perf_counter() - started)


def command(folder: Path, options: list[str], predictor: Predictor | None = None) -> float:
    """Pictures a second of the command in this process, with the model at hand."""
    with tempfile.TemporaryDirectory() as out:
        loading.load = lambda *_, **__: predictor  # type: ignore[assignment]
        started = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            app(["depth", str(folder), "-o", out, *options], standalone_mode=False)
        seconds = time.perf_counter() - started
        count = len(list(folder.iterdir()))
        assert len(list(Path(out).iterdir())) >= count
        return count / seconds


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
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    options = ["--model", arguments.model, "--format", arguments.format]
    single, several = load(arguments.model), load(arguments.model, streams=arguments.streams)
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
            quicker.append(max(sides))
        lite = arguments.model == "dpt-lite"
        results.add(name, median(wholes), "images/s", at_least=40 if lite else None)
        results.ratio(
            f"{name}: against the bare model's rate",
            wholes,
            quicker,
            at_least={"dpt-lite": 0.9, "dpt-large": 0.98}.get(arguments.model),
            note=f"bare {median(quicker).value:.1f} images/s",
        )
        least, most = process_seconds(few, options), process_seconds(folder, options)
        more = len(tensors) - len(list(few.iterdir()))
        results.add(f"{name}, as a process, without its start", more / (most - least), "images/s")
    results.write()


if __name__ == "__main__":
    main()
