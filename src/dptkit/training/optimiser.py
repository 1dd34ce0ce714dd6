"""Parameter groups by stage, learning rate schedules, and the moving average of weights."""

from __future__ import annotations

import math
from copy import deepcopy

import torch
from torch import Tensor, nn

from dptkit.errors import ConfigError
from dptkit.model.dpt import DPT
from dptkit.training.config import Optimiser

PEAK_LR = "peak_lr"
"""Key of a parameter group: its learning rate before the schedule."""


def build_optimiser(network: DPT, config: Optimiser) -> torch.optim.Optimizer:
    """Two rates: the encoder's and the decoder's (reassemble, fusion, heads). Norms, biases, tokens do not decay.

    Parameters whose names start with one of `config.frozen` are frozen in place.
    Raises ConfigError if an entry of `frozen` names nothing, or nothing is left to learn.
    """
    named = dict(network.named_parameters())
    for start in config.frozen:
        matching = [name for name in named if name.startswith(start)]
        if not matching:
            raise ConfigError(f"optimiser.frozen: no parameter's name starts with {start!r}")
        for name in matching:
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


def freeze_batch_norm(network: nn.Module) -> None:
    """Batch norms use, and keep, their running statistics. Call after every `network.train()`."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
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
