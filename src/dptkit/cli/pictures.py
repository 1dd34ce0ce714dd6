"""The loop that `dpt depth` and `dpt segment` share: read, predict, write; one picture's failure is not the end."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import typer

from dptkit.cli.inputs import BadInput, Input, find_inputs
from dptkit.cli.progress import picture_bar
from dptkit.errors import DptkitError, ImageReadError
from dptkit.image_io import read_image
from dptkit.image_io.names import printable
from dptkit.outputs import DepthMap, SegmentationMap
from dptkit.predictor import Predictor

Picture = npt.NDArray[np.uint8]
Result = DepthMap | SegmentationMap

WriteResult = Callable[[Path, Picture, Result], dict[str, Any]]
"""(path without suffix, picture, result) -> what to report, with "outputs": the files written, by format."""


@dataclass
class _Counts:
    done: int = 0
    failed: int = 0
    skipped: int = 0


@dataclass(frozen=True)
class PictureRun:
    """One call of a verb. `suffixes`: endings of the files it writes, by which --skip-existing looks."""

    arguments: Sequence[str]
    output: Path
    suffixes: Sequence[str]
    write: WriteResult
    batch_size: int
    recursive: bool
    skip_existing: bool
    fail_fast: bool
    as_json: bool
    scores: bool = False
    _counts: _Counts = field(default_factory=_Counts)

    def start(self, load: Callable[[], Predictor]) -> int:
        """Run over all pictures. Returns the exit code: 0 if all went well, 1 if any failed.

        The model is loaded when the first picture needs it. Ctrl-C passes through, after a summary; results
        written so far are whole.
        """
        total = sum(1 for _ in find_inputs(self.arguments, self.recursive))
        try:
            with picture_bar(total) as advance:
                self._run(load, advance)
        finally:
            self._summarise(total)
        return 1 if self._counts.failed else 0

    def _run(self, load: Callable[[], Predictor], advance: Callable[[], None]) -> None:
        predictor: Predictor | None = None
        wanted = self._wanted(advance)
        while batch := list(islice(wanted, self.batch_size)):
            pictures: list[tuple[Input, Picture]] = []
            predictor = predictor or load()
            for entry in batch:
                try:
                    pictures.append((entry, self._read(entry, predictor)))
                except (DptkitError, MemoryError) as error:
                    self._fail(entry.name, error, advance)
            self._predict(predictor, pictures, advance)

    def _wanted(self, advance: Callable[[], None]) -> Iterator[Input]:
        for entry in find_inputs(self.arguments, self.recursive):
            if self._stopped():
                return
            if isinstance(entry, BadInput):
                self._fail(entry.name, ImageReadError(f"{printable(entry.name)}: {entry.problem}"), advance)
            elif self.skip_existing and all(self._file(entry, suffix).is_file() for suffix in self.suffixes):
                self._counts.skipped += 1
                self._report({"input": printable(entry.name), "skipped": True}, f"{printable(entry.name)}: skipped")
                advance()
            else:
                yield entry

    def _read(self, entry: Input, predictor: Predictor) -> Picture:
        source = sys.stdin.buffer if entry.path is None else entry.path
        return read_image(source, background=predictor.background)

    def _predict(
        self, predictor: Predictor, pictures: list[tuple[Input, Picture]], advance: Callable[[], None]
    ) -> None:
        if not pictures or self._stopped():
            return
        started = time.perf_counter()
        try:
            results = predictor.predict_batch([picture for _, picture in pictures], scores=self.scores)
        except (DptkitError, MemoryError, RuntimeError) as error:
            if len(pictures) > 1:
                for single in pictures:  # find the picture that is to blame
                    self._predict(predictor, [single], advance)
            else:
                name = pictures[0][0].name
                self._fail(name, type(error)(f"{printable(name)}: {_first_line(error)}"), advance)
            return
        seconds = (time.perf_counter() - started) / len(pictures)
        for (entry, picture), result in zip(pictures, results, strict=True):
            if not self._stopped():
                self._write(entry, picture, result, seconds, advance)

    def _write(
        self, entry: Input, picture: Picture, result: Result, seconds: float, advance: Callable[[], None]
    ) -> None:
        try:
            report = self.write(self._file(entry, ""), picture, result)
        except (DptkitError, MemoryError) as error:
            self._fail(entry.name, error, advance)
            return
        self._counts.done += 1
        height, width = result.size
        origin = result.provenance
        name = printable(entry.name)
        whole = {"input": name, "width": width, "height": height, **report, "model": origin.model}
        whole |= {"engine": origin.engine, "precision": origin.precision, "seconds": round(seconds, 4)}
        self._report(whole, f"{name} -> {', '.join(report['outputs'].values())}")
        advance()

    def _file(self, entry: Input, suffix: str) -> Path:
        return self.output / entry.target.parent / (entry.target.name + suffix)

    def _fail(self, name: str, error: BaseException, advance: Callable[[], None]) -> None:
        self._counts.failed += 1
        message = str(error) if isinstance(error, DptkitError) else f"{printable(name)}: {_first_line(error)}"
        if self.as_json:
            self._report({"input": printable(name), "error": message}, "")
        typer.echo(f"dpt: {message}", err=True)
        advance()

    def _stopped(self) -> bool:
        return self.fail_fast and self._counts.failed > 0

    def _report(self, record: dict[str, Any], line: str) -> None:
        if self.as_json:
            typer.echo(json.dumps(record, ensure_ascii=False))
        elif not sys.stderr.isatty():
            typer.echo(line)

    def _summarise(self, total: int) -> None:
        counts = self._counts
        if not counts.done + counts.failed + counts.skipped:
            return  # the model could not be loaded, which says enough
        parts = [f"{counts.done} of {total} done"]
        parts += [
            f"{count} {word}" for count, word in ((counts.failed, "failed"), (counts.skipped, "skipped")) if count
        ]
        typer.echo(f"dpt: {', '.join(parts)}; results in {printable(str(self.output))}", err=True)


def _first_line(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "not enough memory for this picture"
    return next(iter(str(error).splitlines()), type(error).__name__)
