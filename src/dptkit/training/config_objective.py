"""What a run minimises and how: losses, optimiser, schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from dptkit.training.config_data import FORBID, NonNegative, Positive, Share


@dataclass(frozen=True)
class DepthLoss:
    """Weights of the relative depth losses (paper section 4.1; MiDaS). trim: share of residuals dropped per picture.

    anchor_high: root mean square of the outputs from which on the anchor pulls them back. A run that starts from a
    network with larger ones needs a larger value, or what that network knows is lost on the way down.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    normalisation: Literal["median", "least_squares"] = "median"
    trim: Share = 0.2
    gradient: NonNegative = 0.5
    scales: Positive = 4
    anchor: NonNegative = 0.01
    anchor_high: Annotated[float, Field(gt=0.1)] = 10.0
    kind: Literal["relative_depth"] = "relative_depth"


@dataclass(frozen=True)
class MetricLoss:
    """Scale-invariant log loss on metres (BTS), with gradient matching where ground truth is dense.

    gradient: its weight; of log depth, normalised as for relative depth. On what the paper matches it is not published.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    variance_focus: Share = 0.85
    weight: NonNegative = 10.0
    gradient: NonNegative = 0.0
    kind: Literal["metric_depth"] = "metric_depth"


@dataclass(frozen=True)
class SegmentationLoss:
    """Cross-entropy, and the auxiliary head's with its weight (paper section 4.2).

    class_weights: one for each class, in order, where rare ones shall count for more; none: all count alike.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    auxiliary: NonNegative = 0.2
    class_weights: tuple[NonNegative, ...] = ()
    kind: Literal["segmentation"] = "segmentation"


LossConfig = Annotated[DepthLoss | MetricLoss | SegmentationLoss, Field(discriminator="kind")]


@dataclass(frozen=True)
class Optimiser:
    """Learning rates by stage. `frozen`: parts that do not learn, by name, such as encoder.stem or head.conv1.

    freeze_batch_norm: all batch norms keep their running statistics; those of frozen parts always do.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    kind: Literal["adam", "adamw", "sgd"] = "adam"
    encoder_lr: NonNegative = 1e-5
    decoder_lr: NonNegative = 1e-4
    weight_decay: NonNegative = 0.0
    momentum: Share = 0.9
    clip_norm: NonNegative = 0.0
    schedule: Literal["constant", "poly", "one_cycle", "cosine"] = "constant"
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    poly_power: NonNegative = 0.9
    final_share: Share = 0.0
    frozen: tuple[str, ...] = ()
    freeze_batch_norm: bool = False
    multi_objective: Literal["sum", "mgda"] = "sum"
