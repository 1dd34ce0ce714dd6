"""From a run's configuration to the network that it starts with."""

from __future__ import annotations

from dataclasses import replace

import torch

from dptkit.config import DepthDecoding, LiteConfig, ModelSpec
from dptkit.errors import ConfigError
from dptkit.model.build import build_model
from dptkit.model.dpt import DPT
from dptkit.model.heads import DepthHead
from dptkit.presets import find_preset
from dptkit.training.config import MetricLoss, SegmentationLoss, TrainConfig
from dptkit.weights.load import load_model
from dptkit.weights.stem import load_imagenet_stem


def build_spec(config: TrainConfig) -> ModelSpec:
    """What the trained model will be. Raises ConfigError where loss and architecture do not go together."""
    spec = find_preset(config.model.architecture).spec
    wanted = "segmentation" if isinstance(config.loss, SegmentationLoss) else "depth"
    if spec.task != wanted:
        raise ConfigError(f"{config.name}: {spec.name} is for {spec.task}, the loss for {wanted}")
    decoding = spec.decoding
    if isinstance(config.loss, MetricLoss) and not (
        isinstance(decoding, DepthDecoding) and decoding.quantity == "depth_m"
    ):
        raise ConfigError(f"{config.name}: a metric loss needs a metric architecture, such as dpt-hybrid-nyu")
    model = spec.model
    if config.model.transformer_depth is not None:
        if not isinstance(model.encoder, LiteConfig):
            raise ConfigError("model.transformer_depth: only dpt-lite has no published depth")
        depth = config.model.transformer_depth
        model = replace(model, encoder=replace(model.encoder, depth=depth, out_indices=(depth // 2 - 1, depth - 1)))
    return replace(spec, name=config.name, model=model, license=config.license, trained_on=config.trained_on)


def build_start(config: TrainConfig) -> DPT:
    """The network with the weights that `config.model` names, float32, on the CPU; random ones follow the seed."""
    start = config.model
    if start.weights == "random":
        torch.manual_seed(config.seed)
        network = build_model(build_spec(config).model)
        if isinstance(network.head, DepthHead) and network.head.non_negative:
            # A head that begins below zero everywhere has no gradient behind its last ReLU, and never learns.
            torch.nn.init.constant_(network.get_parameter("head.conv3.bias"), 1.0)
        if start.imagenet_stem:
            load_imagenet_stem(network)
        return network
    weights = None if start.weights == "published" else start.weights
    return load_model(start.architecture, weights).network.requires_grad_(True)
