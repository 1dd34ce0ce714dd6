"""From relative to metric depth: the scale and shift that a metric model starts from, and keeps.

As the paper does before fine-tuning on NYUv2 and KITTI (section 4.1): predictions of the relative network are aligned
to every training sample, robustly, and the scales and shifts averaged. The network then learns
depth = 1 / (scale * raw + shift) with these two as constants (isl-org/DPT `dpt/models.py`).

B batch · h w crop
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor

from dptkit.config import DepthDecoding, ModelSpec
from dptkit.data.batches import MixedBatches, mixed_loader
from dptkit.data.mixing import Mixture
from dptkit.data.sample import Dataset
from dptkit.errors import TrainingError
from dptkit.image_io.atomic import write_bytes
from dptkit.model.dpt import DPT
from dptkit.training.config import TrainConfig
from dptkit.training.progress import Progress
from dptkit.training.sources import build_augmentation

_BATCH = 4
_EPS = 64 * torch.finfo(torch.float32).eps
"""A deviation of that share of the values is their rounding: the map is constant, and has no scale."""


class MetricStart(NamedTuple):
    """1/m = scale * raw + shift, means over `samples` of the training set."""

    scale: float
    shift: float
    samples: int


def robust_scale_shift(prediction: Tensor, inverse_depth: Tensor, valid: Tensor) -> tuple[float, float] | None:
    """Scale and shift that bring a prediction to 1/m by median and mean absolute deviation (MiDaS, equation 5).

    All three [h, w]. scale = s(truth) / s(prediction), shift = t(truth) - scale * t(prediction), over valid pixels,
    with t the median (of an even number the lower middle one) and s the mean of |x - t|. None where either is constant.
    The authors call it robust: outliers do not move t, but s is a mean, so that wild ones in the truth enlarge the
    scale and in the prediction shrink it. The scale is never negative.
    """
    x, y = prediction[valid].double(), inverse_depth[valid].double()
    if x.numel() == 0:
        return None
    t_x, t_y = x.median(), y.median()
    s_x, s_y = (x - t_x).abs().mean(), (y - t_y).abs().mean()
    if s_x <= _EPS * x.abs().mean() or s_y <= _EPS * y.abs().mean():
        return None
    scale = float(s_y / s_x)
    return scale, float(t_y) - scale * float(t_x)


def find_metric_start(
    config: TrainConfig,
    spec: ModelSpec,
    network: DPT,
    datasets: Sequence[Dataset],
    report: Callable[[int, int], None] = lambda done, samples: None,
) -> MetricStart:
    """Run `network`, where it is, over at most `config.model.metric_samples` training samples, not augmented.

    Which samples is a function of the configuration: the first that its mixture draws. report(done, samples) is called
    now and then. Raises TrainingError if no sample can be aligned, or the data is not in metres.
    """
    wanted = min(config.model.metric_samples, sum(len(dataset) for dataset in datasets))
    weights = tuple(source.weight for source in config.sources)
    mixture = Mixture(tuple(len(dataset) for dataset in datasets), config.seed, _BATCH, weights)
    augmentation = build_augmentation(config, config.phases[0].crops[0], training=False)
    batches = MixedBatches(datasets, mixture, augmentation, -(-wanted // _BATCH))
    device = next(network.parameters()).device
    network.eval()
    found: list[tuple[float, float]] = []
    done = 0
    for batch in mixed_loader(batches, spec.preprocess, config.workers):
        if batch.quantity != "depth_m":
            raise TrainingError(f"{batch.names[0]}: is {batch.quantity}; a metric model needs depth in metres")
        with torch.no_grad():
            raw = network(batch.image.to(device))[:, 0].float().cpu()
        valid = batch.valid & (batch.target > 0)
        inverse = torch.where(valid, 1 / batch.target.clamp(min=1e-6), 0)
        for k in range(min(len(raw), wanted - done)):
            aligned = robust_scale_shift(raw[k], inverse[k], valid[k])
            found += [] if aligned is None else [aligned]
        before, done = done, min(wanted, done + len(raw))
        if done == wanted or done * 10 // wanted > before * 10 // wanted:
            report(done, wanted)
    if not found:
        raise TrainingError(f"{config.name}: none of {wanted} samples has both depth and a prediction that varies")
    scales, shifts = torch.tensor(found, dtype=torch.float64).mean(dim=0).tolist()
    return MetricStart(float(scales), float(shifts), len(found))


def agreed_metric_start(
    fabric: Fabric,
    config: TrainConfig,
    spec: ModelSpec,
    network: DPT,
    datasets: Sequence[Dataset],
    path: Path | None,
    report: Callable[[Progress], None],
) -> MetricStart:
    """Found by the first process, or read from `path` where the run has found it before; the same for all."""

    def find() -> MetricStart:
        network.to(fabric.device)
        return find_metric_start(config, spec, network, datasets, said)

    def said(done: int, samples: int) -> None:
        report(Progress(0, config.steps, {"aligned": done, "of": samples}, 0.0, 0.0))

    start = None
    if fabric.global_rank == 0:
        start = find() if path is None else kept_metric_start(path, find)
        report(Progress(0, config.steps, start._asdict(), 0.0, 0.0))
    return cast(MetricStart, fabric.broadcast(start))


def with_metric_start(spec: ModelSpec, start: MetricStart) -> ModelSpec:
    """The specification whose decoding has these constants."""
    assert isinstance(spec.decoding, DepthDecoding)
    return replace(spec, decoding=replace(spec.decoding, scale=start.scale, shift=start.shift))


def kept_metric_start(path: Path, find: Callable[[], MetricStart]) -> MetricStart:
    """What `path` holds, else what `find` gives, written there: a run that goes on keeps its constants.

    Raises TrainingError for a broken file, OutputWriteError if it cannot be written.
    """
    if path.is_file():
        try:
            content = json.loads(path.read_text("utf-8"))
            return MetricStart(float(content["scale"]), float(content["shift"]), int(content["samples"]))
        except (OSError, ValueError, KeyError, TypeError):
            raise TrainingError(f"{path}: cannot be read; remove it to find scale and shift anew") from None
    start = find()
    write_bytes(path, json.dumps(start._asdict(), indent=2).encode())
    return start
