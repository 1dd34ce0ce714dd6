"""ImageNet weights for an encoder, which training starts from: classifiers in transformers' or timm's layout.

- transformers: ViTModel (`embeddings.*`, `encoder.layer.*`), ViTForImageClassification and ViTHybridFor... (`vit.*`)
- timm: `vit_*_patch16_*` and `vit_base_resnet50_*` (`cls_token`, `blocks.*`, `patch_embed.*`)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from math import isqrt
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from dptkit.config import EncoderConfig, HybridConfig, LiteConfig
from dptkit.errors import WeightsError
from dptkit.model.build import build_encoder
from dptkit.model.dpt import DPT
from dptkit.presets import DEIT_ENCODERS, IMAGENET_ENCODERS, EncoderWeights
from dptkit.weights.cache import Progress
from dptkit.weights.download import fetch
from dptkit.weights.encoder_pairs import hf_encoder_pairs, timm_encoder_pairs
from dptkit.weights.keytable import Drop, KeyTable, Pair
from dptkit.weights.tensor_file import read_tensors

IMAGENET = "imagenet"
DEIT = "deit"
_UNTAPPED = "blocks after the last tapped one: nothing would read them"
_CLASSIFIER = "the final norm and classifier: DPT taps the blocks before them"


def load_encoder(
    network: DPT, config: EncoderConfig, weights: str | Path = IMAGENET, progress: Progress | None = None
) -> None:
    """Put pretrained weights into the encoder of `network`, which `config` describes; the decoder is left as it is.

    weights: "imagenet" for the published classifier of that size, "deit" for DeiT's of a ViT-Base (of two prefix tokens
    the distilled one), both downloaded once and Apache-2.0; or a file.
    Raises WeightsError (DownloadError) where there is none, or it does not fit; it names the tensors at fault.
    """
    if weights in (IMAGENET, DEIT):
        path = fetch(_published(config, str(weights)).source, progress=progress)
    else:
        path = Path(weights)
    ours = convert_encoder_to_ours(read_tensors(path).tensors, config, str(path))
    own = network.state_dict()
    own.update({f"encoder.{name}": tensor.to(own[f"encoder.{name}"].dtype) for name, tensor in ours.items()})
    network.load_state_dict(own)


def _published(config: EncoderConfig, name: str) -> EncoderWeights:
    """Of that encoder, whichever of its blocks are tapped."""
    for encoder, published in (DEIT_ENCODERS if name == DEIT else IMAGENET_ENCODERS).items():
        if replace(encoder, out_indices=config.out_indices) == config:  # type: ignore[arg-type]
            return published
    if name == DEIT:
        raise WeightsError("encoder_weights: deit is published for the encoder of dpt-base only")
    raise WeightsError(
        "encoder_weights: imagenet is published for the encoders of dpt-large, dpt-base and dpt-hybrid only, with one "
        "prefix token; for dpt-lite set imagenet_stem"
    )


def convert_encoder_to_ours(
    tensors: Mapping[str, Tensor], config: EncoderConfig, where: str = "state dict"
) -> dict[str, Tensor]:
    """A ViT classifier's tensors under the names of our encoder's state dict.

    A position embedding for another (square) grid is resized as the network resizes it, bilinearly. Raises WeightsError
    naming `where` and unknown, missing or misshapen tensors.
    """
    table, position = _table(tensors, config, where)
    if position in tensors:
        tensors = {**tensors, position: _resized(tensors[position], config, f"{where}: {position}")}
    prefix = "encoder."
    return {name.removeprefix(prefix): tensor for name, tensor in table.to_ours(tensors, where).items()}


def build_encoder_table(config: EncoderConfig, layout: str, prefix: str = "") -> KeyTable:
    """The table between our encoder and layout "hf" or "timm". prefix: before all of the encoder's names ("vit.")."""
    with torch.device("meta"):
        network = {f"encoder.{name}": tensor for name, tensor in build_encoder(config).state_dict().items()}
    if layout == "timm":
        drops = [Drop(r"(norm|head|fc_norm|head_dist|pre_logits)\..*", _CLASSIFIER), *_untapped(config, "blocks")]
        return KeyTable("timm", network, timm_encoder_pairs(config, prefix), drops)
    patches = f"{prefix}embeddings.patch_embeddings"
    pairs: list[Pair] = hf_encoder_pairs(config, prefix, f"{patches}.projection", f"{patches}.backbone")
    # The mask token is of masked pretraining, and no picture that is not masked meets it.
    unused = rf"{prefix}(layernorm|pooler)\..*|{prefix}embeddings\.mask_token|classifier\..*"
    drops = [Drop(unused, _CLASSIFIER), *_untapped(config, f"{prefix}encoder.layer")]
    return KeyTable("transformers' ViT", network, pairs, drops)


def _untapped(config: EncoderConfig, blocks: str) -> list[Drop]:
    later = "|".join(str(block) for block in range(config.out_indices[-1] + 1, config.depth))
    return [Drop(rf"{re.escape(blocks)}\.({later})\..*", _UNTAPPED)] if later else []


def _table(tensors: Mapping[str, Tensor], config: EncoderConfig, where: str) -> tuple[KeyTable, str]:
    """The table for the layout that the names belong to, and its name of the position embedding."""
    if isinstance(config, LiteConfig):
        raise WeightsError(f"{where}: dpt-lite's encoder has no such layout; set imagenet_stem for its stem")
    for prefix in ("", "vit."):
        if f"{prefix}embeddings.cls_token" in tensors:
            return build_encoder_table(config, "hf", prefix), f"{prefix}embeddings.position_embeddings"
    if "cls_token" in tensors:
        return build_encoder_table(config, "timm"), "pos_embed"
    first = ", ".join(sorted(tensors)[:3]) or "none"
    kind = "ViT-Hybrid" if isinstance(config, HybridConfig) else "ViT"
    raise WeightsError(f"{where}: not a {kind} in transformers' or timm's layout (first tensors: {first})")


def _resized(embedding: Tensor, config: EncoderConfig, where: str) -> Tensor:
    """[1, P + N, D] for a square grid -> for the grid of `config`."""
    prefix, grid = config.prefix_tokens, config.position_grid
    patches = embedding.shape[1] - prefix if embedding.ndim == 3 else 0
    if patches == grid[0] * grid[1]:
        return embedding
    side = isqrt(max(0, patches))
    if side == 0 or side * side != patches:
        raise WeightsError(f"{where}: shape {tuple(embedding.shape)} is no square grid behind {prefix} token")
    image_like = embedding[:, prefix:].transpose(1, 2).unflatten(2, (side, side)).float()
    resized = F.interpolate(image_like, size=grid, mode="bilinear", align_corners=False)
    return torch.cat([embedding[:, :prefix].float(), resized.flatten(2).transpose(1, 2)], dim=1)
