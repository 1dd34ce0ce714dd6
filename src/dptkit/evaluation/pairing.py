"""Two results over the same pictures: the difference, and how far it would move had other pictures been taken.

Paired: each sample of the bootstrap draws the same pictures for both, so what makes a picture hard for both cancels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dptkit.errors import DataError
from dptkit.evaluation.metric_words import metric_words
from dptkit.evaluation.protocol import Protocol
from dptkit.evaluation.result import EvaluationResult, ImageResult
from dptkit.evaluation.summary import estimator, strata_of
from dptkit.image_io.names import printable

Array = npt.NDArray[np.float64]
_WEIGHTS_AT_ONCE = 4_000_000
"""Entries of the weights' matrix that are in memory together."""


@dataclass(frozen=True)
class PairedDifference:
    """One metric, right minus left, over the pictures that both scored.

    low, high: 95% interval of the bootstrap over pictures. p: two-sided; twice the share of samples on the rarer side
        of zero, never below 2 / (samples + 1), nor below 2^(1 - n) for n pictures that differ, the least of an exact
        sign-flip test. None where there is no value, or below two pictures.
    wins, ties, losses: pictures for which right is better than left, as good, worse; where both have a value.
    """

    left: float | None
    right: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    wins: int
    ties: int
    losses: int


def pictures_in_common(results: Sequence[EvaluationResult]) -> list[tuple[ImageResult, ...]]:
    """Each result's pictures that all of them scored, matched by name, in the first one's order.

    Names are unique within a source; where two sources share a name, the source must be the same too.
    Raises DataError where nothing is in common, saying so of data sets that differ.
    """
    with_source = any(
        count > 1 for result in results for count in Counter(image.name for image in result.images).values()
    )
    tables = [
        {
            (image.source if with_source else "", image.name): image
            for image in result.images
            if image.state != "skipped"
        }
        for result in results
    ]
    shared = [key for key in tables[0] if all(key in table for table in tables[1:])]
    if not shared:
        kinds = " and ".join(dict.fromkeys(_data_name(result) for result in results))
        raise DataError(f"no picture was scored in all results ({kinds}): nothing can be compared")
    return [tuple(table[key] for key in shared) for table in tables]


def _data_name(result: EvaluationResult) -> str:
    facts = result.dataset
    return printable(f"{facts.get('name', 'unknown')} {facts.get('split') or ''}".strip())


def paired_differences(
    left: Sequence[ImageResult],
    right: Sequence[ImageResult],
    protocols: tuple[Protocol, Protocol],
    *,
    samples: int,
    seed: int,
) -> dict[str, PairedDifference]:
    """Every metric that both have, by name. left, right: the same pictures in the same order.

    protocols: those of left and right; each side is summed up by its own. Where one of them gives sources or
    videos equal weight, samples are drawn within these. The same seed gives the same numbers.
    """
    (left_names, of_left), (right_names, of_right) = estimator(left, protocols[0]), estimator(right, protocols[1])
    names = [name for name in left_names if name in right_names]
    columns = [[known.index(name) for name in names] for known in (left_names, right_names)]
    ones = np.ones((1, len(left)))
    before, after = of_left(ones)[0, columns[0]], of_right(ones)[0, columns[1]]
    drawn = np.concatenate(
        [of_right(w)[:, columns[1]] - of_left(w)[:, columns[0]] for w in _draws(left, protocols, samples, seed)]
    )
    return {
        name: _paired((float(before[k]), float(after[k])), drawn[:, k], _records(left, right, name), len(left))
        for k, name in enumerate(names)
    }


def run_differences(
    left: Sequence[EvaluationResult], right: Sequence[EvaluationResult], metric: str, *, samples: int, seed: int
) -> tuple[Array, Array]:
    """Two models that were trained several times: right minus left of `metric`, for each pair of runs [R], and the mean
    of these in each sample of the bootstrap over pictures [samples]; none where no two pictures are averaged.

    Over the pictures that all scored, by the first one's protocol, which all share; every run gets the same draws. NaN
    where there is no value. Raises DataError where nothing is in common, ValueError for other counts left and right or
    a metric that is not there.
    """
    protocol = left[0].protocol
    images = pictures_in_common([*left, *right])
    estimates = []
    for part in images:
        names, estimate = estimator(part, protocol)
        estimates.append((names.index(metric), estimate))
    pairs = list(zip(estimates[: len(left)], estimates[len(left) :], strict=True))

    def differences(weights: Array) -> Array:
        return np.column_stack([after(weights)[:, j] - before(weights)[:, i] for (i, before), (j, after) in pairs])

    values = differences(np.ones((1, len(images[0]))))[0]
    if all(len(stratum) < 2 for stratum in strata_of(images[0], protocol)):
        return values, np.empty(0)
    drawn = [differences(weights).mean(axis=1) for weights in _draws(images[0], (protocol, protocol), samples, seed)]
    return values, np.concatenate(drawn)


def _draws(
    images: Sequence[ImageResult], protocols: tuple[Protocol, Protocol], samples: int, seed: int
) -> Iterator[Array]:
    """How often each picture is drawn, [s, N] a part, `samples` rows in all."""
    rng = np.random.default_rng(seed)
    strata = max((strata_of(images, protocol) for protocol in protocols), key=len)
    at_once = max(1, _WEIGHTS_AT_ONCE // len(images))
    for begin in range(0, samples, at_once):
        count = min(at_once, samples - begin)
        weights = np.zeros(count * len(images))
        rows = len(images) * np.arange(count)[:, None]
        for members in strata:
            places = members[rng.integers(len(members), size=(count, len(members)))]
            weights += np.bincount((rows + places).ravel(), minlength=weights.size)
        yield weights.reshape(count, len(images))


def _records(left: Sequence[ImageResult], right: Sequence[ImageResult], name: str) -> tuple[int, int, int]:
    higher_is_better = metric_words(name).higher_is_better
    gains = [
        (b - a) if higher_is_better else (a - b)
        for a, b in ((one.scores.get(name), other.scores.get(name)) for one, other in zip(left, right, strict=True))
        if a is not None and b is not None
    ]
    return sum(g > 0 for g in gains), sum(g == 0 for g in gains), sum(g < 0 for g in gains)


def _paired(
    values: tuple[float, float], drawn: Array, records: tuple[int, int, int], pictures: int
) -> PairedDifference:
    before, after = (value if np.isfinite(value) else None for value in values)
    difference = None if before is None or after is None else after - before
    kept = drawn[np.isfinite(drawn)]
    # Metrics of counts alone (mean_accuracy) have no value for a picture, hence no records.
    if difference is None or not kept.size or (sum(records) or pictures) < 2:
        return PairedDifference(before, after, difference, None, None, None, *records)
    low, high = (float(edge) for edge in np.percentile(kept, (2.5, 97.5)))
    rarer = min(int((kept <= 0).sum()), int((kept >= 0).sum()))
    p = 2 * (rarer + 1) / (len(kept) + 1)
    # A few pictures that all agree make every sample agree, by chance too: no test that swaps left and right within
    # pictures can tell more than their number allows.
    telling = records[0] + records[2] if sum(records) else pictures
    p = min(1.0, max(p, 2.0 ** (1 - telling)))
    return PairedDifference(before, after, difference, low, high, p, *records)
