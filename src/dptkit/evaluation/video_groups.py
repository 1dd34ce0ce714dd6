"""One fit for all pictures of a video: a first pass predicts and fits, a second scores by that fit.

A group's predictions wait on disk between the two, so that memory does not grow with the video. Metrics of a picture
and the one before it are computed in the second: such a score belongs to the later of the two, and a video's first
picture, or one after a skipped picture, has none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from dptkit.data.sample import Dataset, OrdinalDataset, OrdinalSample, Sample
from dptkit.errors import ConfigError, DataError
from dptkit.evaluation.alignment import Fit, FitPart
from dptkit.evaluation.depth_pixels import depth_pixels
from dptkit.evaluation.depth_scoring import VIDEO_METRICS, aligned_depth, score_pixels
from dptkit.evaluation.journal import Entry
from dptkit.evaluation.one_picture import STAGES, Setting, scored
from dptkit.evaluation.protocol import DepthProtocol, Protocol
from dptkit.evaluation.reading_ahead import Read, read_ahead
from dptkit.evaluation.result import ImageResult
from dptkit.evaluation.scoring import fit_of_parts, part_of_fit
from dptkit.evaluation.subject import ImagePredictor, Prediction
from dptkit.evaluation.temporal import Frame, Intrinsics, Scratch, frame_pair_error
from dptkit.outputs import DepthMap, Provenance, Quantity


def each_video(setting: Setting, indices: Sequence[int], todo: frozenset[int]) -> Iterator[Entry]:
    """Entries of `todo`, group by group; the fit is that of all pictures of the group among `indices`.

    A picture that cannot be read, predicted or scored is left out of its video's fit. Where the video has no fit at
    all, none of its pictures is scored. Raises ConfigError where a metric needs cameras and the data set knows none.
    """
    if _is_temporal(setting.protocol):
        _check_cameras(setting.dataset, indices)
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


def _is_temporal(protocol: Protocol) -> bool:
    return any(name in VIDEO_METRICS for name in protocol.metrics)


def _check_cameras(dataset: Dataset | OrdinalDataset, indices: Sequence[int]) -> None:
    pairs = getattr(dataset, "pairs", None)
    try:
        known = [pairs[k] for k in indices] if pairs is not None else [dataset[index] for index in indices[:1]]
    except DataError:
        return  # said of that picture when its turn comes
    if all(getattr(one, "camera_pose", None) is None for one in known):
        raise ConfigError(f"{VIDEO_METRICS[0]} needs to know where the camera was, which {dataset.name} does not say")


def _camera(sample: Sample | OrdinalSample) -> tuple[Intrinsics, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    """Raises DataError where it is not known."""
    if not isinstance(sample, Sample) or sample.camera_pose is None or sample.intrinsics is None:
        raise DataError(f"{sample.name}: where its camera was is not known, which {VIDEO_METRICS[0]} needs")
    return sample.intrinsics, sample.camera_pose


class _Placed(NamedTuple):
    """A picture of a video as far as its neighbours concern it, and the rest of its scoring."""

    prediction: DepthMap
    frame: Frame
    intrinsics: Intrinsics
    scored: Callable[[Fit | None], ImageResult]


class _Video:
    """The two passes over one group."""

    def __init__(self, setting: Setting, folder: Path) -> None:
        self._setting, self._folder, self._scratch = setting, folder, Scratch()
        self._problems: dict[int, str] = {}
        self._seconds: dict[int, dict[str, float]] = {}
        self._kinds: dict[int, tuple[Quantity, Provenance]] = {}

    def entries(self, members: Sequence[int], todo: frozenset[int]) -> Iterator[Entry]:
        fit: Fit | None = None
        problem = ""
        try:
            fit = fit_of_parts(self._parts(members), self._setting.protocol)
        except DataError as error:
            problem = str(error)
        temporal = _is_temporal(self._setting.protocol) and fit is not None
        place = {index: k for k, index in enumerate(members)}
        # The picture before one that is to be scored is looked at again.
        needed = [
            index
            for k, index in enumerate(members)
            if index in todo or (temporal and k + 1 < len(members) and members[k + 1] in todo)
        ]
        before: tuple[int, Frame] | None = None
        for read in read_ahead(self._setting.dataset, needed):
            here = None
            started = time.perf_counter()
            if temporal and fit is not None and read.sample is not None and read.index not in self._problems:
                here = self._placed(read.index, read.sample, fit)
            earlier, before = before, here and (place[read.index], here.frame)
            if read.index not in todo:
                continue
            apart = self._apart(earlier, place[read.index], here)
            first = self._seconds.setdefault(read.index, {})
            first["scoring"] = first.get("scoring", 0.0) + time.perf_counter() - started
            why = self._problems.get(read.index, problem if fit is None else "")
            if why:
                skipped = self._setting.skipped(read.index, read.sample, why)
                entry = Entry(read.index, skipped, dict.fromkeys(STAGES, 0.0))
            else:
                entry = self._scored(read, here, fit)
            image = entry.image
            if here is not None and image.state != "skipped":
                image = replace(image, scores={**image.scores, VIDEO_METRICS[0]: apart})
            yield Entry(entry.index, image, {s: entry.seconds[s] + first.get(s, 0.0) for s in STAGES})

    def _scored(self, read: Read, here: _Placed | None, fit: Fit | None) -> Entry:
        """A picture that was placed has been read and brought to the truth's size already."""
        setting = self._setting
        if here is None:
            return scored(setting, read, self._reader(read.index), partial(setting.score, fit=fit))
        return scored(setting, read, lambda _: here.prediction, lambda *_: here.scored(fit))

    def _apart(self, earlier: tuple[int, Frame] | None, place: int, here: _Placed | None) -> float | None:
        """The error of a picture and the one before it in its video, if both are there."""
        if here is None or earlier is None or earlier[0] != place - 1:
            return None
        value = frame_pair_error(earlier[1], here.frame, here.intrinsics, self._scratch)
        return value if np.isfinite(value) else None

    def _placed(self, index: int, sample: Sample | OrdinalSample, fit: Fit) -> _Placed | None:
        """Aligned depth with its camera; None for what cannot be had, which scoring says."""
        protocol = self._setting.protocol
        try:
            prediction = self._reader(index)(sample)
            if not (isinstance(prediction, DepthMap) and isinstance(sample, Sample)):
                return None
            if not isinstance(protocol, DepthProtocol):
                return None
            (fx, fy, cx, cy), pose = _camera(sample)
            pixels = depth_pixels(prediction, sample, protocol)
            depth = aligned_depth(pixels, protocol, fit)
        except DataError:
            return None
        top, left, _, _ = pixels.window
        score = partial(score_pixels, pixels, sample, protocol)
        return _Placed(prediction, Frame(depth, pose), (fx, fy, cx - left, cy - top), score)

    def _parts(self, members: Sequence[int]) -> Iterator[FitPart]:
        """The first pass: what each picture gives to the fit; why one gives nothing is noted in `_problems`."""
        for read in read_ahead(self._setting.dataset, members):
            seconds = self._seconds[read.index] = {"reading": read.seconds}
            if read.sample is None:
                self._problems[read.index] = read.problem
                continue
            started = time.perf_counter()
            prediction: Prediction | None = None
            try:
                if _is_temporal(self._setting.protocol):
                    _camera(read.sample)
                prediction = self._setting.predict(read.sample)
                self._store(read.index, prediction)
                predicted = time.perf_counter()
                seconds["predicting"] = predicted - started
                # One bad picture must not cost its video: what is wrong with it is found here, not in the fit.
                part = part_of_fit(prediction, read.sample, self._setting.protocol)
            except DataError as error:
                known = prediction is not None
                self._problems[read.index] = self._setting.scoring_problem(error, read.sample) if known else str(error)
                continue
            yield part
            seconds["scoring"] = time.perf_counter() - predicted

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
