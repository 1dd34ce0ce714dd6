"""One fit for all pictures of a video: a first pass predicts and fits, a second scores by that fit.

A group's predictions wait on disk between the two, so that memory does not grow with the video.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from dptkit.data.sample import Dataset, OrdinalDataset, OrdinalSample, Sample
from dptkit.errors import DataError
from dptkit.evaluation.alignment import Fit
from dptkit.evaluation.journal import Entry
from dptkit.evaluation.one_picture import STAGES, Setting, scored
from dptkit.evaluation.reading_ahead import read_ahead
from dptkit.evaluation.scoring import fit_group
from dptkit.evaluation.subject import ImagePredictor, Prediction
from dptkit.outputs import DepthMap, Provenance, Quantity


def each_video(setting: Setting, indices: Sequence[int], todo: frozenset[int]) -> Iterator[Entry]:
    """Entries of `todo`, group by group; the fit is that of all pictures of the group among `indices`.

    A picture that cannot be read, predicted or scored is left out of its video's fit. Where the video has no fit at
    all, none of its pictures is scored.
    """
    for members in _groups(setting.dataset, indices).values():
        if todo.intersection(members):
            with TemporaryDirectory(prefix="dpt-eval-") as folder:
                yield from _Video(setting, Path(folder)).entries(members, todo)


def _groups(dataset: Dataset | OrdinalDataset, indices: Sequence[int]) -> dict[tuple[str, str], list[int]]:
    """Indices by (source, group). Pictures that cannot be read, of data sets that know no groups ahead, are alone."""
    groups: dict[tuple[str, str], list[int]] = {}
    pairs = getattr(dataset, "pairs", None)
    for index in indices:
        if pairs is not None:
            key = (pairs[index].source, pairs[index].group)
        else:
            try:
                key = (dataset[index].source, dataset[index].group)
            except DataError:
                key = (f"sample {index}", "")
        groups.setdefault(key, []).append(index)
    return groups


class _Video:
    """The two passes over one group."""

    def __init__(self, setting: Setting, folder: Path) -> None:
        self._setting, self._folder = setting, folder
        self._problems: dict[int, str] = {}
        self._seconds: dict[int, dict[str, float]] = {}
        self._kinds: dict[int, tuple[Quantity, Provenance]] = {}

    def entries(self, members: Sequence[int], todo: frozenset[int]) -> Iterator[Entry]:
        fit: Fit | None = None
        problem = ""
        try:
            fit = fit_group(self._fitted(members), self._setting.protocol)
        except DataError as error:
            problem = str(error)
        for read in read_ahead(self._setting.dataset, [index for index in members if index in todo]):
            why = self._problems.get(read.index, problem if fit is None else "")
            if why:
                skipped = self._setting.skipped(read.index, read.sample, why)
                entry = Entry(read.index, skipped, dict.fromkeys(STAGES, 0.0))
            else:
                entry = scored(self._setting, read, self._reader(read.index), fit)
            first = self._seconds.get(read.index, {})
            yield Entry(entry.index, entry.image, {s: entry.seconds[s] + first.get(s, 0.0) for s in STAGES})

    def _fitted(self, members: Sequence[int]) -> Iterator[tuple[Prediction, Sample | OrdinalSample]]:
        """The first pass: pairs for the fit; what cannot be in it is noted in `_problems`."""
        for read in read_ahead(self._setting.dataset, members):
            seconds = self._seconds[read.index] = {"reading": read.seconds}
            if read.sample is None:
                self._problems[read.index] = read.problem
                continue
            started = time.perf_counter()
            try:
                prediction = self._setting.predict(read.sample)
                self._store(read.index, prediction)
                seconds["predicting"] = time.perf_counter() - started
                # Alone first: one bad picture must not cost its video.
                fit_group([(prediction, read.sample)], self._setting.protocol)
            except DataError as error:
                self._problems[read.index] = str(error)
                continue
            yield prediction, read.sample

    def _store(self, index: int, prediction: Prediction) -> None:
        if not isinstance(self._setting.subject, ImagePredictor) or not isinstance(prediction, DepthMap):
            return  # on disk already; and what is no depth is refused by the fit
        np.save(self._folder / f"{index}.values.npy", prediction.values)
        np.save(self._folder / f"{index}.valid.npy", prediction.valid)
        self._kinds[index] = prediction.quantity, prediction.provenance

    def _reader(self, index: int) -> Callable[[Sample | OrdinalSample], Prediction]:
        if not isinstance(self._setting.subject, ImagePredictor):
            return self._setting.predict
        values = self._folder / f"{index}.values.npy"
        valid = self._folder / f"{index}.valid.npy"
        quantity, provenance = self._kinds[index]
        return lambda _: DepthMap(np.load(values), quantity, np.load(valid), provenance)
