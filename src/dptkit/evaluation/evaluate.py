"""The run: read, crop, predict, score, a picture at a time, then sum up.

evaluate -> _each_picture or, for one fit a video, `video_groups` -> journal -> summarise
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dptkit.data.sample import Dataset, OrdinalDataset
from dptkit.errors import ConfigError, DataError
from dptkit.evaluation.changes import check_video_metrics
from dptkit.evaluation.journal import Entry, Journal, open_journal
from dptkit.evaluation.machine import machine, versions
from dptkit.evaluation.one_picture import STAGES, Setting, scored
from dptkit.evaluation.protocol import DepthProtocol, Protocol, SegmentationProtocol, protocol_to_dict
from dptkit.evaluation.reading_ahead import read_ahead
from dptkit.evaluation.result import EvaluationResult, ImageResult
from dptkit.evaluation.subject import Subject
from dptkit.evaluation.summary import summarise
from dptkit.evaluation.video_groups import each_video
from dptkit.version import __version__

OnPicture = Callable[[ImageResult], None]


def evaluate(
    subject: Subject,
    dataset: Dataset | OrdinalDataset,
    protocol: Protocol,
    *,
    dataset_facts: dict[str, Any],
    journal: Path | None = None,
    keep_predictions: Path | None = None,
    limit: int | None = None,
    on_picture: OnPicture | None = None,
    command: str = "",
) -> EvaluationResult:
    """Score a subject on a data set by a protocol.

    dataset_facts: JSON-ready; what the result says of the data set (name, folder, split, fingerprint). The number of
        pictures is added, and of a run over a part of them `limit` and how many there are.
    journal: a file of what is done; after a killed run, the same call goes on from it. It stays: remove it when the
        result is written. See `dptkit.evaluation.journal`.
    keep_predictions: a folder for every prediction. limit: only the first so many pictures.
    on_picture: called with each picture's result, those from the journal too.

    A picture for which reading, predicting or scoring raises DataError is "skipped": counted, never in a number. Any
    other error ends the run. Raises DataError for an empty data set and for a journal of another run, ConfigError
    where subject, protocol and data set do not fit, OutputWriteError.
    """
    protocol = with_dataset_classes(protocol, dataset)
    if isinstance(protocol, DepthProtocol):
        check_video_metrics(protocol)
    indices = range(len(dataset) if limit is None else min(limit, len(dataset)))
    if not indices:
        raise DataError(f"{dataset.name}: no pictures to score")
    facts = {**dataset_facts, "pictures": len(indices)}
    if len(indices) < len(dataset):
        facts |= {"limit": len(indices), "pictures_in_split": len(dataset)}
    setting = Setting(subject, dataset, protocol, keep_predictions)
    header = {
        "journal": 1,
        "protocol": protocol_to_dict(protocol),
        "subject": asdict(subject.identity),
        "dataset": facts,
        "predictions": keep_predictions and os.fspath(keep_predictions),
        "dptkit": __version__,
    }
    entries: dict[int, Entry] = {}
    with open_journal(journal, header) if journal else nullcontext() as book:
        for entry in _entries(setting, indices, book):
            entries[entry.index] = entry
            if on_picture is not None:
                on_picture(entry.image)
    images = tuple(entries[index].image for index in indices)
    summary, by_source = summarise(images, protocol)
    return EvaluationResult(
        protocol=protocol,
        subject=subject.identity,
        dataset=facts,
        summary=summary,
        by_source=by_source,
        images=images,
        versions=versions(),
        machine=machine(),
        command=command,
        predictions=None if keep_predictions is None else os.fspath(keep_predictions),
        seconds={stage: round(sum(e.seconds.get(stage, 0.0) for e in entries.values()), 3) for stage in STAGES},
    )


def with_dataset_classes(protocol: Protocol, dataset: Dataset | OrdinalDataset) -> Protocol:
    """A protocol of labels that names no classes takes the data set's, others stay as they are.

    Raises ConfigError where it names none either, and for a protocol of depth where it names some.
    """
    if isinstance(protocol, DepthProtocol) and tuple(getattr(dataset, "class_names", ())):
        raise ConfigError(f"the data are labels, but {protocol.name} compares depth: use a protocol of labels")
    if not isinstance(protocol, SegmentationProtocol) or protocol.classes:
        return protocol
    classes = tuple(getattr(dataset, "class_names", ()))
    if not classes:
        raise ConfigError(f"{protocol.name} takes the data set's classes, but {dataset.name} does not name them")
    return replace(protocol, classes=classes)


def _entries(setting: Setting, indices: Sequence[int], book: Journal | None) -> Iterator[Entry]:
    """All pictures: those of the journal first, then the others as they are done, each in the journal by then."""
    done = {} if book is None else {index: e for index, e in book.entries.items() if index in indices}
    yield from done.values()
    todo = [index for index in indices if index not in done]
    if isinstance(setting.protocol, DepthProtocol) and setting.protocol.alignment_scope == "video":
        fresh = each_video(setting, indices, frozenset(todo))
    else:
        fresh = _each_picture(setting, todo)
    for entry in fresh:
        if book is not None:
            book.add(entry)
        yield entry


def _each_picture(setting: Setting, indices: Sequence[int]) -> Iterator[Entry]:
    for read in read_ahead(setting.dataset, indices):
        yield scored(setting, read, setting.predict, setting.score)
