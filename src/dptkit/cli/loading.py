"""Load a predictor for a verb, showing the download of weights if there is one."""

from __future__ import annotations

from pathlib import Path

from dptkit.cli.progress import DownloadBar
from dptkit.config import ModelSpec
from dptkit.errors import ConfigError
from dptkit.predictor import Predictor, load
from dptkit.presets import PRESETS
from dptkit.runtime.backend import PRECISIONS


def check_model(model: str, task: str) -> None:
    """Raises ConfigError at once if `model` is a preset of another task."""
    if model in PRESETS:
        _check_task(PRESETS[model].spec, task)


def load_predictor(
    model: str,
    task: str,
    *,
    weights: Path | None,
    device: str,
    precision: str,
    size: int | None,
    background: tuple[int, int, int],
) -> Predictor:
    """As `dptkit.load`; raises ConfigError if the model is of another task."""
    if precision not in PRECISIONS:
        raise ConfigError(f"--precision: {precision!r} is none of {', '.join(PRECISIONS)}")
    bar = DownloadBar(model)
    try:
        predictor = load(
            model,
            weights=weights,
            device=device,
            precision=precision,
            size=size,
            background=background,
            progress=bar,
        )
    finally:
        bar.close()
    _check_task(predictor.spec, task)
    return predictor


def _check_task(spec: ModelSpec, task: str) -> None:
    if spec.task != task:
        verb = {"depth": "dpt depth", "segmentation": "dpt segment"}[spec.task]
        raise ConfigError(f"{spec.name} is a {spec.task} model: use {verb}")
