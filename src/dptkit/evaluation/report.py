"""A report for people: one HTML file with everything in it, that opens from a disk, on a phone, and without a network.

Rules in words, all subjects in a table, how a picture's number is spread, and the best and worst pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dptkit.evaluation.metric_words import CLASS_PREFIX, MetricWords, metric_words
from dptkit.evaluation.protocol import DepthProtocol, OrdinalProtocol, Protocol, protocol_to_dict
from dptkit.evaluation.protocol_words import FIELDS, protocol_sentences, show_value
from dptkit.evaluation.report_pictures import LARGEST_ERROR, DrawnPicture, PictureSource, draw_picture, gradient
from dptkit.evaluation.result import EvaluationResult, ImageResult, Interval
from dptkit.evaluation.tables import few_pictures
from dptkit.image_io.atomic import write_bytes
from dptkit.image_io.names import printable

if TYPE_CHECKING:
    from jinja2 import Template

SHOWN = 4
"""Pictures at each end."""
_BINS = 24
_SKIPPED_SHOWN = 100
_CHART = (320, 90)  # width, height of the bars


@dataclass(frozen=True)
class ShownPicture:
    """A picture of the report: its name, its number in words, and the panels, None where they cannot be had."""

    name: str
    number: str
    degenerate: bool
    drawn: DrawnPicture | None


def write_report(path: Path, results: Sequence[EvaluationResult], picture: PictureSource) -> None:
    """Write the report of one or more results, whole or not at all.

    picture: gives a result's picture to show, or None where it cannot be had; called for the `SHOWN` best and worst of
    each result by its primary metric. See `dptkit.evaluation.report_pictures.pictures_from`.
    Raises OutputWriteError, ValueError without a result.
    """
    if not results:
        raise ValueError("a report needs a result")
    html = _template().render(**_content(results, picture))
    write_bytes(path, html.encode("utf-8", "backslashreplace"))


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["printable"] = lambda text: printable(str(text))
    text = files("dptkit.evaluation").joinpath("report.html.j2").read_text("utf-8")
    return environment.from_string(text)


def _content(results: Sequence[EvaluationResult], picture: PictureSource) -> dict[str, Any]:
    first = results[0]
    protocols = list({result.protocol.name: result.protocol for result in results}.values())
    names = dict.fromkeys(name for result in results for name in result.summary)
    metrics = [name for name in names if not name.startswith(CLASS_PREFIX)]
    facts = first.dataset
    data = f"{facts.get('name', 'data')} {facts.get('split') or ''}".strip()
    return {
        "title": f"{', '.join(protocol.name for protocol in protocols)} on {data}",
        "protocols": [_protocol(protocol) for protocol in protocols],
        "headings": [_heading(name) for name in metrics],
        "rows": [_summary_row(result, metrics) for result in results],
        "few": [(result.subject.name, few) for result in results if (few := few_pictures(result))],
        "sources": _sources(results, metrics),
        "classes": _classes(results, [name for name in names if name.startswith(CLASS_PREFIX)]),
        "charts": _charts(results),
        "subjects": [_subject(result, picture) for result in results],
        "near_to_far": gradient("inferno"),
        "error_colours": gradient("magma"),
        "largest_error": f"{LARGEST_ERROR:.0%}",
        "several_protocols": len(protocols) > 1,
        "fits": any(isinstance(protocol, DepthProtocol) for protocol in protocols),
    }


def _protocol(protocol: Protocol) -> dict[str, Any]:
    values = protocol_to_dict(protocol)
    sentences = protocol_sentences(protocol)
    fields = [(name, FIELDS.get(name, ""), show_value(value)) for name, value in values.items() if name != "source"]
    wanted = ("task", "alignment", "crop", "mask", "prediction_range_m", "network_input", "tta", "aggregation")
    return {
        "name": protocol.name,
        "source": protocol.source,
        "words": " ".join(sentences[name] for name in wanted if name in sentences),
        "fields": fields,
    }


def _heading(name: str) -> tuple[str, str]:
    """Label with unit, and an arrow that says which way is better."""
    words = metric_words(name)
    unit = f" {words.unit}" if words.unit else ""
    return words.heading + unit, "↑" if words.higher_is_better else "↓"


def _summary_row(result: EvaluationResult, metrics: Sequence[str]) -> dict[str, Any]:
    return {
        "subject": result.subject.name,
        "protocol": result.protocol.name,
        "pictures": sum(image.state != "skipped" for image in result.images),
        "cells": [_cell(metric_words(name), result.summary.get(name)) for name in metrics],
        "degenerate": f"{result.degenerate_share:.1%}",
    }


def _cell(words: MetricWords, entry: Interval | None) -> tuple[str, str]:
    """Value and interval."""
    if entry is None:
        return "-", ""
    if entry.low is None or entry.high is None:
        return words.number(entry.value), ""
    return words.number(entry.value), f"{words.number(entry.low)} to {words.number(entry.high)}"


def _sources(results: Sequence[EvaluationResult], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """A row a source and subject, where there is more than one source."""
    return [
        {
            "source": source,
            "subject": result.subject.name,
            "cells": [metric_words(name).number(values.get(name)) for name in metrics],
        }
        for result in results
        if len(result.by_source) > 1
        for source, values in result.by_source.items()
    ]


def _classes(results: Sequence[EvaluationResult], names: Sequence[str]) -> list[dict[str, Any]]:
    """A row a class, a cell a subject: IoU in percent with its interval, and the length of its bar."""
    rows = []
    for name in names:
        entries = [result.summary.get(name) for result in results]
        cells = [
            (*_cell(metric_words(name), entry), 0.0 if entry is None or entry.value is None else 100 * entry.value)
            for entry in entries
        ]
        rows.append({"name": name.removeprefix(CLASS_PREFIX), "cells": cells})
    return rows


def _primary(result: EvaluationResult) -> str | None:
    """The first metric that pictures have."""
    for name in result.protocol.metrics:
        if any(image.scores.get(name) is not None for image in result.images):
            return name
    return None


def _charts(results: Sequence[EvaluationResult]) -> list[dict[str, Any]]:
    """How many pictures have which number. One range for all subjects of a metric; the last bar has all above it."""
    values = {}
    for k, result in enumerate(results):
        name = _primary(result)
        if name is not None:
            values[k] = name, np.array([s for i in result.images if (s := i.scores.get(name)) is not None], float)
    charts = []
    for k, (name, numbers) in values.items():
        together = np.concatenate([other for metric, other in values.values() if metric == name])
        words = metric_words(name)
        # An error has no upper end, and one wild picture would squeeze all others into one bar; a share has one.
        top = together.max() if words.higher_is_better else np.percentile(together, 99)
        low, high = float(together.min()), float(top)
        high = high if high > low else low + max(abs(low), 1e-6)
        counts, _ = np.histogram(np.clip(numbers, low, high), bins=_BINS, range=(low, high))
        width, height = _CHART
        step, tallest = width / _BINS, max(1, int(counts.max()))
        edges = np.linspace(low, high, _BINS + 1)
        bars = [
            {
                "x": round(b * step + 0.5, 2),
                "width": round(step - 1, 2),
                "height": round(height * n / tallest, 2),
                "title": f"{words.number(edges[b])} to {words.number(edges[b + 1])}: {_pictures(n)}",
            }
            for b, n in enumerate(counts.tolist())
        ]
        mean = float(np.clip(numbers.mean(), low, high))
        charts.append(
            {
                "subject": results[k].subject.name,
                "heading": _heading(name)[0],
                "bars": bars,
                "low": words.number(low),
                "high": words.number(high) + (" and above" if together.max() > high else ""),
                "tallest": _pictures(tallest),
                "mean": round((mean - low) / (high - low) * width, 2),
                "mean_text": words.number(float(numbers.mean())),
                "pictures": _pictures(len(numbers)),
            }
        )
    return charts


def _pictures(count: int) -> str:
    return f"{count} picture{'' if count == 1 else 's'}"


def _subject(result: EvaluationResult, picture: PictureSource) -> dict[str, Any]:
    skipped = [image for image in result.images if image.state == "skipped"]
    name = _primary(result)
    ends = {} if name is None else _ends(result, name)
    shown = {end: [_shown(result, image, name or "", picture) for image in images] for end, images in ends.items()}
    legend = dict(
        entry for pictures in shown.values() for one in pictures if one.drawn is not None for entry in one.drawn.legend
    )
    facts = result.dataset
    part = f"the first {facts['limit']} of {facts.get('pictures_in_split')}" if "limit" in facts else ""
    return {
        "name": result.subject.name,
        "sha256": result.subject.weights_sha256,
        "details": [(key, show_value(value)) for key, value in result.subject.details.items()],
        "skipped": [(image.name, image.problem) for image in skipped[:_SKIPPED_SHOWN]],
        "more_skipped": max(0, len(skipped) - _SKIPPED_SHOWN),
        "skipped_count": len(skipped),
        "total": len(result.images),
        "part": part,
        "heading": "" if name is None else _heading(name)[0],
        "shown": shown,
        "depth": any(one.drawn is not None and one.drawn.scale for pictures in shown.values() for one in pictures),
        "pairs": isinstance(result.protocol, OrdinalProtocol),
        "legend": list(legend.items()),
        "data": [(key, show_value(value)) for key, value in facts.items()],
        "versions": list(result.versions.items()),
        "machine": result.machine,
        "command": result.command,
        "seconds": [(key, f"{value:.1f} s") for key, value in result.seconds.items()],
    }


def _ends(result: EvaluationResult, metric: str) -> dict[str, list[ImageResult]]:
    """The best pictures, best first, and the worst, worst first; none is in both."""
    sign = -1 if metric_words(metric).higher_is_better else 1
    scored = [(sign * score, k) for k, i in enumerate(result.images) if (score := i.scores.get(metric)) is not None]
    order = [result.images[k] for value, k in sorted(scored) if math.isfinite(value)]
    best = order[: min(SHOWN, math.ceil(len(order) / 2))]
    worst = order[len(best) :][-SHOWN:][::-1]
    return {end: images for end, images in (("Best", best), ("Worst", worst)) if images}


def _shown(result: EvaluationResult, image: ImageResult, metric: str, picture: PictureSource) -> ShownPicture:
    found = picture(result, image)
    number = metric_words(metric).number(image.scores[metric])
    drawn = None if found is None else draw_picture(found)
    return ShownPicture(image.name, number, image.state == "degenerate", drawn)
