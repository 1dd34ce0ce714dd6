"""What an evaluation found: every protocol field, what was scored, where, and each picture's numbers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from dptkit.errors import DataError
from dptkit.evaluation.protocol import Protocol, protocol_to_dict
from dptkit.evaluation.subject import SubjectIdentity
from dptkit.image_io.atomic import write_bytes
from dptkit.image_io.names import printable

FORMAT = 1
"""Of result files."""

ImageState = Literal["scored", "degenerate", "skipped"]
"""degenerate: scored, but the fit had no answer of its own (see `dptkit.evaluation.alignment`). skipped: not in any
number, and `problem` says why."""


@dataclass(frozen=True)
class ImageResult:
    """One picture. scores: by metric; None where it has no value for this picture (no boundary, no valid pixel).

    counts: what pooling needs (a flattened confusion matrix, sums), by name; empty where means over pictures are all.
    pixels: how many counted.
    """

    name: str
    source: str
    group: str
    state: ImageState
    scores: dict[str, float | None]
    pixels: int = 0
    counts: dict[str, list[float]] = field(default_factory=dict)
    fit: dict[str, float] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class Interval:
    """A metric over the whole data set. low, high: the 95% bootstrap interval over pictures.

    pictures: those that the metric rests on; others have no value for it.
    """

    value: float | None
    low: float | None
    high: float | None
    pictures: int = 0


@dataclass(frozen=True)
class EvaluationResult:
    """`summary`: by metric. by_source: means per source, by source and metric.

    dataset: name, folder's last part, split, number of pictures, and a fingerprint of their names.
    versions: of dptkit, Python, numpy, torch and what else took part. machine: in words.
    predictions: folder in which the predictions were kept, if they were.
    """

    protocol: Protocol
    subject: SubjectIdentity
    dataset: dict[str, Any]
    summary: dict[str, Interval]
    by_source: dict[str, dict[str, float | None]]
    images: tuple[ImageResult, ...]
    versions: dict[str, str]
    machine: str
    command: str = ""
    predictions: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def degenerate_share(self) -> float:
        """Share of scored pictures whose fit was degenerate, in [0, 1]."""
        scored = [image for image in self.images if image.state != "skipped"]
        return sum(image.state == "degenerate" for image in scored) / max(1, len(scored))


def write_result(path: Path, result: EvaluationResult) -> None:
    """As JSON (ASCII: names of files may hold undecodable bytes), whole or not at all. Raises OutputWriteError."""
    values = asdict(result) | {"format": FORMAT, "protocol": protocol_to_dict(result.protocol)}
    values |= {"degenerate_share": result.degenerate_share}  # for readers of the file; it follows from the pictures
    write_bytes(path, json.dumps(values, indent=1, allow_nan=False).encode())


def read_result(path: Path) -> EvaluationResult:
    """Raises DataError for a file that is no result, or of a format that this version does not know."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("format") != FORMAT:
            raise DataError(f"{printable(path)}: a result of another version of dptkit")
        values.pop("degenerate_share", None)
        return TypeAdapter(EvaluationResult).validate_python(values)
    except OSError as error:
        raise DataError(f"{printable(path)}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise DataError(f"{printable(path)}: not a result of dpt eval ({reason})") from error
