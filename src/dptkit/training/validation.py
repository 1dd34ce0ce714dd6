"""Looking at the network while it learns: the loss over pictures that are not trained on, the best one, panels."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
from torch.nn import functional as F

from dptkit.config import DepthDecoding, ModelSpec
from dptkit.data.batches import Batch
from dptkit.data.sample import Dataset
from dptkit.errors import OutputWriteError
from dptkit.model.dpt import DPT
from dptkit.training.config import DepthLoss, LossConfig, TrainConfig
from dptkit.training.logbook import Logbook
from dptkit.training.objective import compute_objective
from dptkit.training.panels import draw_panel
from dptkit.training.sources import panel_batch, validation_batches
from dptkit.weights.tensor_file import write_tensors

_LOG = logging.getLogger("dptkit")
PANEL_PICTURES = 4


@torch.no_grad()
def validation_loss(
    network: DPT,
    batches: Iterable[Batch],
    loss: LossConfig,
    decoding: DepthDecoding | None,
    to_device: Callable[[Batch], Batch],
) -> float:
    """The configured loss without the auxiliary head's part and the anchor, which say nothing of how good an output is,
    in evaluation mode and float32; the mean of the batches'.

    Leaves the network in evaluation mode.
    """
    network.eval()
    loss = replace(loss, anchor=0.0) if isinstance(loss, DepthLoss) else loss
    losses = []
    for batch in batches:
        moved = to_device(batch)
        losses.append(float(compute_objective(network(moved.image), None, moved, loss, decoding).total))
    return sum(losses) / len(losses)


class Onlooker:
    """Validates, keeps the best model, draws panels. Of a run's processes all validate, the one with a logbook writes.

    best: the smallest validation loss whose model is in `best.safetensors`; it goes into checkpoints, so that a run
    that was killed keeps the best of all its parts.
    """

    def __init__(
        self,
        config: TrainConfig,
        spec: ModelSpec,
        logbook: Logbook | None,
        datasets: Sequence[Dataset],
        to_device: Callable[[Batch], Batch],
    ) -> None:
        self.config, self.spec, self.logbook, self.to_device = config, spec, logbook, to_device
        self.best = float("inf")
        self.panel = None
        if logbook is not None and config.panels_every:
            self.panel = panel_batch(config, spec.preprocess, datasets, PANEL_PICTURES)

    def validate(self, step: int, network: DPT) -> dict[str, float]:
        """ "validation" (the loss) and "best", also in `validation.csv`. A full disk is a warning."""
        decoding = self.spec.decoding if isinstance(self.spec.decoding, DepthDecoding) else None
        pictures = validation_batches(self.config, self.spec.preprocess)
        loss = validation_loss(network, pictures, self.config.loss, decoding, self.to_device)
        if loss < self.best:
            try:
                if self.logbook is not None:
                    write_tensors(self.logbook.folder.best, network.state_dict(), self.spec)
                self.best = loss
            except OutputWriteError as error:
                _LOG.warning("best model, after step %d, not written: %s", step, error)
        values = {"validation": loss, "best": self.best}
        if self.logbook is not None:
            self.logbook.write_validation(step, values)
        return values

    @torch.no_grad()
    def draw(self, step: int, network: DPT) -> None:
        """A panel of the same pictures every time."""
        if self.panel is None or self.logbook is None:
            return
        network.eval()
        raw = network(self.to_device(self.panel).image).float()
        size = self.panel.target.shape[-2:]
        if raw.shape[-2:] != size:
            raw = F.interpolate(raw, size, mode="bilinear", align_corners=True)
        self.logbook.write_panel(step, draw_panel(self.panel, raw.cpu().numpy(), self.spec))
