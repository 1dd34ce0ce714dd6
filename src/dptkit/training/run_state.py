"""All that a run goes on from: what a checkpoint holds, gathered from the run's processes and put back into them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric

from dptkit.errors import TrainingError
from dptkit.model.dpt import DPT
from dptkit.training.checkpoint import random_states, set_random_states
from dptkit.training.optimiser import DIVERGED, MovingAverage
from dptkit.training.processes import gather_everywhere, largest_everywhere


@dataclass(frozen=True)
class RunState:
    """The parts of a run that change as it goes on."""

    fabric: Fabric
    network: DPT
    optimiser: Any
    average: MovingAverage | None

    def gather(self, step: int, best: float) -> dict[str, Any]:
        """For a checkpoint after `step` steps. To be called by all processes.

        Raises TrainingError where a weight is not finite: the checkpoints before are better to go on from.
        """
        floating = [tensor for tensor in self.network.state_dict().values() if tensor.is_floating_point()]
        finite = bool(torch.stack([tensor.isfinite().all() for tensor in floating]).all())
        if largest_everywhere(self.fabric, int(not finite)):
            raise TrainingError(f"weights are not finite after step {step}, and are not saved: {DIVERGED}")
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "random": gather_everywhere(self.fabric, random_states()),
            "scaler": self.fabric.strategy.precision.state_dict(),  # empty but for float16
            "best": best,
            "average": None if self.average is None else self.average.state_dict(),
        }

    def restore(self, state: Mapping[str, Any] | None, seed: int) -> int:
        """The number of steps that were made: of a checkpoint, or 0 without one. To be called by all processes.

        Raises TrainingError where processes found different ones.
        """
        step = 0 if state is None else int(state["step"])
        steps = gather_everywhere(self.fabric, step)
        if len(set(steps)) > 1:
            raise TrainingError(
                f"processes would go on from different steps, {sorted(set(steps))}: all need the same run's folder"
            )
        if state is None:
            torch.manual_seed(seed + 1 + self.fabric.global_rank)
            return 0
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        set_random_states(state["random"], self.fabric.global_rank)
        if state.get("scaler"):
            self.fabric.strategy.precision.load_state_dict(state["scaler"])
        return step
