"""The encoders' tensors as timm and transformers name them, under a prefix of the file's own."""

from __future__ import annotations

from collections.abc import Mapping

from dptkit.config import EncoderConfig, HybridConfig
from dptkit.weights.keytable import Concatenated, Pair


def transformer_pairs(encoder: EncoderConfig, blocks: str, names: Mapping[str, str | tuple[str, ...]]) -> list[Pair]:
    """Every block's parts. names: our part -> theirs (several: concatenated)."""
    depth = encoder.out_indices[-1] + 1
    return [
        Pair(
            f"encoder.transformer.blocks.{n}.{ours}",
            f"{blocks}.{n}.{theirs}" if isinstance(theirs, str) else tuple(f"{blocks}.{n}.{t}" for t in theirs),
        )
        for n in range(depth)
        for ours, theirs in names.items()
    ]


def timm_encoder_pairs(encoder: EncoderConfig, prefix: str) -> list[Pair]:
    """timm's VisionTransformer, of a hybrid with a ResNetV2 as `patch_embed.backbone`."""
    tokens = ("cls_token", "dist_token")[: encoder.prefix_tokens]
    pairs = [
        Pair("encoder.transformer.prefix_tokens", tuple(f"{prefix}{t}" for t in tokens), Concatenated(1)),
        Pair("encoder.transformer.position_embedding.weight", f"{prefix}pos_embed"),
        Pair("encoder.patch_embedding", f"{prefix}patch_embed.proj"),
        *transformer_pairs(
            encoder,
            f"{prefix}blocks",
            {
                "norm1": "norm1",
                "attention.qkv": "attn.qkv",
                "attention.projection": "attn.proj",
                "norm2": "norm2",
                "mlp.fc1": "mlp.fc1",
                "mlp.fc2": "mlp.fc2",
            },
        ),
    ]
    if isinstance(encoder, HybridConfig):
        backbone = f"{prefix}patch_embed.backbone"
        pairs += _stem_pairs(
            encoder, (f"{backbone}.stem.conv", f"{backbone}.stem.norm"), backbone + ".stages.{stage}.blocks.{n}"
        )
    return pairs


def hf_encoder_pairs(encoder: EncoderConfig, prefix: str, patches: str, backbone: str) -> list[Pair]:
    """transformers' ViT. patches: its patch embedding; backbone: of a hybrid, what holds its `bit`."""
    pairs = [
        Pair("encoder.transformer.prefix_tokens", f"{prefix}embeddings.cls_token"),
        Pair("encoder.transformer.position_embedding.weight", f"{prefix}embeddings.position_embeddings"),
        *transformer_pairs(
            encoder,
            f"{prefix}encoder.layer",
            {
                "norm1": "layernorm_before",
                "attention.qkv": tuple(f"attention.attention.{part}" for part in ("query", "key", "value")),
                "attention.projection": "attention.output.dense",
                "norm2": "layernorm_after",
                "mlp.fc1": "intermediate.dense",
                "mlp.fc2": "output.dense",
            },
        ),
    ]
    if isinstance(encoder, HybridConfig):
        bit = f"{backbone}.bit"
        stem = (f"{bit}.embedder.convolution", f"{bit}.embedder.norm")
        pairs += _stem_pairs(encoder, stem, bit + ".encoder.stages.{stage}.layers.{n}")
    pairs.append(Pair("encoder.patch_embedding", patches))
    return pairs


def _stem_pairs(config: HybridConfig, stem: tuple[str, str], block: str) -> list[Pair]:
    pairs = [Pair("encoder.stem.conv", stem[0]), Pair("encoder.stem.norm", stem[1])]
    for stage, depth in enumerate(config.stem_depths):
        for n in range(depth):
            ours, theirs = f"encoder.stem.stages.{stage}.{n}", block.format(stage=stage, n=n)
            pairs += [Pair(f"{ours}.{part}{k}", f"{theirs}.{part}{k}") for part in ("conv", "norm") for k in (1, 2, 3)]
            pairs += [
                Pair(f"{ours}.shortcut.0", f"{theirs}.downsample.conv"),
                Pair(f"{ours}.shortcut.1", f"{theirs}.downsample.norm"),
            ]
    return pairs
