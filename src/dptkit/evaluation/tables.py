"""Results for people and for spreadsheets: a table with a row a subject, and a CSV file with a row a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dptkit.evaluation.metric_words import CLASS_PREFIX, metric_words
from dptkit.evaluation.protocol import Protocol
from dptkit.evaluation.result import EvaluationResult, Interval
from dptkit.evaluation.summary import strata_of
from dptkit.image_io.atomic import write_bytes
from dptkit.image_io.names import printable

FEW_PICTURES = 10
"""Below it a percentile interval of the bootstrap is a fifth and more too narrow: by sqrt((n - 1) / n), and by the
quantile of the normal distribution against that of Student's t."""


@dataclass(frozen=True)
class Table:
    """title: lines above. header, rows: of one length. notes: lines below."""

    title: tuple[str, ...]
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def result_table(results: Sequence[EvaluationResult]) -> Table:
    """A row for each subject, metrics in the protocol's order, with 95% intervals; below it, a row for each source.

    results: of one protocol and one data set. Shares that papers print in percent are in percent. What makes a number
    less than the protocol's own is said: a run over a part, skipped pictures, degenerate fits, missing values.
    """
    first = results[0]
    metrics = [name for name in first.summary if not name.startswith(CLASS_PREFIX)]
    rows = []
    for result in results:
        rows.append((_subject(result), *(_cell(name, result.summary[name]) for name in metrics)))
        if len(result.by_source) > 1:
            rows += [
                (f"  {printable(source)}", *(_number(name, values[name]) for name in metrics))
                for source, values in result.by_source.items()
            ]
    notes = [note for result in results for note in _notes(result, several=len(results) > 1)]
    return Table((_title(first),), ("", *map(metric_label, metrics)), tuple(rows), tuple(notes))


def class_table(result: EvaluationResult) -> Table | None:
    """IoU of each class, in percent; None for what has no classes."""
    classes = [name for name in result.summary if name.startswith(CLASS_PREFIX)]
    if not classes:
        return None
    rows = tuple(
        (name.removeprefix(CLASS_PREFIX), _cell(name, result.summary[name]), str(result.summary[name].pictures))
        for name in classes
    )
    return Table((_subject(result),), ("class", "IoU %", "pictures"), rows, ())


def protocol_table(protocols: Sequence[Protocol]) -> Table:
    """What there is to choose from: task, data sets and split, alignment, what is averaged, metrics, and the source."""
    rows = tuple(
        (
            protocol.name,
            protocol.task,
            f"{', '.join(protocol.datasets) or 'any'} {protocol.split}".rstrip(),
            getattr(protocol, "alignment", "-"),
            protocol.aggregation,
            ", ".join(protocol.metrics[:3]) + (", ..." if len(protocol.metrics) > 3 else ""),
            protocol.source,
        )
        for protocol in protocols
    )
    return Table((), ("name", "task", "data", "alignment", "over pictures", "metrics", "written down in"), rows, ())


def metric_label(name: str) -> str:
    """As a column is headed: AbsRel, "δ>1.25 %"."""
    return metric_words(name).heading


def plain_text(table: Table) -> str:
    """Columns set apart by two blanks, as for a file or a pipe."""
    lines = [table.header, *table.rows]
    widths = [max(len(line[k]) for line in lines) for k in range(len(table.header))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([*table.title, *text, *table.notes])


def write_image_csv(path: Path, result: EvaluationResult) -> None:
    """One row a picture, UTF-8, values at full precision; an empty cell where there is none. Raises OutputWriteError.

    Columns: name, source, group, state, pixels, then every metric, then the fit's numbers, then problem.
    """
    metrics = list(dict.fromkeys(name for image in result.images for name in image.scores))
    fits = list(dict.fromkeys(name for image in result.images for name in image.fit))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "source", "group", "state", "pixels", *metrics, *fits, "problem"])
    for image in result.images:
        scores = [image.scores.get(name) for name in metrics]
        fit = [image.fit.get(name) for name in fits]
        names = (printable(image.name), printable(image.source), printable(image.group))
        writer.writerow([*names, image.state, image.pixels, *scores, *fit, printable(image.problem)])
    write_bytes(path, text.getvalue().encode())


def _title(result: EvaluationResult) -> str:
    facts = result.dataset
    split = f", {facts['split']}" if facts.get("split") else ""
    pictures = f"{facts['pictures']} picture{'' if facts['pictures'] == 1 else 's'}"
    if "limit" in facts:
        pictures = f"ONLY THE FIRST {facts['limit']} OF {facts['pictures_in_split']} PICTURES"
    return f"{result.protocol.name} on {printable(str(facts.get('name', '')))}{split}: {pictures}"


def _subject(result: EvaluationResult) -> str:
    partial = f" (first {result.dataset['limit']})" if "limit" in result.dataset else ""
    return printable(result.subject.name) + partial


def _notes(result: EvaluationResult, *, several: bool) -> list[str]:
    notes = []
    skipped = sum(image.state == "skipped" for image in result.images)
    if skipped:
        notes.append(f"{skipped} of {len(result.images)} pictures were skipped and are in no number")
    if result.degenerate_share:
        share = f"{100 * result.degenerate_share:.1f}"
        notes.append(f"{share}% of the fits are degenerate: the prediction had no part in them, or a contrary one")
    scored = len(result.images) - skipped
    fewer = [
        f"{metric_label(name)} ({entry.pictures})"
        for name, entry in result.summary.items()
        if not name.startswith(CLASS_PREFIX) and entry.pictures < scored
    ]
    if fewer:
        notes.append(f"of {scored} scored pictures, fewer have a value for {', '.join(fewer)}")
    if few := few_pictures(result):
        notes.append(few)
    return [f"{printable(result.subject.name)}: {note}" for note in notes] if several else notes


def few_pictures(result: EvaluationResult) -> str:
    """That the intervals rest on too few pictures, in words; "" where they do not, or there are none."""
    scored = [image for image in result.images if image.state != "skipped"]
    each = len(scored) / max(1, len(strata_of(scored, result.protocol)))
    if each >= FEW_PICTURES or all(entry.low is None for entry in result.summary.values()):
        return ""
    where = "" if each == len(scored) else f" in each part that is averaged first, {each:.3g} in the mean"
    return f"fewer than {FEW_PICTURES} pictures{where}: the intervals are too narrow"


def _cell(name: str, entry: Interval) -> str:
    if entry.low is None or entry.high is None:
        return _number(name, entry.value)
    return f"{_number(name, entry.value)} [{_number(name, entry.low)}, {_number(name, entry.high)}]"


def _number(name: str, value: float | None) -> str:
    return metric_words(name).number(value)
