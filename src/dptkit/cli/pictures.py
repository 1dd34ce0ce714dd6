"""The loop that `dpt depth` and `dpt segment` share: read, predict, write; one picture's failure is not the end.

Threads do the work on several pictures at once; the thread that called tells of them, in the order of the inputs.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

import typer

from dptkit.cli.inputs import BadInput, Input, count_inputs, find_inputs
from dptkit.cli.one_picture import Done, Failed, Outcome, PictureWork, Skipped, WriteResult, opencv_in_one_thread
from dptkit.cli.progress import PictureScreen
from dptkit.image_io import count_pixels
from dptkit.image_io.names import printable
from dptkit.overlap import Overlap
from dptkit.predictor import Predictor

MOST_STREAMS = 8
"""Predictions side by side: beyond, each has cores enough, and memory for their activations grows with them."""

Load = Callable[[int], Predictor]
"""Streams, as in `dptkit.load` -> predictor."""

_Unit = tuple[Input | Failed | Skipped, ...]
"""Pictures that run through the network together, and what there is to say of inputs between them."""


@dataclass
class _Counts:
    done: int = 0
    failed: int = 0
    skipped: int = 0
    hopeless: bool = False


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
    _halt: threading.Event = field(default_factory=threading.Event)

    def start(self, load: Load) -> int:
        """Run over all pictures. Returns the exit code: 0 if all went well, 1 if any failed.

        The model is loaded when the first picture needs it. Ctrl-C passes through, after the pictures that are being
        written and a summary; results written so far are whole.
        """
        total = count_inputs(self.arguments, self.recursive)
        # With --fail-fast nothing may be under way when a picture fails.
        streams = 1 if self.fail_fast else max(1, min(_cores(), total // self.batch_size, MOST_STREAMS))
        workers = 1 if self.fail_fast or total <= self.batch_size else streams + 1  # one reads or writes meanwhile
        try:
            with PictureScreen(total) as screen, opencv_in_one_thread(workers > 1):
                self._run(partial(load, streams), workers, screen)
        finally:
            self._summarise(total)
        return 1 if self._counts.failed else 0

    def _run(self, load: Callable[[], Predictor], workers: int, screen: PictureScreen) -> None:
        work = PictureWork(load, self.write, self._file, self.scores, self.fail_fast, self._halt)
        overlap = Overlap(work, self._units(work), workers, cost=_pixels, alone=partial(work, alone=True))
        try:
            for outcomes in overlap:
                self._tell(outcomes, screen)
        finally:
            self._halt.set()
            self._tell(chain.from_iterable(overlap.close()), screen)

    def _units(self, work: PictureWork) -> Iterator[_Unit]:
        unit: list[Input | Failed | Skipped] = []
        pictures = 0
        for entry in self._wanted():
            unit.append(entry)
            if isinstance(entry, Input):
                work.load()  # by this thread, which Ctrl-C reaches
                pictures += 1
            if pictures == self.batch_size or (self.fail_fast and isinstance(entry, Failed)):
                yield tuple(unit)
                unit, pictures = [], 0
        if unit:
            yield tuple(unit)

    def _wanted(self) -> Iterator[Input | Failed | Skipped]:
        for entry in find_inputs(self.arguments, self.recursive):
            if self._stopped():
                return
            if isinstance(entry, BadInput):
                yield Failed(entry.name, f"{printable(entry.name)}: {entry.problem}")
            elif self.skip_existing and all(self._file(entry, suffix).is_file() for suffix in self.suffixes):
                yield Skipped(entry.name)
            else:
                yield entry

    def _file(self, entry: Input, suffix: str) -> Path:
        return self.output / entry.target.parent / (entry.target.name + suffix)

    def _stopped(self) -> bool:
        return self._counts.hopeless or (self.fail_fast and self._counts.failed > 0)

    def _tell(self, outcomes: Iterator[Outcome] | Sequence[Outcome], screen: PictureScreen) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Failed):
                self._fail(outcome, screen)
                continue
            if isinstance(outcome, Done):
                self._counts.done += 1
                record, line = outcome.record, outcome.line
            else:
                self._counts.skipped += 1
                record, line = {"input": outcome.name, "skipped": True}, f"{printable(outcome.name)}: skipped"
            # Plain ASCII: whatever the output's encoding, the names in it stay exact.
            screen.result(json.dumps(record) if self.as_json else line, always=self.as_json)
            screen.advance()

    def _fail(self, outcome: Failed, screen: PictureScreen) -> None:
        if outcome.hopeless:
            if self._counts.hopeless:
                return  # said already, of the picture before
            self._counts.hopeless = True
        self._counts.failed += 1
        if self.as_json:
            screen.result(json.dumps({"input": outcome.name, "error": outcome.message}), always=True)
        screen.problem(f"dpt: {outcome.message}")
        screen.advance()

    def _summarise(self, total: int) -> None:
        counts = self._counts
        if not counts.done + counts.failed + counts.skipped:
            return  # the model could not be loaded, which says enough
        optional = ((counts.failed, "failed"), (counts.skipped, "skipped"))
        parts = [f"{counts.done} of {total} done", *(f"{count} {word}" for count, word in optional if count)]
        where = f"; results in {printable(str(self.output))}" if counts.done + counts.skipped else ""
        typer.echo(f"dpt: {', '.join(parts)}{where}", err=True)


def _pixels(unit: _Unit) -> int:
    return sum(count_pixels(entry.path) for entry in unit if isinstance(entry, Input) and entry.path is not None)


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
