"""Ablations: variants of one network, each trained with each seed, scored on held-out data, in one table.

One run after the other, each through `Trainer` in a folder of its own, DIR/VARIANT/seedN. What is finished is kept, and
what was interrupted goes on, so the same command may be given as often as needed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dptkit.errors import TrainingError, WeightsError
from dptkit.evaluation.result import EvaluationResult, read_result
from dptkit.image_io.atomic import write_bytes
from dptkit.training.ablation_config import Ablation
from dptkit.training.ablation_differences import compare_variants
from dptkit.training.ablation_score import OpenedSet, Score, check_scoring, evaluate_variant, open_scored, score_of
from dptkit.training.ablation_table import FailedRun, Table, build_table, write_table
from dptkit.training.config import TrainConfig, to_plain
from dptkit.training.loop import Trainer
from dptkit.training.progress import Progress
from dptkit.training.run_folder import RunFolder
from dptkit.training.start import build_spec
from dptkit.training.stopping import StopRequest, TrainingStopped
from dptkit.weights.cache import sha256_of

_MODEL = "model.safetensors"
_SCORES = "scores.json"

Screen = Callable[[], AbstractContextManager[Callable[[Progress], None]]]
"""Opened for each run, and called with what it says of itself."""


@dataclass(frozen=True)
class AblationRun:
    """One variant with one seed."""

    variant: str
    seed: int
    config: TrainConfig
    folder: Path

    @property
    def finished(self) -> bool:
        """Whether it was trained to the end, before. Raises TrainingError if the folder holds another run."""
        return RunFolder(self.folder).check_same(self.config) and (self.folder / _MODEL).is_file()


def ablation_runs(ablation: Ablation, folder: Path) -> list[AblationRun]:
    """All of them, in the order in which they are trained: a seed of every variant, then the next seed."""
    return [
        AblationRun(variant, seed, replace(config, seed=seed), folder / variant / f"seed{seed}")
        for seed in ablation.seeds
        for variant, config in ablation.configs.items()
    ]


def run_ablation(
    ablation: Ablation,
    folder: Path,
    *,
    announce: Callable[[str], None] = lambda text: None,
    screen: Screen = lambda: nullcontext(lambda progress: None),
    stop: StopRequest | None = None,
) -> Table:
    """Train and score what is not yet; after each run `ablation.json` and `ablation.csv` are written anew.

    announce: called with a line before each run, and with its scores after. A run whose weights cannot be had or whose
    loss diverges is in `Table.failed`, and the others go on. Raises ConfigError for a variant that cannot be and
    TrainingError where a folder holds another run, both before anything is trained; DataError where data cannot be
    read or scored; TrainingStopped if `stop` asked for it.
    """
    stop = stop or StopRequest()
    check_scoring(ablation.scoring)
    datasets = {name: open_scored(f"scoring.data.{name}", scored) for name, scored in ablation.scoring.data.items()}
    for config in ablation.configs.values():
        build_spec(config)
    runs = ablation_runs(ablation, folder)
    done = [run.finished for run in runs]  # of all, so that another run's folder is found before hours of training
    found: dict[str, dict[int, dict[str, Score]]] = {name: {} for name in ablation.configs}
    results: dict[str, dict[int, dict[str, EvaluationResult]]] = {name: {} for name in ablation.configs}
    failed: list[FailedRun] = []
    table = build_table(ablation, found)
    for number, (run, finished) in enumerate(zip(runs, done, strict=True), start=1):
        what = f"[{number}/{len(runs)}] {run.variant}, seed {run.seed}"
        announce(f"{what}: {'trained before' if finished else f'training, {run.config.steps} steps'}")
        problem = None if finished else _train(run, screen, stop)
        if problem is not None:
            failed.append(FailedRun(run.variant, run.seed, problem))
            announce(f"{what}: failed: {problem}")
        else:
            results[run.variant][run.seed] = scored = _score(run, ablation, datasets, stop)
            scores = {name: score_of(result, ablation.scoring.metric) for name, result in scored.items()}
            announce(f"{what}: " + ", ".join(f"{name} {score.value:.4f}" for name, score in scores.items()))
            found[run.variant][run.seed] = scores
        table = build_table(ablation, found, compare_variants(ablation, results), failed)
        write_table(folder, ablation, table, _runs_record(runs, found))
    return table


def _train(run: AblationRun, screen: Screen, stop: StopRequest) -> str | None:
    """What went wrong, if it is this run's own fault and not the data's, which all share."""
    try:
        with screen() as report:
            Trainer(run.config, run.folder, report, stop).train()
    except (TrainingError, WeightsError) as error:
        return str(error)
    return None


def _score(
    run: AblationRun, ablation: Ablation, datasets: Mapping[str, OpenedSet], stop: StopRequest
) -> dict[str, EvaluationResult]:
    """On each data set, as kept where this very model was scored in this very way; else made and kept.

    A result has every metric of its protocol, so that asking for another one costs nothing.
    """
    path, model = run.folder / _SCORES, run.folder / _MODEL
    digest = sha256_of(model)
    record = _read(path)
    results = {}

    def stop_if_asked() -> None:
        if stop.signal:
            raise TrainingStopped(run.config.steps, run.config.steps, stop.signal, run.config.steps)

    for name, opened in datasets.items():
        how = {"model_sha256": digest, "protocol": ablation.scoring.protocol, "data": opened.facts}
        file = run.folder / "scores" / f"{name}.json"
        known = record.get(name, {}).get("how", {})
        same = file.is_file() and all(known.get(key) == value for key, value in how.items())
        result = read_result(file) if same else None
        if result is None or ablation.scoring.metric not in result.summary:
            stop_if_asked()
            if record.pop(name, None) is not None:  # first, or a crash could leave it beside another's result
                write_bytes(path, json.dumps(record, indent=1).encode())
            result = evaluate_variant(model, opened, ablation.scoring, file, stop_if_asked)
            record[name] = {"how": how}
            write_bytes(path, json.dumps(record, indent=1).encode())
        results[name] = result
    return results


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise TrainingError(f"{path}: not a record of scores; remove it, and the run is scored again")
    return content


def _runs_record(
    runs: list[AblationRun], found: Mapping[str, Mapping[int, Mapping[str, Score]]]
) -> list[dict[str, Any]]:
    return [
        {
            "variant": run.variant,
            "seed": run.seed,
            "scores": {name: asdict(score) for name, score in found[run.variant][run.seed].items()},
            "config": to_plain(run.config),
        }
        for run in runs
        if run.seed in found[run.variant]
    ]
