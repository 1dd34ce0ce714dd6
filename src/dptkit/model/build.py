"""The only file that sees both configuration and modules: configuration -> network with random weights."""

from __future__ import annotations

from typing import Literal

from torch import nn

from dptkit.config import (
    DecoderConfig,
    DepthHeadConfig,
    EncoderConfig,
    HybridConfig,
    ModelConfig,
    ViTConfig,
)
from dptkit.model.dpt import DPT
from dptkit.model.encoders.hybrid import HybridEncoder, ResNetStem
from dptkit.model.encoders.lite import LiteEncoder, LiteStem
from dptkit.model.encoders.transformer import Transformer
from dptkit.model.encoders.vit import ViTEncoder
from dptkit.model.fusion import Fusion
from dptkit.model.heads import AuxiliaryHead, DepthHead, SegmentationHead
from dptkit.model.reassemble import Reassemble, ReassembleTokens, build_read, build_resample

RESAMPLE_SCALES: tuple[Literal[4, 8, 16, 32], ...] = (4, 8, 16, 32)


def build_model(config: ModelConfig) -> DPT:
    """The network that `config` describes, with random weights, in training mode.

    Use `with torch.device("meta"):` around it for shapes without memory. Raises ValueError where sizes in the
    configuration cannot work together.
    """
    decoder, head = config.decoder, config.head
    fusion = Fusion(
        decoder.reassemble_channels,
        decoder.fusion_channels,
        batch_norm=decoder.batch_norm,
        align_corners=decoder.align_corners,
    )
    reassemble = build_reassemble(config.encoder, decoder)
    encoder = build_encoder(config.encoder)
    channels, align_corners = decoder.fusion_channels, decoder.align_corners
    if isinstance(head, DepthHeadConfig):
        depth_head = DepthHead(
            channels, head.hidden_channels, non_negative=head.non_negative, align_corners=align_corners
        )
        return DPT(encoder, reassemble, fusion, depth_head)
    segmentation_head = SegmentationHead(channels, head.classes, dropout=head.dropout, align_corners=align_corners)
    auxiliary_head = (
        AuxiliaryHead(channels, head.classes, dropout=head.dropout, align_corners=align_corners)
        if head.auxiliary
        else None
    )
    return DPT(encoder, reassemble, fusion, segmentation_head, auxiliary_head)


def build_encoder(config: EncoderConfig) -> ViTEncoder | HybridEncoder | LiteEncoder:
    """Image tensor -> EncoderFeatures."""
    blocks = config.blocks
    transformer = Transformer(
        width=config.width,
        depth=config.depth,
        heads=config.heads,
        out_indices=config.out_indices,
        position_grid=config.position_grid,
        prefix_tokens=config.prefix_tokens,
        layer_norm_eps=config.layer_norm_eps,
        block_sizes=None if blocks is None else list(zip(blocks.heads, blocks.mlp, strict=True)),
    )
    if isinstance(config, ViTConfig):
        return ViTEncoder(transformer, config.patch_size)
    if isinstance(config, HybridConfig):
        return HybridEncoder(
            ResNetStem(config.stem_width, config.stem_depths, config.weight_standardisation_eps), transformer
        )
    return LiteEncoder(LiteStem(config.stem_stages), transformer)


def build_reassemble(encoder: EncoderConfig, decoder: DecoderConfig) -> Reassemble:
    """Reassemble for this encoder: stages tapped in a convolutional stem are maps already and pass through."""
    first_transformer_stage = len(RESAMPLE_SCALES) - len(encoder.out_indices)
    stages: list[ReassembleTokens | None] = [None] * first_transformer_stage
    for scale, channels in zip(
        RESAMPLE_SCALES[first_transformer_stage:], decoder.reassemble_channels[first_transformer_stage:], strict=True
    ):
        if not decoder.projection and channels != encoder.width:
            raise ValueError(
                f"without a projection, stage 1/{scale} must have {encoder.width} channels, not {channels}"
            )
        read = build_read(decoder.readout, encoder.width)
        projection = nn.Conv2d(encoder.width, channels, 1) if decoder.projection else nn.Identity()
        stages.append(ReassembleTokens(read, projection, build_resample(scale, channels)))
    return Reassemble(stages)
