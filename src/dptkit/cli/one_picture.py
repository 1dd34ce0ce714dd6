"""What a folder run's threads do: read a few pictures, predict them, write the results, and keep what to tell."""

from __future__ import annotations

import errno
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dptkit.cli.inputs import Input
from dptkit.errors import DptkitError, ImageReadError
from dptkit.image_io import read_image
from dptkit.image_io.names import printable
from dptkit.outputs import DepthMap, SegmentationMap
from dptkit.predictor import Predictor

Picture = npt.NDArray[np.uint8]
Result = DepthMap | SegmentationMap

WriteResult = Callable[[Path, Picture, Result], dict[str, Any]]
"""(path without suffix, picture, result) -> what to report, with "outputs": the files written, by format."""

_HOPELESS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Reasons why no file can be written, whatever its name and size."""


@dataclass(frozen=True)
class Done:
    """A picture whose results are written. record: as --json has it. line: as it is said without."""

    record: dict[str, Any]
    line: str


@dataclass(frozen=True)
class Failed:
    """hopeless: the next picture would fail for the same reason, as on a full disk."""

    name: str
    message: str
    hopeless: bool = False


@dataclass(frozen=True)
class Skipped:
    name: str


Outcome = Done | Failed | Skipped


class PictureWork:
    """Called with a unit of inputs -> what became of each, in order. Threads may call it together."""

    def __init__(
        self,
        load: Callable[[], Predictor],
        write: WriteResult,
        file: Callable[[Input, str], Path],
        scores: bool,
        fail_fast: bool,
        halt: threading.Event,
    ) -> None:
        """`file`: (input, suffix) -> where its result goes. `halt`: once set, nothing is read, predicted or written
        any more, but for the files of a picture whose first is begun."""
        self._load, self._write_result, self._file = load, write, file
        self._scores, self._fail_fast, self._halt = scores, fail_fast, halt
        self._predictor: Predictor | None = None
        self._gate = threading.Semaphore()

    def load(self) -> Predictor:
        """The model, loaded by the first call, which must be over before threads make the next."""
        if self._predictor is None:
            self._predictor = self._load()
            # One more than the engine does side by side, whose picture is resized meanwhile; a GPU's memory is small.
            self._gate = threading.Semaphore(self._predictor.streams + 1)
        return self._predictor

    def __call__(self, unit: Sequence[Input | Failed | Skipped], *, alone: bool = False) -> list[Outcome]:
        """Raises MemoryError, so that it is tried again alone; if it is `alone`, that is the picture's failure."""
        # Standard input is read once only.
        alone = alone or any(isinstance(entry, Input) and entry.path is None for entry in unit)
        caught: tuple[type[Exception], ...] = (DptkitError, MemoryError) if alone else (DptkitError,)
        outcomes: dict[int, Outcome] = {}
        pictures: list[tuple[int, Input, Picture]] = []
        for index, entry in enumerate(unit):
            if self._halt.is_set():
                break
            if not isinstance(entry, Input):
                outcomes[index] = entry
                continue
            try:
                pictures.append((index, entry, self._read(entry)))
            except caught as error:
                outcomes[index] = Failed(entry.name, _message(error, entry.name))
        if not (self._fail_fast and any(isinstance(outcome, Failed) for outcome in outcomes.values())):
            self._predict(pictures, outcomes, caught)
        return [outcomes[index] for index in sorted(outcomes)]

    def _read(self, entry: Input) -> Picture:
        if entry.path is None and sys.stdin is None:
            raise ImageReadError("standard input: is closed")
        source = sys.stdin.buffer if entry.path is None else entry.path
        return read_image(source, background=self.load().background)

    def _predict(
        self,
        pictures: list[tuple[int, Input, Picture]],
        outcomes: dict[int, Outcome],
        caught: tuple[type[Exception], ...],
    ) -> None:
        if not pictures or self._halt.is_set():
            return
        started = time.perf_counter()
        try:
            with self._gate:
                results = self.load().predict_batch([picture for *_, picture in pictures], scores=self._scores)
        # torch tells of a device without memory by a RuntimeError.
        except (DptkitError, MemoryError, RuntimeError) as error:
            if len(pictures) > 1:
                for single in pictures:  # find the picture that is to blame
                    if not self._stops(outcomes):
                        self._predict([single], outcomes, caught)
                return
            if isinstance(error, MemoryError) and MemoryError not in caught:
                raise
            index, entry, _ = pictures[0]
            outcomes[index] = Failed(entry.name, f"{printable(entry.name)}: {_cause(error)}")
            return
        seconds = (time.perf_counter() - started) / len(pictures)
        for (index, entry, picture), result in zip(pictures, results, strict=True):
            if self._halt.is_set() or self._stops(outcomes):
                return
            outcomes[index] = self._write(entry, picture, result, seconds, caught)

    def _stops(self, outcomes: dict[int, Outcome]) -> bool:
        """Whether the rest of these pictures is to be left."""
        failures = [outcome for outcome in outcomes.values() if isinstance(outcome, Failed)]
        return any(self._fail_fast or failure.hopeless for failure in failures)

    def _write(
        self, entry: Input, picture: Picture, result: Result, seconds: float, caught: tuple[type[Exception], ...]
    ) -> Outcome:
        try:
            report = self._write_result(self._file(entry, ""), picture, result)
        except caught as error:
            cause = error.__cause__
            hopeless = isinstance(cause, OSError) and cause.errno in _HOPELESS
            return Failed(entry.name, _message(error, entry.name), hopeless)
        height, width = result.size
        origin = result.provenance
        whole = {"input": entry.name, "width": width, "height": height, **report, "model": origin.model}
        whole |= {"engine": origin.engine, "precision": origin.precision, "seconds": round(seconds, 4)}
        asked = {"token_merge": origin.token_merge, "tta": origin.tta, "scales": origin.scales}
        whole |= {name: value for name, value in asked.items() if value is not None}
        written = ", ".join(printable(path) for path in report["outputs"].values())
        return Done(whole, f"{printable(entry.name)} -> {written}")


@contextmanager
def opencv_in_one_thread(wanted: bool) -> Iterator[None]:
    """Where pictures are worked on side by side, OpenCV's own threads would only get in each other's way."""
    import cv2

    before = cv2.getNumThreads()
    if wanted:
        cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _message(error: Exception, name: str) -> str:
    """An error of ours names its file already."""
    return str(error) if isinstance(error, DptkitError) else f"{printable(name)}: {_cause(error)}"


def _cause(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "not enough memory for this picture"
    return next(iter(str(error).splitlines()), type(error).__name__)
