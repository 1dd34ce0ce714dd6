"""Load a predictor for a verb, showing the download of weights if there is one."""

from __future__ import annotations

from pathlib import Path

from dptkit.cli.options import check_choice
from dptkit.cli.progress import DownloadBar
from dptkit.config import ModelSpec
from dptkit.errors import ConfigError
from dptkit.predictor import Predictor, load
from dptkit.presets import find_preset
from dptkit.runtime.backend import PRECISIONS, Precision
from dptkit.weights.published import model_file


def check_usage(model: str, task: str, precision: str) -> Precision:
    """Before any picture is looked at: raises UnknownModelError or ConfigError for what cannot work."""
    check_choice(precision, PRECISIONS, "--precision")
    if model_file(model) is None:
        _check_task(find_preset(model).spec, task)
    assert precision in PRECISIONS
    return precision


def load_predictor(
    model: str,
    task: str,
    *,
    weights: Path | None,
    device: str,
    precision: Precision,
    size: int | None,
    background: tuple[int, int, int],
) -> Predictor:
    """As `dptkit.load`; raises ConfigError if the model is of another task."""
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
