"""From a run's configuration to the network that it starts with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from dptkit.config import (
    DepthDecoding,
    LiteConfig,
    ModelConfig,
    ModelSpec,
    SegmentationDecoding,
    SegmentationHeadConfig,
    unpruned,
)
from dptkit.errors import ConfigError, WeightsError
from dptkit.label_sets import voc_palette
from dptkit.model.build import build_model
from dptkit.model.dpt import DPT
from dptkit.model.heads import DepthHead
from dptkit.presets import PRESETS, find_architecture
from dptkit.training.config import UNSTATED, MetricLoss, ModelStart, SegmentationLoss, TrainConfig
from dptkit.training.miniature import shrink
from dptkit.training.sources import open_source
from dptkit.weights.encoder import load_encoder
from dptkit.weights.load import load_model
from dptkit.weights.locate import read_spec
from dptkit.weights.stem import load_imagenet_stem

_HEADS = ("head.", "auxiliary_head.")


def build_spec(config: TrainConfig) -> ModelSpec:
    """What the trained model will be. Raises ConfigError where loss and architecture do not go together.

    Of a relative architecture that becomes metric, scale and shift are those of `metric_start`, not yet known here.
    Raises DataError if the classes are the data's and it cannot be opened.
    """
    _check_name(config.model)
    spec = find_architecture(config.model.architecture)
    _check_crops(config, spec.preprocess.multiple_of)
    own = _own_spec(config.model)
    if own is not None:
        spec = replace(spec, model=own.model)  # that of the file, pruned
    wanted = "segmentation" if isinstance(config.loss, SegmentationLoss) else "depth"
    if spec.task != wanted:
        raise ConfigError(f"{config.name}: {spec.name} is for {spec.task}, the loss for {wanted}")
    spec = replace(_with_terms(spec, config), name=config.name)
    if config.model.size is not None:
        spec = replace(spec, preprocess=replace(spec.preprocess, size=config.model.size))
    if config.model.transformer_depth is not None:
        spec = replace(spec, model=_with_depth(spec.model, config.model.transformer_depth))
    spec = replace(spec, model=_with_changes(spec.model, config.model))
    if config.model.miniature:
        spec = shrink(spec, keep_size=config.model.size is not None)
    if isinstance(config.loss, MetricLoss):
        return _metric(spec, config)
    spec = _with_classes_of_data(spec, config) if config.model.classes == "data" else spec
    _check_class_weights(spec, config)
    return spec


def _check_class_weights(spec: ModelSpec, config: TrainConfig) -> None:
    if isinstance(config.loss, SegmentationLoss) and isinstance(spec.decoding, SegmentationDecoding):
        weights, classes = len(config.loss.class_weights), len(spec.decoding.class_names)
        if weights not in (0, classes):
            raise ConfigError(f"{config.name}: loss.class_weights: {weights} for {classes} classes")


def _check_name(start: ModelStart) -> None:
    """A file where a network's name belongs, as `dpt depth --model` takes it."""
    if Path(start.architecture).is_file():
        own = read_spec(Path(start.architecture))
        name = next((name for name, preset in PRESETS.items() if own and preset.spec.model == own.model), "NAME")
        raise ConfigError(
            f"model.architecture: {start.architecture} is a file; name its network, and the file as its weights: "
            f"model.architecture={name} model.weights={start.architecture}"
        )


def _check_crops(config: TrainConfig, multiple: int) -> None:
    for number, phase in enumerate(config.phases):
        for crop in phase.crops:
            if any(side % multiple for side in crop):
                near = "x".join(str(max(1, round(side / multiple)) * multiple) for side in crop)
                raise ConfigError(
                    f"phases.{number}: crops of {crop[0]}x{crop[1]}: {config.model.architecture} takes multiples of "
                    f"{multiple}, such as {near}"
                )


def _with_terms(spec: ModelSpec, config: TrainConfig) -> ModelSpec:
    """Licence and data as the configuration states them, else what is known of the weights that the run starts from."""
    start = config.model
    origin = None
    if start.body is not None or start.weights not in ("random", "published"):
        source = start.body or start.weights
        origin = PRESETS[source].spec if source in PRESETS else read_spec(Path(source))
    elif start.weights == "published":
        origin = spec
    license_, trained_on = config.license, config.trained_on
    if origin is not None and license_ == UNSTATED:
        license_ = f"{UNSTATED}; starts from {origin.name}: {origin.license}"
    if origin is not None and trained_on == UNSTATED:
        trained_on = f"{UNSTATED}; starts from {origin.name}: {origin.trained_on}"
    return replace(spec, license=license_, trained_on=trained_on)


def _own_spec(start: ModelStart) -> ModelSpec | None:
    """What `weights` holds, where it is the architecture with heads or neurons taken out (`dpt prune`)."""
    own = read_spec(Path(start.weights))
    if own is None or own.model.encoder.blocks is None:
        return None
    return own if unpruned(own.model) == find_architecture(start.architecture).model else None


def _own_classes(start: ModelStart) -> tuple[str, ...] | None:
    """Those that `weights` knows, where it is a file of the architecture with a class list of its own."""
    own, published = read_spec(Path(start.weights)), find_architecture(start.architecture)
    if own is None or not isinstance(own.decoding, SegmentationDecoding):
        return None
    return own.decoding.class_names if replace(own.model, head=published.model.head) == published.model else None


def _with_depth(model: ModelConfig, depth: int) -> ModelConfig:
    if not isinstance(model.encoder, LiteConfig):
        raise ConfigError("model.transformer_depth: only dpt-lite has no published depth")
    return replace(model, encoder=replace(model.encoder, depth=depth, out_indices=(depth // 2 - 1, depth - 1)))


def _with_changes(model: ModelConfig, start: ModelStart) -> ModelConfig:
    """Another Read, other taps, another number of prefix tokens. Raises ConfigError for taps that cannot be."""
    encoder, decoder = model.encoder, model.decoder
    if start.readout is not None:
        decoder = replace(decoder, readout=start.readout)
    if start.prefix_tokens is not None:
        encoder = replace(encoder, prefix_tokens=start.prefix_tokens)
    if start.out_indices is not None:
        counts = {"vit": (4,), "hybrid": (2, 4), "lite": (2,)}[encoder.kind]
        if len(start.out_indices) not in counts or start.out_indices[-1] >= encoder.depth:
            raise ConfigError(
                f"model.out_indices: {start.architecture} is tapped at {' or '.join(map(str, counts))} blocks "
                f"from 0 to {encoder.depth - 1}, not at {list(start.out_indices)}"
            )
        encoder = replace(encoder, out_indices=start.out_indices)  # type: ignore[arg-type]
    return replace(model, encoder=encoder, decoder=decoder)


def _metric(spec: ModelSpec, config: TrainConfig) -> ModelSpec:
    assert isinstance(spec.decoding, DepthDecoding)
    is_metric, cap_m = spec.decoding.quantity == "depth_m", config.model.metric_cap_m
    if is_metric and cap_m is not None:
        raise ConfigError(
            f"{config.name}: {config.model.architecture} is metric already, to {spec.decoding.cap_m:g} m; "
            "leave metric_cap_m out, or name a relative architecture"
        )
    if is_metric:
        return spec
    if cap_m is None:
        raise ConfigError(
            f"{config.name}: a metric loss needs a metric architecture, such as dpt-hybrid-nyu, or model.metric_cap_m"
        )
    return replace(spec, decoding=DepthDecoding("depth_m", cap_m=cap_m))


def _with_classes_of_data(spec: ModelSpec, config: TrainConfig) -> ModelSpec:
    names = tuple(getattr(open_source(config.sources[0], "sources.0"), "class_names", ()))
    if not names:
        raise ConfigError(f"{config.name}: model.classes: the first source does not say what its classes are")
    head = spec.model.head
    assert isinstance(head, SegmentationHeadConfig)
    return replace(
        spec,
        model=replace(spec.model, head=replace(head, classes=len(names))),
        decoding=SegmentationDecoding(names, voc_palette(len(names))),
    )


def starts_metric(config: TrainConfig) -> bool:
    """Whether scale and shift of the trained model are found from the data (`training.metric_start`)."""
    return config.model.metric_cap_m is not None


def build_start(config: TrainConfig) -> DPT:
    """The network with the weights that `config.model` names, float32, on the CPU; random ones follow the seed.

    Raises WeightsError where weights cannot be had or do not fit.
    """
    start = config.model
    if start.weights != "random" and start.classes is None:
        return _load(config)
    torch.manual_seed(config.seed)
    spec = build_spec(config)
    network = build_model(spec.model)
    if start.weights != "random" or start.body is not None:
        loaded = _load(config) if start.body is None else load_model(start.body).network
        if isinstance(spec.decoding, SegmentationDecoding) and _own_classes(start) == spec.decoding.class_names:
            return loaded
        return _with_body(network, loaded, start.body or start.architecture)
    if isinstance(network.head, DepthHead) and network.head.non_negative:
        # A head that begins below zero everywhere has no gradient behind its last ReLU, and never learns.
        torch.nn.init.constant_(network.get_parameter("head.conv3.bias"), 1.0)
    if start.imagenet_stem:
        load_imagenet_stem(network)
    if start.encoder_weights is not None:
        load_encoder(network, spec.model.encoder, start.encoder_weights)
    return network


def _with_body(network: DPT, other: DPT, name: str) -> DPT:
    """All but the heads from another network."""
    fresh = network.state_dict()
    body = {key: tensor for key, tensor in other.state_dict().items() if not key.startswith(_HEADS)}
    wanted = {key for key in fresh if not key.startswith(_HEADS)}
    for key in sorted(
        wanted ^ body.keys() | {key for key in wanted & body.keys() if fresh[key].shape != body[key].shape}
    ):
        raise ConfigError(f"model.body: {name} is built otherwise: {key} is not the same in both")
    network.load_state_dict({**fresh, **body})
    return network


def _load(config: TrainConfig) -> DPT:
    name, weights = config.model.architecture, config.model.weights
    if _own_spec(config.model) is not None or (config.model.classes is not None and _own_classes(config.model)):
        return load_model(weights).network.requires_grad_(True)
    if name in PRESETS:
        return load_model(name, None if weights == "published" else weights).network.requires_grad_(True)
    if weights == "published":
        raise ConfigError(f"model.weights: none of {name} were published; name a file, or set random")
    loaded = load_model(weights)
    if loaded.spec.model != find_architecture(name).model:
        raise WeightsError(f"{weights}: holds the network of {loaded.spec.name}, not that of {name}")
    return loaded.network.requires_grad_(True)
