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

from dptkit.cli.inputs import BadInput, Input, count_inputs, find_inputs
from dptkit.cli.progress import PictureScreen
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

        The model is loaded when the first picture needs it. Ctrl-C passes through, after a summary; results written so
        far are whole.
        """
        total = count_inputs(self.arguments, self.recursive)
        try:
            with PictureScreen(total) as screen:
                self._run(load, screen)
        finally:
            self._summarise(total)
        return 1 if self._counts.failed else 0

    def _run(self, load: Callable[[], Predictor], screen: PictureScreen) -> None:
        predictor: Predictor | None = None
        wanted = self._wanted(screen)
        while batch := list(islice(wanted, self.batch_size)):
            pictures: list[tuple[Input, Picture]] = []
            predictor = predictor or load()
            for entry in batch:
                try:
                    pictures.append((entry, self._read(entry, predictor)))
                except (DptkitError, MemoryError) as error:
                    self._fail(entry.name, _message(error, entry.name), screen)
            self._predict(predictor, pictures, screen)

    def _wanted(self, screen: PictureScreen) -> Iterator[Input]:
        for entry in find_inputs(self.arguments, self.recursive):
            if self._stopped():
                return
            if isinstance(entry, BadInput):
                self._fail(entry.name, f"{printable(entry.name)}: {entry.problem}", screen)
            elif self.skip_existing and all(self._file(entry, suffix).is_file() for suffix in self.suffixes):
                self._counts.skipped += 1
                self._report({"input": entry.name, "skipped": True}, f"{printable(entry.name)}: skipped", screen)
                screen.advance()
            else:
                yield entry

    def _read(self, entry: Input, predictor: Predictor) -> Picture:
        if entry.path is None and sys.stdin is None:
            raise ImageReadError("standard input: is closed")
        source = sys.stdin.buffer if entry.path is None else entry.path
        return read_image(source, background=predictor.background)

    def _predict(self, predictor: Predictor, pictures: list[tuple[Input, Picture]], screen: PictureScreen) -> None:
        if not pictures or self._stopped():
            return
        started = time.perf_counter()
        try:
            results = predictor.predict_batch([picture for _, picture in pictures], scores=self.scores)
        # torch tells of a device without memory by a RuntimeError.
        except (DptkitError, MemoryError, RuntimeError) as error:
            if len(pictures) > 1:
                for single in pictures:  # find the picture that is to blame
                    self._predict(predictor, [single], screen)
            else:
                name = pictures[0][0].name
                self._fail(name, f"{printable(name)}: {_cause(error)}", screen)
            return
        seconds = (time.perf_counter() - started) / len(pictures)
        for (entry, picture), result in zip(pictures, results, strict=True):
            if not self._stopped():
                self._write(entry, picture, result, seconds, screen)

    def _write(self, entry: Input, picture: Picture, result: Result, seconds: float, screen: PictureScreen) -> None:
        try:
            report = self.write(self._file(entry, ""), picture, result)
        except (DptkitError, MemoryError) as error:
            self._fail(entry.name, _message(error, entry.name), screen)
            return
        self._counts.done += 1
        height, width = result.size
        origin = result.provenance
        whole = {"input": entry.name, "width": width, "height": height, **report, "model": origin.model}
        whole |= {"engine": origin.engine, "precision": origin.precision, "seconds": round(seconds, 4)}
        if origin.token_merge is not None:
            whole["token_merge"] = origin.token_merge
        written = ", ".join(printable(path) for path in report["outputs"].values())
        self._report(whole, f"{printable(entry.name)} -> {written}", screen)
        screen.advance()

    def _file(self, entry: Input, suffix: str) -> Path:
        return self.output / entry.target.parent / (entry.target.name + suffix)

    def _fail(self, name: str, message: str, screen: PictureScreen) -> None:
        self._counts.failed += 1
        if self.as_json:
            screen.result(json.dumps({"input": name, "error": message}), always=True)
        screen.problem(f"dpt: {message}")
        screen.advance()

    def _stopped(self) -> bool:
        return self.fail_fast and self._counts.failed > 0

    def _report(self, record: dict[str, Any], line: str, screen: PictureScreen) -> None:
        # Plain ASCII: whatever the output's encoding, the names in it stay exact.
        screen.result(json.dumps(record) if self.as_json else line, always=self.as_json)

    def _summarise(self, total: int) -> None:
        counts = self._counts
        if not counts.done + counts.failed + counts.skipped:
            return  # the model could not be loaded, which says enough
        optional = ((counts.failed, "failed"), (counts.skipped, "skipped"))
        parts = [f"{counts.done} of {total} done", *(f"{count} {word}" for count, word in optional if count)]
        where = f"; results in {printable(str(self.output))}" if counts.done + counts.skipped else ""
        typer.echo(f"dpt: {', '.join(parts)}{where}", err=True)


def _message(error: Exception, name: str) -> str:
    """An error of ours names its file already."""
    return str(error) if isinstance(error, DptkitError) else f"{printable(name)}: {_cause(error)}"


def _cause(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "not enough memory for this picture"
    return next(iter(str(error).splitlines()), type(error).__name__)
