"""From a model's name, or a file, to a network with its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from dptkit.config import ModelConfig, ModelSpec
from dptkit.errors import WeightsError
from dptkit.model.build import build_model
from dptkit.model.dpt import DPT
from dptkit.presets import find_preset
from dptkit.weights.cache import Progress, sha256_of
from dptkit.weights.convert import convert_to_ours
from dptkit.weights.published import model_file, published_weights
from dptkit.weights.tensor_file import read_tensors


class LoadedModel(NamedTuple):
    """A network with weights, in evaluation mode, what it is, and the hash of the file it came from."""

    spec: ModelSpec
    network: DPT
    sha256: str


def load_model(model: str | Path, weights: str | Path | None = None, progress: Progress | None = None) -> LoadedModel:
    """Load a preset by name, or a safetensors file of ours by path.

    weights: a file in any known layout (recognised by its tensor names) to put into that preset's architecture
    instead of the published weights. Raises UnknownModelError, or WeightsError naming the file and what is wrong.
    """
    path = model_file(model)
    if path is not None:
        if weights is not None:
            raise WeightsError(f"{path}: is a whole model already; give either a model file or a preset with weights")
        tensors, spec = read_tensors(path)
        if spec is None:
            raise WeightsError(
                f"{path}: does not say which network it is for; name the architecture too, as in "
                f"load('dpt-large', weights='{path.name}')"
            )
    else:
        preset = find_preset(str(model))
        path = Path(weights) if weights is not None else published_weights(preset, progress)
        tensors, own_spec = read_tensors(path)
        spec = preset.spec if own_spec is None or own_spec.model == preset.spec.model else own_spec
        if spec is not preset.spec:
            raise WeightsError(f"{path}: holds the network of {spec.name}, not that of {preset.name}")
    return LoadedModel(spec, build_network(spec.model, tensors, str(path), copy=False), sha256_of(path))


def build_network(
    config: ModelConfig, tensors: Mapping[str, Tensor], where: str = "state dict", *, copy: bool = True
) -> DPT:
    """The network of `config` with these weights (any layout), float32, in evaluation mode.

    copy: False takes the tensors over, which saves memory; they must not be used elsewhere.
    """
    ours = convert_to_ours(tensors, config, where)
    with torch.device("meta"):
        network = build_model(config)
    wanted = network.state_dict()
    cast = {name: tensor.to(wanted[name].dtype, copy=copy) for name, tensor in ours.items()}
    network.load_state_dict(cast, strict=True, assign=True)
    return network.eval()
