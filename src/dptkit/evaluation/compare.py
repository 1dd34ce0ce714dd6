"""Two or more results side by side: what differs between their numbers, between their rules, and from a paper.

compare_results: every metric, each result against the first. compare_with_paper: one result against published rows.
What a difference of rules is worth: `dptkit.evaluation.worth`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dptkit.errors import ConfigError, DataError
from dptkit.evaluation.pairing import PairedDifference, paired_differences, pictures_in_common
from dptkit.evaluation.protocol import differing_fields
from dptkit.evaluation.protocol_words import FIELDS, explain
from dptkit.evaluation.protocols import PROTOCOLS
from dptkit.evaluation.published import PUBLISHED, PublishedRow, published_rows
from dptkit.evaluation.result import EvaluationResult, Interval
from dptkit.evaluation.worth import Worth

FORMAT = 1
"""Of files of comparisons."""
SAMPLES = 10_000


@dataclass(frozen=True)
class FieldDifference:
    """One field of two protocols. decides: what the field is for. *_means: what each value does, a sentence each."""

    field: str
    left: Any
    right: Any
    decides: str
    left_means: str
    right_means: str


@dataclass(frozen=True)
class AgainstFirst:
    """One result against the first. differences: by metric that both have. fields: of the protocols, that differ.

    same_data: whether the data sets' fingerprints are the same; None where one of them is not known.
    """

    subject: str
    differences: dict[str, PairedDifference]
    fields: tuple[FieldDifference, ...]
    same_data: bool | None


@dataclass(frozen=True)
class Comparison:
    """subjects, protocols: of each result. values: by metric, each one's own over all its pictures, or None.

    common: pictures that all scored; `against` rests on these alone. pictures: how many each one scored.
    partial: in words, what of its split each one was limited to; None where to nothing.
    """

    subjects: tuple[str, ...]
    protocols: tuple[str, ...]
    pictures: tuple[int, ...]
    partial: tuple[str | None, ...]
    common: int
    values: dict[str, tuple[Interval | None, ...]]
    against: tuple[AgainstFirst, ...]
    samples: int
    seed: int


def compare_results(results: Sequence[EvaluationResult], *, samples: int = SAMPLES, seed: int = 0) -> Comparison:
    """Each result against the first, over the pictures that all of them scored, by a paired bootstrap of `samples`.

    Pictures are matched by name; data sets with other fingerprints are compared where names are in common.
    Raises DataError for less than two results, results of different tasks, or no picture in common.
    """
    if len(results) < 2:
        raise DataError("a comparison needs two results")
    first = results[0]
    for other in results[1:]:
        if other.protocol.task != first.protocol.task:
            raise DataError(
                f"{first.protocol.name} is about {first.protocol.task} and {other.protocol.name} about "
                f"{other.protocol.task}: they have no number in common"
            )
    images = pictures_in_common(results)
    against = tuple(
        AgainstFirst(
            other.subject.name,
            paired_differences(images[0], theirs, (first.protocol, other.protocol), samples=samples, seed=seed),
            explained_differences(first, other),
            _same_data(first, other),
        )
        for other, theirs in zip(results[1:], images[1:], strict=True)
    )
    names = dict.fromkeys(name for result in results for name in result.summary)
    return Comparison(
        tuple(result.subject.name for result in results),
        tuple(result.protocol.name for result in results),
        tuple(sum(image.state != "skipped" for image in result.images) for result in results),
        tuple(_partial(result) for result in results),
        len(images[0]),
        {name: tuple(result.summary.get(name) for result in results) for name in names},
        against,
        samples,
        seed,
    )


def to_json(
    comparison: Comparison | None,
    worths: Sequence[Worth | None],
    needs: Sequence[str],
    against_paper: Sequence[Sequence[AgainstPaper]],
) -> bytes:
    """All of it as JSON text. worths, needs: of each result after the first; what is needed where there is no worth."""
    values = {
        "format": FORMAT,
        "comparison": None if comparison is None else asdict(comparison),
        "worth": [None if worth is None else asdict(worth) for worth in worths],
        "worth_needs": list(needs),
        "paper": [[asdict(row) for row in rows] for rows in against_paper],
    }
    return json.dumps(values, indent=1, allow_nan=False).encode()


def explained_differences(left: EvaluationResult, right: EvaluationResult) -> tuple[FieldDifference, ...]:
    """Fields in which the protocols differ, with what each value means; in the order in which fields take effect."""
    return tuple(
        FieldDifference(name, ours, theirs, FIELDS.get(name, name), explain(name, ours), explain(name, theirs))
        for name, (ours, theirs) in differing_fields(left.protocol, right.protocol).items()
    )


def _same_data(left: EvaluationResult, right: EvaluationResult) -> bool | None:
    ours, theirs = left.dataset.get("fingerprint"), right.dataset.get("fingerprint")
    return None if ours is None or theirs is None else bool(ours == theirs)


@dataclass(frozen=True)
class PaperValue:
    """One metric. printed: as it stands there, in percent where `percent`. agrees: to the printed digits.

    difference: ours minus the printed one, in our unit. inside: whether the printed value lies in our 95% interval.
    """

    metric: str
    printed: str
    percent: bool
    value: float | None
    difference: float | None
    agrees: bool | None
    inside: bool | None


@dataclass(frozen=True)
class AgainstPaper:
    """A result beside one published row. caveats: what makes the two less comparable, a sentence each."""

    subject: str
    model: str
    protocol: str
    citation: str
    note: str
    values: tuple[PaperValue, ...]
    caveats: tuple[str, ...]


def compare_with_paper(result: EvaluationResult, model: str) -> tuple[AgainstPaper, ...]:
    """The result beside every published row of `model` by the same protocol.

    A protocol that was changed counts as the one it was made of, and what differs is in the caveats.
    Raises UnknownModelError for a model without published numbers, ConfigError where none is by this protocol.
    """
    base = result.protocol.name.partition(" (")[0]
    rows = published_rows(model, base)
    if not rows:
        known = ", ".join(dict.fromkeys(row.protocol for row in published_rows(model)))
        others = ", ".join(dict.fromkeys(row.model for row in PUBLISHED if row.protocol == base)) or "nothing"
        raise ConfigError(
            f"nothing is published of {model} by {result.protocol.name}: of {model} there is {known}; by this "
            f"protocol there is {others}"
        )
    caveats = _caveats(result, base)
    return tuple(
        AgainstPaper(
            result.subject.name,
            model,
            row.protocol,
            row.citation,
            row.note,
            tuple(_paper_value(result, row, metric) for metric in row.values),
            caveats,
        )
        for row in rows
    )


def _paper_value(result: EvaluationResult, row: PublishedRow, metric: str) -> PaperValue:
    printed, entry = row.values[metric], result.summary.get(metric)
    if entry is None or entry.value is None:
        return PaperValue(metric, printed.text, printed.percent, None, None, None, None)
    inside = None if entry.low is None or entry.high is None else entry.low <= printed.value <= entry.high
    difference = entry.value - printed.value
    return PaperValue(
        metric, printed.text, printed.percent, entry.value, difference, printed.agrees(entry.value), inside
    )


def _partial(result: EvaluationResult) -> str | None:
    facts = result.dataset
    if "limit" not in facts:
        return None
    return f"only {facts['limit']} of {facts.get('pictures_in_split', 'all')} pictures were scored"


def _caveats(result: EvaluationResult, base: str) -> tuple[str, ...]:
    caveats = []
    skipped = sum(image.state == "skipped" for image in result.images)
    partial = _partial(result)
    if partial is not None:
        caveats.append(partial)
    if skipped:
        caveats.append(f"{skipped} of {len(result.images)} pictures were skipped")
    if base in PROTOCOLS:
        for name, (published, ours) in differing_fields(PROTOCOLS[base], result.protocol).items():
            if name not in ("metrics", "datasets", "dataset_options", "pictures"):
                caveats.append(f"{name} differs from {base}: {explain(name, ours)} There: {explain(name, published)}")
    return tuple(caveats)
