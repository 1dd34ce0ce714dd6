"""A model's settings measured side by side: loaded, warmed up, timed in turn, each in a process of its own as well."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dptkit.benchmarking.alternating import rounds_of
from dptkit.benchmarking.own_process import OwnProcess, OwnProcessError, measure_in_own_process
from dptkit.benchmarking.pictures import Batch
from dptkit.benchmarking.stages import STAGES, StagedPrediction, Timing
from dptkit.benchmarking.statistics import Latency, Median, latency, median, median_of_ratios
from dptkit.benchmarking.surroundings import Surroundings
from dptkit.predictor import Predictor

WHOLE = "whole"
WARM_UP = 2
"""Calls for each network size: the first compiles for it, the second finds all memory taken."""


@dataclass
class Measured:
    """What is known of one setting so far."""

    label: str
    predictor: Predictor
    timings: list[Timing] = field(default_factory=list)
    own_process: OwnProcess | None = None
    problem: str | None = None
    """Why there is no `own_process`."""

    def seconds(self, stage: str) -> list[float]:
        """Of each batch, in a stage or in the whole."""
        return [timing.whole if stage == WHOLE else timing.seconds[stage] for timing in self.timings]

    def latencies(self) -> dict[str, Latency]:
        """By stage and in the whole; empty before the first batch."""
        return {stage: latency(self.seconds(stage)) for stage in (*STAGES, WHOLE)} if self.timings else {}

    def cores(self) -> float | None:
        """How many `predict` kept busy, median."""
        return median([timing.cores for timing in self.timings]).value if self.timings else None


@dataclass(frozen=True)
class Comparison:
    """How many times as fast the first setting is as another, pair by pair."""

    first: str
    other: str
    predict: Median
    whole: Median


@dataclass
class Bench:
    """One measurement. settings: by label, loaded; batches: taken one a round, again and again."""

    model: str
    settings: dict[str, Measured]
    batches: Sequence[Batch]
    size: int | None
    around: Surroundings
    finished: bool = False

    @property
    def batch_size(self) -> int:
        return len(self.batches[0].paths)

    def measure(self, folder: Path, runs: int | None, seconds: float | None, say: Callable[[str], None]) -> None:
        """Fill `settings`. What was measured before an interruption stays. seconds: for each setting."""
        staged = {label: StagedPrediction(one.predictor, folder) for label, one in self.settings.items()}
        say("warming up")
        firsts = {batch.network_size: batch for batch in reversed(self.batches)}
        for prediction in staged.values():
            for batch in firsts.values():
                for _ in range(WARM_UP):
                    prediction.time(batch)
        say("measuring")
        whole = None if seconds is None else seconds * len(staged)
        for measured in rounds_of(self._sides(staged), runs=runs, seconds=whole):
            for label, timing in measured.items():
                self.settings[label].timings.append(timing)
        for label, one in self.settings.items():
            say(f"start-up and memory of {label}")
            self._measure_alone(one)
        self.finished = True

    def _sides(self, staged: Mapping[str, StagedPrediction]) -> dict[str, Callable[[int], Timing]]:
        def side(prediction: StagedPrediction) -> Callable[[int], Timing]:
            return lambda number: prediction.time(self.batches[number % len(self.batches)])

        return {label: side(prediction) for label, prediction in staged.items()}

    def _measure_alone(self, one: Measured) -> None:
        backend = one.predictor.backend
        try:
            one.own_process = measure_in_own_process(
                self.model, backend.engine, backend.device, backend.precision, self.size, self.batches[0].paths
            )
        except OwnProcessError as error:
            one.problem = str(error)

    def comparisons(self) -> list[Comparison]:
        """The first setting against each other one."""
        (name, first), *others = self.settings.items()
        if not first.timings:
            return []
        return [
            Comparison(
                name,
                label,
                median_of_ratios(other.seconds("predict"), first.seconds("predict")),
                median_of_ratios(other.seconds(WHOLE), first.seconds(WHOLE)),
            )
            for label, other in others
        ]

    def to_json(self) -> dict[str, Any]:
        """All that was measured, times in seconds; the single ones too."""
        return {
            "model": self.model,
            "batch": self.batch_size,
            "network_sizes": sorted({batch.network_size for batch in self.batches}),
            "finished": self.finished,
            **self.around.to_json(),
            "settings": {label: self._setting(one) for label, one in self.settings.items()},
            "comparisons": [asdict(comparison) for comparison in self.comparisons()],
        }

    def _setting(self, one: Measured) -> dict[str, Any]:
        backend, origin, latencies = one.predictor.backend, one.predictor.provenance, one.latencies()
        return {
            "engine": backend.engine,
            "precision": backend.precision,
            "device": backend.device,
            "weights_sha256": origin.weights_sha256,
            "latency_s": {stage: asdict(found) for stage, found in latencies.items()},
            "images_per_s": {stage: self.batch_size / found.mean for stage, found in latencies.items()},
            "cores_busy": one.cores(),
            "own_process": asdict(one.own_process) if one.own_process else None,
            "problem": one.problem,
            "samples_s": {stage: one.seconds(stage) for stage in STAGES},
        }
