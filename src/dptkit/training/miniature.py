"""A network in miniature: the same blocks, taps and readout at an eighth of every width, for trials."""

from __future__ import annotations

from dataclasses import replace

from dptkit.config import (
    DecoderConfig,
    DepthHeadConfig,
    EncoderConfig,
    HybridConfig,
    ModelConfig,
    ModelSpec,
    ViTConfig,
)

SIDE = 64
"""Pixels of a miniature's pictures."""

_FACTOR = 8
_HEAD_WIDTH = 32
_STEM_WIDTH = 16
_PATCH = 16


def shrink(spec: ModelSpec, *, keep_size: bool = False) -> ModelSpec:
    """The specification with a small network and pictures of `SIDE` pixels; keep_size: with its own pictures.

    Depth stays, so that taps mean the same; only the hybrid's stem has one block a stage. dpt-lite, which is small
    already, keeps its network.
    """
    preprocess = spec.preprocess if keep_size else replace(spec.preprocess, size=(SIDE, SIDE))
    return replace(spec, model=_shrink_model(spec.model), preprocess=preprocess)


def _shrink_model(model: ModelConfig) -> ModelConfig:
    encoder, head = model.encoder, model.head
    if not isinstance(encoder, (ViTConfig, HybridConfig)):
        return model
    small = _shrink_encoder(encoder)
    if isinstance(head, DepthHeadConfig):
        head = replace(head, hidden_channels=max(1, head.hidden_channels // 4))
    return ModelConfig(small, _shrink_decoder(model.decoder, small), head)


def _shrink_encoder(encoder: ViTConfig | HybridConfig) -> ViTConfig | HybridConfig:
    width = encoder.width // _FACTOR
    grid = (SIDE // _PATCH, SIDE // _PATCH)
    small = replace(encoder, width=width, heads=max(1, width // _HEAD_WIDTH), position_grid=grid)
    if isinstance(small, HybridConfig):
        return replace(small, stem_width=_STEM_WIDTH, stem_depths=(1, 1, 1))
    return small


def _shrink_decoder(decoder: DecoderConfig, encoder: EncoderConfig) -> DecoderConfig:
    channels = [count // _FACTOR for count in decoder.reassemble_channels]
    if isinstance(encoder, HybridConfig) and len(encoder.out_indices) == 2:
        channels[:2] = [4 * encoder.stem_width, 8 * encoder.stem_width]  # the stem's own maps
    first, second, third, fourth = channels
    return replace(
        decoder,
        reassemble_channels=(first, second, third, fourth),
        fusion_channels=decoder.fusion_channels // _FACTOR,
    )
