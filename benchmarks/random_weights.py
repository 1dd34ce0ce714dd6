"""A weight file of random numbers, for figures that need no published weights."""

from __future__ import annotations

from pathlib import Path

from dptkit.presets import find_preset


def random_weights(model: str, folder: Path) -> Path:
    """A weight file of this architecture in `folder`; the one that is there, if there is one."""
    preset = find_preset(model)
    path = folder / f"{preset.name}.safetensors"
    if not path.exists():
        import torch

        from dptkit.model.build import build_model
        from dptkit.weights.tensor_file import write_tensors

        torch.manual_seed(0)
        network = build_model(preset.spec.model).eval()
        if preset.spec.task == "depth":
            network.head.conv3.bias.data.fill_(1.0)  # off the final ReLU's zero
        folder.mkdir(parents=True, exist_ok=True)
        write_tensors(path, network.state_dict(), preset.spec)
    return path
