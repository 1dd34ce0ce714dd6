"""Parameter groups by stage, learning rate schedules, and the moving average of weights."""

from __future__ import annotations

import math
from collections.abc import Iterable
from copy import deepcopy
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from dptkit.errors import ConfigError, TrainingError
from dptkit.model.dpt import DPT
from dptkit.training.config import Optimiser

if TYPE_CHECKING:
    from lightning_fabric import Fabric

PEAK_LR = "peak_lr"
"""Key of a parameter group: its learning rate before the schedule."""

DIVERGED = "lower the learning rate, or train in float32"
"""What to do where numbers grow beyond all bounds."""


def build_optimiser(network: DPT, config: Optimiser) -> torch.optim.Optimizer:
    """Two rates: the encoder's and the decoder's (reassemble, fusion, heads). Norms, biases, tokens do not decay.

    The parts that `config.frozen` names are frozen in place; "blocks.1" is not part of the name "blocks.10".
    Raises ConfigError if an entry of `frozen` names nothing, or nothing is left to learn.
    """
    named = dict(network.named_parameters())
    for part in config.frozen:
        for name in _inside(part.removesuffix("."), named):
            named[name].requires_grad_(False)
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in named.items():
        if parameter.requires_grad:
            decays = parameter.ndim > 1 and not name.endswith(("prefix_tokens", "position_embedding.weight"))
            groups.setdefault((name.startswith("encoder."), decays), []).append(parameter)
    if not groups:
        raise ConfigError("optimiser.frozen: nothing is left to learn")
    described = [
        {
            "params": parameters,
            "lr": config.encoder_lr if in_encoder else config.decoder_lr,
            PEAK_LR: config.encoder_lr if in_encoder else config.decoder_lr,
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (in_encoder, decays), parameters in groups.items()
    ]
    if config.kind == "sgd":
        return torch.optim.SGD(described, momentum=config.momentum)
    return (torch.optim.AdamW if config.kind == "adamw" else torch.optim.Adam)(described)


def _inside(part: str, names: Iterable[str]) -> list[str]:
    """The parameters of a part, or the one with that name. Raises ConfigError naming the nearest part if none is."""
    found = [name for name in names if f"{name}.".startswith(f"{part}.")]
    if not found:
        parts = {name.rsplit(".", up)[0] for name in names for up in range(name.count(".") + 1)}
        near = get_close_matches(part, sorted(parts), n=1)
        raise ConfigError(
            f"optimiser.frozen: no part of the network is named {part!r}"
            + (f"; did you mean {near[0]}?" if near else "; they are named as encoder.stem, fusion or head.conv1")
        )
    return found


def schedule_share(config: Optimiser, step: int, steps: int) -> float:
    """The learning rate at a step as a share of its peak: a pure function, so resuming needs no state.

    poly: (1 - t)^power. cosine: half a cosine to `final_share`. one_cycle: cosine up over the warm-up (at least 30% of
    the run if no warm-up is given), cosine down; momentum stays, where torch's OneCycleLR lowers it at the peak. Linear
    warm-up before the others.
    """
    warmup = config.warmup_steps
    if config.schedule == "one_cycle":
        warmup = warmup or max(1, round(0.3 * steps))
        if step < warmup:
            return 0.04 + 0.96 * (1 - math.cos(math.pi * (step + 1) / warmup)) / 2
    elif step < warmup:
        return (step + 1) / warmup
    if config.schedule == "constant":
        return 1.0
    t = (step - warmup) / max(1, steps - warmup)
    if config.schedule == "poly":
        return config.final_share + (1 - config.final_share) * (1 - t) ** config.poly_power
    return config.final_share + (1 - config.final_share) * (1 + math.cos(math.pi * t)) / 2


def set_learning_rates(optimiser: torch.optim.Optimizer, share: float) -> None:
    """Every group's rate becomes that share of its peak."""
    for group in optimiser.param_groups:
        group["lr"] = group[PEAK_LR] * share


def clip_gradients(fabric: Fabric, network: Any, optimiser: Any, norm: float, step: int) -> None:
    """Shorten the gradient to `norm`. network, optimiser: as `fabric.setup` gave them. step: for the message.

    Where float16 gradients are scaled, one that overflowed is left to the scaler, which skips the step and scales less
    from then on. Raises TrainingError for any other that is not finite.
    """
    found = fabric.clip_gradients(network, optimiser, max_norm=norm, error_if_nonfinite=False)
    scaled = getattr(fabric.strategy.precision, "scaler", None) is not None
    if found is not None and not scaled and not found.isfinite():
        raise TrainingError(f"a gradient is not finite at step {step}: {DIVERGED}")


def freeze_batch_norm(network: nn.Module, *, everywhere: bool) -> None:
    """Batch norms that do not learn, or all, use and keep their running statistics.

    A part that is frozen would else become another by its statistics. Call after every `network.train()`.
    """
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            learns = any(parameter.requires_grad for parameter in module.parameters())
            if everywhere or (module.affine and not learns):
                module.eval()


class MovingAverage:
    """Exponential moving average of all floating tensors of a network; integer buffers are copied.

    The decay grows with the number of updates, min(decay, (1 + n) / (10 + n)), so early steps are forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.tensors = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the network's present weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                self.tensors[name].lerp_(tensor.detach(), 1 - decay)
            else:
                self.tensors[name].copy_(tensor)

    def state_dict(self) -> dict[str, object]:
        return {"updates": self.updates, "tensors": self.tensors}

    def load_state_dict(self, state: dict[str, object]) -> None:
        tensors = state["tensors"]
        assert isinstance(tensors, dict)
        self.updates = int(str(state["updates"]))
        for name, tensor in tensors.items():
            self.tensors[name].copy_(tensor)


def learning_rates(config: Optimiser, step: int, steps: int) -> dict[str, float]:
    """By stage, in the step after `step` steps; for the log."""
    share = schedule_share(config, step, steps)
    return {"encoder_lr": config.encoder_lr * share, "decoder_lr": config.decoder_lr * share}


def averaged_network(network: DPT, average: MovingAverage | None) -> DPT:
    """A copy with the moving average's weights; the network itself if there is none."""
    if average is None:
        return network
    copy = deepcopy(network)
    copy.load_state_dict(average.tensors)
    return copy
