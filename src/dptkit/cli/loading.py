"""Load a predictor for a verb, showing the download of weights if there is one."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, cast

from dptkit.cli.options import check_choice, parse_scales
from dptkit.cli.progress import DownloadBar
from dptkit.config import ModelSpec, TestTimeAugmentation
from dptkit.errors import ConfigError
from dptkit.predictor import Predictor, load
from dptkit.presets import find_preset
from dptkit.runtime.backend import ENGINE_CHOICES, PRECISION_CHOICES, EngineChoice, PrecisionChoice
from dptkit.runtime.choice import check_token_merge
from dptkit.tta import TTA_CHOICES, Views
from dptkit.weights.published import model_file


class Computing(NamedTuple):
    """What computes, as the user asked for it."""

    engine: EngineChoice
    device: str
    precision: PrecisionChoice
    token_merge: float
    views: Views


def check_usage(
    model: str,
    task: str,
    engine: str,
    device: str,
    precision: str,
    token_merge: float = 0.0,
    tta: str = "none",
    scales: str | None = None,
) -> Computing:
    """Before any picture is looked at: raises UnknownModelError or ConfigError for what cannot work."""
    check_choice(engine, ENGINE_CHOICES, "--engine")
    check_choice(precision, PRECISION_CHOICES, "--precision")
    check_choice(tta, TTA_CHOICES, "--tta")
    ratio = check_token_merge(token_merge)
    views = Views(cast(TestTimeAugmentation, tta), parse_scales(scales, tta))
    if model_file(model) is None:
        _check_task(find_preset(model).spec, task)
    return Computing(cast(EngineChoice, engine), device, cast(PrecisionChoice, precision), ratio, views)


def load_predictor(
    model: str,
    task: str,
    *,
    weights: Path | None,
    computing: Computing,
    size: int | None,
    background: tuple[int, int, int],
    streams: int = 1,
) -> Predictor:
    """As `dptkit.load`; raises ConfigError if the model is of another task."""
    bar = DownloadBar(model)
    try:
        predictor = load(
            model,
            weights=weights,
            engine=computing.engine,
            device=computing.device,
            precision=computing.precision,
            token_merge=computing.token_merge,
            tta=computing.views.tta,
            scales=computing.views.scales,
            size=size,
            background=background,
            progress=bar,
            streams=streams,
        )
    finally:
        bar.close()
    _check_task(predictor.spec, task)
    return predictor


def _check_task(spec: ModelSpec, task: str) -> None:
    if spec.task != task:
        verb = {"depth": "dpt depth", "segmentation": "dpt segment"}[spec.task]
        raise ConfigError(f"{spec.name} is a {spec.task} model: use {verb}")
