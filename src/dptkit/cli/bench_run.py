"""The run of `dpt bench`: load the settings, measure, print what there is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import typer
from rich.console import Console
from rich.status import Status

from dptkit.benchmarking.bench import Bench, Measured
from dptkit.benchmarking.pictures import batches_of, make_picture, pictures_in
from dptkit.benchmarking.surroundings import surroundings
from dptkit.benchmarking.tables import tables_of
from dptkit.cli.eval_screen import print_table
from dptkit.cli.options import check_choice
from dptkit.cli.progress import DownloadBar
from dptkit.errors import ConfigError
from dptkit.image_io.atomic import write_bytes
from dptkit.image_io.names import printable
from dptkit.predictor import load
from dptkit.presets import find_preset
from dptkit.runtime.backend import ENGINE_CHOICES, PRECISION_CHOICES
from dptkit.weights.published import model_file


@dataclass(frozen=True)
class BenchRun:
    """One call of the verb. settings: (engine, precision), the first one is compared with each other."""

    model: str
    settings: list[tuple[Any, Any]]
    device: str
    size: int | None
    batch: int
    images: Path | None
    runs: int | None
    seconds: float | None
    json: Path | None

    def start(self) -> bool:
        """Returns whether it was interrupted. Raises DptkitError for what cannot be measured."""
        for number, (engine, precision) in enumerate(self.settings):
            check_choice(engine, ENGINE_CHOICES, "--compare" if number else "--engine")
            check_choice(precision, PRECISION_CHOICES, "--compare" if number else "--precision")
        if model_file(self.model) is None:
            find_preset(self.model)
        paths = None if self.images is None else pictures_in(self.images)
        with TemporaryDirectory(prefix="dptkit-") as temporary:
            folder = Path(temporary)
            with _Screen() as screen:
                screen.say("loading")
                settings = self._load()
                config = next(iter(settings.values())).predictor.spec.preprocess
                batches = batches_of(paths or [make_picture(folder / "picture.jpg")], self.batch, config)
                bench = Bench(self.model, settings, batches, self.size, surroundings())
                if bench.around.warning:
                    screen.warn(bench.around.warning)
                try:
                    bench.measure(folder, self.runs, self.seconds, screen.say)
                except KeyboardInterrupt:
                    screen.stop()
                    measured = any(one.timings for one in settings.values())
                    what = "what was measured so far follows" if measured else "nothing was measured yet"
                    typer.echo(f"dpt: interrupted; {what}", err=True)
        for table in tables_of(bench):
            print_table(table)
            typer.echo()
        if self.json is not None:
            write_bytes(self.json, (json.dumps(bench.to_json(), indent=1) + "\n").encode())
        return not bench.finished

    def _load(self) -> dict[str, Measured]:
        loaded: dict[str, Measured] = {}
        for engine, precision in self.settings:
            bar = DownloadBar(self.model)
            try:
                predictor = load(
                    self.model, engine=engine, device=self.device, precision=precision, size=self.size, progress=bar
                )
            finally:
                bar.close()
            label = f"{predictor.backend.engine}:{predictor.backend.precision}"
            if label in loaded:
                raise ConfigError(f"--compare: {label} is among the settings twice")
            loaded[label] = Measured(label, predictor)
        return loaded


class _Screen:
    """What happens, on a terminal only; standard output is for the tables."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._status: Status | None = console.status("") if console.is_terminal else None

    def __enter__(self) -> _Screen:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self._status is not None:
            self._status.stop()

    def say(self, what: str) -> None:
        if self._status is not None:
            self._status.update(printable(what))

    def warn(self, what: str) -> None:
        typer.echo(f"dpt: warning: {what}", err=True)
