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

from dptkit.errors import TrainingError
from dptkit.image_io.atomic import write_bytes
from dptkit.training.ablation_config import Ablation
from dptkit.training.ablation_score import OpenedSet, Score, check_scoring, evaluate_variant, open_scored
from dptkit.training.ablation_table import Table, build_table, write_table
from dptkit.training.config import TrainConfig, to_plain
from dptkit.training.loop import Trainer
from dptkit.training.progress import Progress
from dptkit.training.run_folder import RunFolder
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

    announce: called with a line before each run, and with its scores after. Raises DataError, ConfigError or
    WeightsError before the first step of a run, TrainingError where a folder holds another run or a loss diverges,
    TrainingStopped if `stop` asked for it.
    """
    stop = stop or StopRequest()
    check_scoring(ablation.scoring)
    datasets = {name: open_scored(f"scoring.data.{name}", scored) for name, scored in ablation.scoring.data.items()}
    runs = ablation_runs(ablation, folder)
    done = [run.finished for run in runs]  # of all, so that another run's folder is found before hours of training
    found: dict[str, dict[int, dict[str, Score]]] = {name: {} for name in ablation.configs}
    table = build_table(ablation, found)
    for number, (run, finished) in enumerate(zip(runs, done, strict=True), start=1):
        what = f"[{number}/{len(runs)}] {run.variant}, seed {run.seed}"
        announce(f"{what}: {'trained before' if finished else f'training, {run.config.steps} steps'}")
        if not finished:
            with screen() as report:
                Trainer(run.config, run.folder, report, stop).train()
        scores = _score(run, ablation, datasets, stop)
        announce(f"{what}: " + ", ".join(f"{name} {score.value:.4f}" for name, score in scores.items()))
        found[run.variant][run.seed] = scores
        table = build_table(ablation, found)
        write_table(folder, ablation, table, _runs_record(runs, found))
    return table


def _score(
    run: AblationRun, ablation: Ablation, datasets: Mapping[str, OpenedSet], stop: StopRequest
) -> dict[str, Score]:
    """Each data set's, from `scores.json` where this very model was scored in this very way; else into it."""
    path, model = run.folder / _SCORES, run.folder / _MODEL
    digest = sha256_of(model)
    record = _read(path)
    scores = {}

    def stop_if_asked() -> None:
        if stop.signal:
            raise TrainingStopped(run.config.steps, run.config.steps, stop.signal)

    for name, opened in datasets.items():
        how = {
            "model_sha256": digest,
            "protocol": ablation.scoring.protocol,
            "metric": ablation.scoring.metric,
            "data": opened.facts,
        }
        known = record.get(name, {})
        if known.get("how") != how:
            stop_if_asked()
            result = run.folder / "scores" / f"{name}.json"
            score = evaluate_variant(model, opened, ablation.scoring, result, stop_if_asked)
            known = record[name] = {"how": how, "score": asdict(score)}
            write_bytes(path, json.dumps(record, indent=1).encode())
        scores[name] = Score(**known["score"])
    return scores


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
