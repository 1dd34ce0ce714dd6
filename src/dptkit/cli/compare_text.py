"""What `dpt compare` prints."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase

from dptkit.evaluation.compare import AgainstFirst, AgainstPaper, Comparison
from dptkit.evaluation.metric_words import CLASS_PREFIX, metric_words
from dptkit.evaluation.pairing import PairedDifference
from dptkit.evaluation.protocol_words import show_value
from dptkit.evaluation.result import Interval
from dptkit.evaluation.tables import FEW_PICTURES, Table, plain_text
from dptkit.evaluation.worth import Values, Worth
from dptkit.image_io.names import printable


def letter(number: int) -> str:
    """What a result is called: A, B, ... Z, 27, 28."""
    return ascii_uppercase[number] if number < len(ascii_uppercase) else str(number + 1)


def comparison_text(comparison: Comparison) -> str:
    """All results in a table, then each against the first: differences, and rules that differ in words."""
    metrics = [name for name in comparison.values if not name.startswith(CLASS_PREFIX)]
    rows = tuple(
        (
            f"{letter(k)}  {printable(subject)}",
            protocol,
            str(comparison.pictures[k]),
            *(_interval(name, comparison.values[name][k]) for name in metrics),
        )
        for k, (subject, protocol) in enumerate(zip(comparison.subjects, comparison.protocols, strict=True))
    )
    headings = tuple(metric_words(name).heading for name in metrics)
    notes = tuple(f"{letter(k)}: {partial}" for k, partial in enumerate(comparison.partial) if partial is not None)
    parts = [plain_text(Table((), ("", "protocol", "pictures", *headings), rows, notes))]
    for number, against in enumerate(comparison.against, 1):
        parts.append(_against_text(comparison, against, number))
    return "\n\n".join(parts)


def _against_text(comparison: Comparison, against: AgainstFirst, number: int) -> str:
    name = letter(number)
    rows = tuple(
        _difference_row(metric, entry, comparison.samples)
        for metric, entry in against.differences.items()
        if not metric.startswith(CLASS_PREFIX)
    )
    title = [f"{name} against A, over the {comparison.common} pictures in common"]
    if against.same_data is False:
        title.append("The data sets are not the same: pictures are matched by name.")
    if comparison.common < FEW_PICTURES and any(entry.low is not None for entry in against.differences.values()):
        title.append(f"Fewer than {FEW_PICTURES} pictures: the intervals are too narrow.")
    header = ("", "A", name, f"{name} - A", "95% interval", "p", f"pictures {name} better / same / worse")
    text = plain_text(Table(tuple(title), header, rows, ()))
    if not rows:
        text += "\nno metric in common"
    if not against.fields:
        return text
    lines = [f"{name}'s rules are not A's:"]
    for field in against.fields:
        lines.append(f"  {field.field}: {field.decides}")
        lines.append(f"    A  {_value(field.left)}{field.left_means}")
        lines.append(f"    {name}  {_value(field.right)}{field.right_means}")
    return text + "\n\n" + "\n".join(lines)


def _value(value: object) -> str:
    """Names come before what they mean; other values are in the sentence itself."""
    return f"{value}: " if isinstance(value, str) and value else ""


def _difference_row(metric: str, entry: PairedDifference, samples: int) -> tuple[str, ...]:
    words = metric_words(metric)
    span = "-"
    if entry.low is not None and entry.high is not None:
        span = f"[{words.number(entry.low, signed=True)}, {words.number(entry.high, signed=True)}]"
    return (
        words.heading,
        words.number(entry.left),
        words.number(entry.right),
        words.number(entry.difference, signed=True),
        span,
        _p(entry.p, samples),
        f"{entry.wins} / {entry.ties} / {entry.losses}",
    )


def _p(p: float | None, samples: int) -> str:
    if p is None:
        return "-"
    least = 2 / (samples + 1)
    return f"< {least:.1g}" if p <= least * 1.001 else f"{p:.2g}"


def worth_text(worth: Worth, number: int) -> str:
    """The way from A's value to the other's, a step a line; the column adds up."""
    metrics = list(worth.start)
    name = letter(number)

    def cells(values: Values, *, signed: bool) -> tuple[str, ...]:
        return tuple(metric_words(metric).number(values[metric], signed=signed) for metric in metrics)

    rows = [("A", *cells(worth.start, signed=False))]
    notes = []
    for step in worth.steps:
        rows.append(
            (f"  {step.field}: {show_value(step.left)} -> {show_value(step.right)}", *cells(step.worth, signed=True))
        )
        if step.problem:
            notes.append(f"{step.field}: not told, so in other predictions: {step.problem}")
        elif step.pictures < worth.pictures:
            notes.append(f"{step.field}: {worth.pictures - step.pictures} pictures have no value under these rules")
    rows.append(("  other predictions", *cells(worth.rest, signed=True)))
    rows.append((name, *cells(worth.end, signed=False)))
    notes += [f"{field}: not told, so in other predictions: it {why}" for field, why in worth.not_told.items()]
    title = f"What each rule is worth: predictions of A ({printable(worth.predictions)}) scored again, rule by rule"
    headings = tuple(metric_words(metric).heading for metric in metrics)
    return plain_text(Table((title,), ("", *headings), tuple(rows), tuple(notes)))


def need_text(need: str, number: int) -> str:
    """Why it is not said what the rules are worth."""
    return f"What the rules of {letter(number)} are worth is not told: {printable(need)}"


def paper_text(rows: Sequence[AgainstPaper]) -> str:
    """One result beside each published row."""
    parts = []
    for row in rows:
        cells = []
        for value in row.values:
            words = metric_words(value.metric)
            verdict = "-" if value.agrees is None else "agrees" if value.agrees else "differs"
            inside = {None: "-", True: "inside", False: "outside"}[value.inside]
            cells.append(
                (
                    f"{words.label} %" if value.percent else words.label,
                    value.printed,
                    _as_printed(value.value, value.printed, value.percent),
                    _as_printed(value.difference, value.printed, value.percent, signed=True),
                    verdict,
                    inside,
                )
            )
        title = [f"{printable(row.subject)} beside {row.model}, {row.citation}, by {row.protocol}"]
        title += [f"There: {row.note}."] if row.note else []
        title += [f"Here: {caveat}" for caveat in row.caveats]
        header = ("", "printed", "here", "here - printed", "to the printed digits", "in our 95% interval")
        parts.append(plain_text(Table(tuple(title), header, tuple(cells), ())))
    return "\n\n".join(parts)


def _as_printed(value: float | None, printed: str, percent: bool, *, signed: bool = False) -> str:
    """With one digit more than the paper has."""
    if value is None:
        return "-"
    digits = len(printed.partition(".")[2]) + 1
    return f"{value * (100 if percent else 1):{'+' if signed else ''}.{digits}f}"


def _interval(metric: str, entry: Interval | None) -> str:
    words = metric_words(metric)
    if entry is None or entry.low is None or entry.high is None:
        return words.number(None if entry is None else entry.value)
    return f"{words.number(entry.value)} [{words.number(entry.low)}, {words.number(entry.high)}]"
