"""The peer: transformers' DPT at a tiny size beside ours, with the same random weights, cut into the same stages.

Where the two are built differently, and what is done about it here (transformers 5.23, `modeling_dpt.py`):
- its depth is squeezed to [B, H, W]; ours is [B, 1, H, W];
- its auxiliary head reads the finest fused map, twice the size of the penultimate one that the paper (and ours) reads;
  its layers are compared on the paper's map;
- its models take square pictures only, since Reassemble guesses the token grid from a square root, and the hybrid only
  the one size of its configuration; its parts take any shape once told the grid, so `peer_stages` runs the parts;
- it names the readout "project" as the hybrid's only one; `build_pair` asks for no other, a test changes it later;
- its fusion block upsamples, then projects; ours projects, then upsamples: the same function up to rounding;
- it resizes the skip to the coarser map where sizes differ, ours the coarser map to the skip: no matter for multiples
  of 32, on which both do nothing more than double;
- its LayerNorm defaults to 1e-12, so the configuration says what to use.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from transformers import BitConfig, DPTConfig, DPTForDepthEstimation, DPTForSemanticSegmentation

from dptkit.config import (
    DecoderConfig,
    DepthHeadConfig,
    HybridConfig,
    ModelConfig,
    Readout,
    SegmentationHeadConfig,
    ViTConfig,
)
from dptkit.model.build import build_model
from dptkit.model.dpt import DPT
from dptkit.model.heads import DepthHead
from dptkit.weights.convert import convert_from_ours, convert_to_ours

Direction = Literal["hf-to-ours", "ours-to-hf"]
PeerModel = DPTForDepthEstimation | DPTForSemanticSegmentation

TRAINED_SIZE = 64
"""Side of the picture whose token grid the position embedding fits."""

_WIDTH, _HEADS, _STEM = 48, 4, 16
_CLASSES = 7
_FUSION = 24
# Far from every default (1e-6 ours, 1e-12 theirs): a setting that got lost shows.
_LAYER_NORM_EPS = 1e-2
# transformers passes 1e-8 to every convolution of its BiT, as timm does; a test checks that it still does.
_WEIGHT_STANDARDISATION_EPS = 1e-8


@dataclass(frozen=True)
class Case:
    """A tiny network that both sides can build."""

    task: Literal["depth", "segmentation"]
    encoder: Literal["vit", "hybrid"]
    readout: Readout = "project"
    batch_norm: bool = False
    auxiliary: bool = True

    @property
    def name(self) -> str:
        extras = ("-bn" if self.batch_norm else "") + ("" if self.auxiliary else "-noaux")
        return f"{self.task}-{self.encoder}-{self.readout}{extras}"

    @property
    def seed(self) -> int:
        return zlib.crc32(self.name.encode())

    @property
    def channels(self) -> tuple[int, int, int, int]:
        """All different, so that two stages cannot be swapped unseen; a hybrid's first two are its stem's."""
        return (20, 36, 28, 44) if self.encoder == "vit" else (4 * _STEM, 8 * _STEM, 28, 44)

    @property
    def config(self) -> ModelConfig:
        """Our configuration. Taps are not evenly spaced, so that a shifted one shows."""
        grid = (TRAINED_SIZE // 16, TRAINED_SIZE // 16)
        encoder = (
            ViTConfig(_WIDTH, 6, _HEADS, (0, 2, 3, 5), position_grid=grid, layer_norm_eps=_LAYER_NORM_EPS)
            if self.encoder == "vit"
            else HybridConfig(
                _WIDTH,
                4,
                _HEADS,
                (1, 3),
                stem_width=_STEM,
                stem_depths=(2, 1, 2),
                position_grid=grid,
                layer_norm_eps=_LAYER_NORM_EPS,
                weight_standardisation_eps=_WEIGHT_STANDARDISATION_EPS,
            )
        )
        decoder = DecoderConfig(
            self.channels, readout=self.readout, fusion_channels=_FUSION, batch_norm=self.batch_norm
        )
        if self.task == "depth":
            return ModelConfig(encoder, decoder, DepthHeadConfig())
        return ModelConfig(encoder, decoder, SegmentationHeadConfig(_CLASSES, auxiliary=self.auxiliary))


CASES = (
    Case("depth", "vit", "ignore"),
    Case("depth", "vit", "add"),
    Case("depth", "vit", "project"),
    Case("depth", "vit", "project", batch_norm=True),
    Case("depth", "hybrid"),
    Case("segmentation", "vit", "ignore", batch_norm=True),
    Case("segmentation", "vit", "add", batch_norm=True),
    Case("segmentation", "vit", "project", batch_norm=True),
    Case("segmentation", "vit", "project", auxiliary=False),
    Case("segmentation", "hybrid", batch_norm=True),
)


class ModelPair(NamedTuple):
    """The same network twice, in evaluation mode."""

    ours: DPT
    peer: PeerModel


def build_peer(case: Case) -> PeerModel:
    """transformers' network for the case, with its own random weights."""
    encoder = case.config.encoder
    common = {
        "hidden_size": encoder.width,
        "num_hidden_layers": encoder.depth,
        "num_attention_heads": encoder.heads,
        "intermediate_size": 4 * encoder.width,
        "layer_norm_eps": encoder.layer_norm_eps,
        "image_size": TRAINED_SIZE,
        "readout_type": case.readout,
        "neck_hidden_sizes": case.channels,
        "fusion_hidden_size": _FUSION,
        "use_batch_norm_in_fusion_residual": case.batch_norm,
        "use_auxiliary_head": case.auxiliary,
        "num_labels": _CLASSES,
    }
    if isinstance(encoder, HybridConfig):
        backbone = BitConfig(
            embedding_size=_STEM,
            hidden_sizes=(4 * _STEM, 8 * _STEM, 16 * _STEM),
            depths=encoder.stem_depths,
            num_groups=_STEM // 2,
            layer_type="bottleneck",
            global_padding="same",
            embedding_dynamic_padding=True,
            out_features=["stage1", "stage2", "stage3"],
        )
        config = DPTConfig(
            **common,
            is_hybrid=True,
            backbone_config=backbone,
            backbone_featmap_shape=(1, 16 * _STEM, *encoder.position_grid),
            backbone_out_indices=(0, 1, *encoder.out_indices),
        )
    else:
        config = DPTConfig(**common, backbone_out_indices=encoder.out_indices)
    kind = DPTForDepthEstimation if case.task == "depth" else DPTForSemanticSegmentation
    return kind(config).eval()


@cache
def build_pair(case: Case, direction: Direction, dtype: torch.dtype = torch.float32) -> ModelPair:
    """Random float32 weights on one side, carried to a fresh network of the other by our conversion, both strict.

    Shared between tests: copy before changing anything.
    """
    peer, ours = build_peer(case), build_model(case.config).eval()
    if direction == "hf-to-ours":
        randomise(peer, case.seed)
        if case.task == "depth":
            _clip_a_third(peer_stages(peer, random_images(64, 96)), peer.head.head[4])
        ours.load_state_dict(convert_to_ours(peer.state_dict(), case.config), strict=True)
    else:
        randomise(ours, case.seed)
        if case.task == "depth":
            _clip_a_third(our_stages(ours, random_images(64, 96)), ours.head.conv3)
        peer.load_state_dict(convert_from_ours(ours.state_dict(), case.config, "hf"), strict=True)
    return ModelPair(ours.to(dtype), peer.to(dtype))


@torch.no_grad()
def randomise(network: nn.Module, seed: int) -> None:
    """Weights, biases, tokens and running statistics such that every stage's activations are of order one.

    Filters of weight-standardised convolutions get scales from 1e-4 to 1 each, so that the eps in the standardisation
    counts. Raises AssertionError if a tensor was forgotten.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(tensor: Tensor, scale: float, mean: float = 0.0) -> None:
        tensor.copy_(mean + scale * torch.randn(tensor.shape, generator=generator))

    def uniform(tensor: Tensor, low: float, high: float) -> None:
        tensor.copy_(low + (high - low) * torch.rand(tensor.shape, generator=generator))

    for tensor in network.state_dict().values():
        tensor.fill_(math.nan if tensor.is_floating_point() else 3)
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            # Where kernel and stride are equal, each output of a transpose convolution sees one input pixel.
            transpose = isinstance(module, nn.ConvTranspose2d)
            normal(module.weight, 1 / math.sqrt(module.in_channels if transpose else module.weight[0].numel()))
            if type(module).__name__ in ("StandardisedConv2d", "WeightStandardizedConv2d"):
                exponents = torch.empty(module.out_channels, 1, 1, 1)
                uniform(exponents, -4, 0)
                module.weight.mul_(10**exponents)
            if module.bias is not None:
                normal(module.bias, 0.3)
        elif isinstance(module, nn.LayerNorm | nn.GroupNorm | nn.BatchNorm2d):
            normal(module.weight, 0.3, mean=1.0)
            normal(module.bias, 0.3)
            if isinstance(module, nn.BatchNorm2d):
                normal(module.running_mean, 0.5)
                uniform(module.running_var, 0.5, 2.0)
    for name, tensor in network.named_parameters():
        if name.endswith(("cls_token", "position_embeddings", "prefix_tokens", "position_embedding.weight")):
            normal(tensor, 0.7)
    forgotten = [name for name, tensor in network.state_dict().items() if tensor.isnan().any()]
    assert not forgotten, f"left without random values: {forgotten}"


@torch.no_grad()
def _clip_a_third(stages: dict[str, Tensor], last_convolution: nn.Conv2d) -> None:
    """Shift a depth head so that its final ReLU has something to clip and something to leave."""
    last_convolution.bias.sub_(stages["head before its last ReLU"].quantile(1 / 3))


@contextmanager
def one_thread() -> Iterator[None]:
    """For tiny networks: waiting for a second thread takes several times longer than the work, on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def random_images(height: int, width: int, dtype: torch.dtype = torch.float32, batch: int = 2) -> Tensor:
    """A batch of different random pictures, normalised as the network takes them."""
    generator = torch.Generator().manual_seed(height * 1000 + width)
    return torch.randn((batch, 3, height, width), generator=generator).to(dtype)


@torch.no_grad()
def our_stages(network: DPT, images: Tensor) -> dict[str, Tensor]:
    """Every stage's output of ours, in the peer's layout: tokens as [B, 1 + N, D], depth as [B, H, W]."""
    features = network.encoder(images)
    reassembled = network.reassemble(features)
    fused = network.fusion(reassembled)
    stages = {}
    for k, (image_like, prefix) in enumerate(zip(features.maps, features.prefixes, strict=True)):
        tokens = image_like if prefix is None else torch.cat([prefix, image_like.flatten(2).transpose(1, 2)], dim=1)
        stages[f"tap {k}"] = tokens
    stages |= {f"reassembled {k}": features for k, features in enumerate(reassembled)}
    stages |= {f"fused {k}": features for k, features in enumerate(fused)}
    stages["head"] = network.head(fused[-1]).squeeze(1)
    if isinstance(network.head, DepthHead):
        with _unclipped(network.head):
            stages["head before its last ReLU"] = network.head(fused[-1]).squeeze(1)
    if network.auxiliary_head is not None:
        stages["auxiliary head"] = network.auxiliary_head(fused[-2])
    return stages


@contextmanager
def _unclipped(head: DepthHead) -> Iterator[None]:
    clips, head.non_negative = head.non_negative, False
    try:
        yield
    finally:
        head.non_negative = clips


@torch.no_grad()
def peer_stages(model: PeerModel, images: Tensor) -> dict[str, Tensor]:
    """Every stage's output of transformers' parts, which take any shape when they are told the token grid."""
    taps = peer_taps(model, images)
    grid = (images.shape[2] // 16, images.shape[3] // 16)
    reassembled = model.neck.reassemble_stage(taps, *grid)
    fused = model.neck(taps, *grid)
    stages = {f"tap {k}": features for k, features in enumerate(taps)}
    stages |= {f"reassembled {k}": features for k, features in enumerate(reassembled)}
    stages |= {f"fused {k}": features for k, features in enumerate(fused)}
    stages["head"] = model.head(fused)
    if isinstance(model, DPTForDepthEstimation):
        stages["head before its last ReLU"] = model.head.head[:-1](fused[-1]).squeeze(1)
    if getattr(model, "auxiliary_head", None) is not None:
        stages["auxiliary head"] = model.auxiliary_head(fused[-2])
    return stages


def peer_taps(model: PeerModel, images: Tensor) -> list[Tensor]:
    """The four features its neck takes: of a hybrid two maps and two token sequences."""
    config = model.config
    # The hybrid's whole model never passes this on, so that it takes no other size than its configuration's.
    any_size = {"interpolate_pos_encoding": True} if config.is_hybrid else {}
    embedded = model.dpt.embeddings(images, **any_size)
    tokens, blocks = embedded.last_hidden_states, []
    for layer in model.dpt.encoder.layer:
        tokens = layer(tokens)
        blocks.append(tokens)
    stem = list(embedded.intermediate_activations or ())
    return stem + [blocks[index] for index in config.backbone_out_indices[len(stem) :]]


@torch.no_grad()
def peer_output(model: PeerModel, images: Tensor) -> Tensor:
    """What a user of transformers gets: depth [B, H, W] or logits [B, K, H, W]."""
    output = model(images)
    return output.predicted_depth if isinstance(model, DPTForDepthEstimation) else output.logits


def relative_error(ours: Tensor, peer: Tensor) -> float:
    """Largest difference as a share of the peer's range; infinite for NaN, AssertionError for another shape."""
    assert ours.shape == peer.shape, f"{tuple(ours.shape)} is not {tuple(peer.shape)}"
    error = float((ours - peer).abs().max() / (peer.max() - peer.min()))
    return error if math.isfinite(error) else math.inf
