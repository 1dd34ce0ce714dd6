"""How fast the loader is against the step, and how long a run waits for data.

`python benchmarks/training_loader.py CONFIG [KEY=VALUE]...`, in the folder that the configuration's paths start from.
For each phase: images/s of the loader alone, of the step alone (on one batch, again and again), and of both together
as in training, with the share of time that the trainer waits for its next batch.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from dptkit.training.check import time_loader, time_step
from dptkit.training.config import read_config
from dptkit.training.loop import Trainer


def machine_name() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--steps", type=int, default=20, help="steps, and batches, measured per phase")
    asked = parser.parse_args()
    config = read_config(asked.config, asked.overrides)
    print(
        f"{machine_name()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before; "
        f"Python {platform.python_version()}, torch {version('torch')}, {torch.get_num_threads()} threads, "
        f"{config.workers} loader workers"
    )
    with TemporaryDirectory() as folder:
        trainer = Trainer(config, Path(folder))
        datasets = trainer.open_sources()
        trainer.build()
        batches = trainer.batches(datasets)
        print(f"{'crops':>12} {'batch':>5} {'loader/s':>9} {'step/s':>9} {'both/s':>9} {'waiting':>8}")
        for phase in config.phases:
            batch, loader = time_loader(batches.from_step(phase.start), asked.steps)
            time_step(trainer, batch, None, phase.start)  # sets up
            step = min(time_step(trainer, batch, None, phase.start)[0] for _ in range(3))
            waited, count, iterator = 0.0, 0, batches.from_step(phase.start)
            next(iterator)  # workers start
            started = time.perf_counter()
            for _ in range(asked.steps):
                asking = time.perf_counter()
                following = next(iterator, None)
                waited += time.perf_counter() - asking
                if following is None:
                    break
                time_step(trainer, following, None, phase.start)
                count += 1
            whole = time.perf_counter() - started
            rates = (phase.batch_size / loader, phase.batch_size / step, phase.batch_size * count / whole)
            columns = " ".join(f"{rate:9.1f}" for rate in rates)
            print(f"{phase!s:>12} {phase.batch_size:5} {columns} {waited / whole:8.1%}")


if __name__ == "__main__":
    main()
