"""What a model is: frozen dataclasses, to and from JSON. No torch here, and nothing that depends on a machine."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, TypeAdapter, ValidationError

from dptkit.errors import ConfigError
from dptkit.outputs import Quantity

Readout = Literal["ignore", "add", "project"]
ResizePolicy = Literal["minimal", "lower_bound", "upper_bound", "exact"]
Interpolation = Literal["cubic", "area"]
TestTimeAugmentation = Literal["none", "flip", "ms-flip"]
"""flip: mean with the mirrored picture's. ms-flip: mean over several sizes, each with its mirror image."""
_FORBID: dict[str, Any] = {"extra": "forbid"}


@dataclass(frozen=True)
class BlockSizes:
    """What is left of each block of a pruned transformer, one number a block, the last tapped one the last.

    heads: attention heads, at least 1; a head keeps its width // heads channels. mlp: hidden neurons, at least 1.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID
    heads: tuple[int, ...]
    mlp: tuple[int, ...]


@dataclass(frozen=True)
class ViTConfig:
    """Plain vision transformer. `out_indices`: tapped blocks, 0-based, before the final norm.

    `position_grid`: the (height, width) in patches that the position embedding was trained for.
    `prefix_tokens`: 1 readout token, or 2 with a distillation token.
    `blocks`: sizes of a pruned transformer's blocks; None: all have `heads` heads and 4 * `width` neurons.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID
    width: int
    depth: int
    heads: int
    out_indices: tuple[int, int, int, int]
    patch_size: int = 16
    position_grid: tuple[int, int] = (24, 24)
    prefix_tokens: int = 1
    layer_norm_eps: float = 1e-6
    blocks: BlockSizes | None = None
    kind: Literal["vit"] = "vit"


@dataclass(frozen=True)
class HybridConfig:
    """ResNetV2 stem and a ViT on its stride-16 map.

    `out_indices`: two tapped blocks, beside the stem's stages 0 and 1 (the published networks), or four and no stage
    of the stem (paper, Table 6).
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID
    width: int = 768
    depth: int = 12
    heads: int = 12
    out_indices: tuple[int, int] | tuple[int, int, int, int] = (8, 11)
    stem_width: int = 64
    stem_depths: tuple[int, int, int] = (3, 4, 9)
    position_grid: tuple[int, int] = (24, 24)
    prefix_tokens: int = 1
    layer_norm_eps: float = 1e-6
    weight_standardisation_eps: float = 1e-8
    blocks: BlockSizes | None = None
    kind: Literal["hybrid"] = "hybrid"


@dataclass(frozen=True)
class LiteConfig:
    """EfficientNet-Lite0 stem (maps at 1/4 and 1/8 are tapped) and a small ViT on its map at stride 16.

    `stem_stages`: 5, to stride 16, or 6, whose map at stride 32 is added to the tokens.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID
    width: int = 192
    depth: int = 4
    heads: int = 3
    out_indices: tuple[int, int] = (1, 3)
    position_grid: tuple[int, int] = (14, 14)
    prefix_tokens: int = 1
    layer_norm_eps: float = 1e-5
    stem_stages: Literal[5, 6] = 5
    blocks: BlockSizes | None = None
    kind: Literal["lite"] = "lite"


EncoderConfig = Annotated[ViTConfig | HybridConfig | LiteConfig, Field(discriminator="kind")]


@dataclass(frozen=True)
class DecoderConfig:
    """Reassemble and fusion. `projection`: the 1x1 convolution of Concatenate to `reassemble_channels`."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID
    reassemble_channels: tuple[int, int, int, int]
    readout: Readout = "project"
    projection: bool = True
    fusion_channels: int = 256
    batch_norm: bool = False
    align_corners: bool = True


@dataclass(frozen=True)
class DepthHeadConfig:
    """`non_negative`: end with ReLU, as the paper does."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID
    hidden_channels: int = 32
    non_negative: bool = True
    kind: Literal["depth"] = "depth"


@dataclass(frozen=True)
class SegmentationHeadConfig:
    """`auxiliary`: a second head on the penultimate fusion map, used in training only."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID
    classes: int
    dropout: float = 0.1
    auxiliary: bool = True
    kind: Literal["segmentation"] = "segmentation"


HeadConfig = Annotated[DepthHeadConfig | SegmentationHeadConfig, Field(discriminator="kind")]


@dataclass(frozen=True)
class ModelConfig:
    """The whole network, in the order the data takes."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID
    encoder: EncoderConfig
    decoder: DecoderConfig
    head: HeadConfig


@dataclass(frozen=True)
class PreprocessConfig:
    """Image to tensor. `size`: target (height, width); sides become multiples of `multiple_of`.

    policy: "minimal" scales by the factor nearest to 1 that fits one side, "lower_bound" makes both sides at
    least the target, "upper_bound" at most; "exact" is the target itself, whatever the picture's ratio.
    `long_side_limit` bounds the longer side of very elongated pictures.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID
    size: tuple[int, int] = (384, 384)
    policy: ResizePolicy = "minimal"
    multiple_of: int = 32
    interpolation: Interpolation = "cubic"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    long_side_limit: int | None = None


@dataclass(frozen=True)
class DepthDecoding:
    """Raw head output to a quantity.

    inverse_depth: the raw output itself. Its zero means nothing: scale and shift are unknown.
    depth_m: 1 / max(scale * raw + shift, 1e-8), in metres; pixels beyond `cap_m` are marked invalid.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID
    quantity: Quantity
    scale: float = 1.0
    shift: float = 0.0
    cap_m: float | None = None
    kind: Literal["depth"] = "depth"


@dataclass(frozen=True)
class SegmentationDecoding:
    """Logits to labels: names and colours of the classes, by id."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    kind: Literal["segmentation"] = "segmentation"


Decoding = Annotated[DepthDecoding | SegmentationDecoding, Field(discriminator="kind")]


@dataclass(frozen=True)
class ModelSpec:
    """Everything but the weights: what a weight file of ours carries in its metadata."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID
    name: str
    model: ModelConfig
    preprocess: PreprocessConfig
    decoding: Decoding
    license: str
    trained_on: str

    @property
    def task(self) -> Literal["depth", "segmentation"]:
        return self.model.head.kind

    def __post_init__(self) -> None:
        problem = _blocks_problem(self.model.encoder)
        if problem is not None:
            raise ConfigError(f"{self.name}: model.encoder.blocks: {problem}")
        if self.decoding.kind != self.model.head.kind:
            raise ConfigError(f"{self.name}: a {self.model.head.kind} head cannot be decoded as {self.decoding.kind}")
        if isinstance(self.decoding, SegmentationDecoding) and isinstance(self.model.head, SegmentationHeadConfig):
            names, colours = len(self.decoding.class_names), len(self.decoding.palette)
            if not names == colours == self.model.head.classes:
                raise ConfigError(
                    f"{self.name}: {self.model.head.classes} classes, {names} names and {colours} colours do not fit"
                )


def _blocks_problem(encoder: EncoderConfig) -> str | None:
    if encoder.blocks is None:
        return None
    built = encoder.out_indices[-1] + 1
    for key, counts, most in (
        ("heads", encoder.blocks.heads, encoder.heads),
        ("mlp", encoder.blocks.mlp, 4 * encoder.width),
    ):
        if len(counts) != built:
            return f"{key} has {len(counts)} numbers for {built} blocks"
        if not all(1 <= count <= most for count in counts):
            return f"{key} must be from 1 to {most} in each block, not {list(counts)}"
    return None


def unpruned(model: ModelConfig) -> ModelConfig:
    """The network that a pruned one came from; any other is returned as it is."""
    return replace(model, encoder=replace(model.encoder, blocks=None))


def model_to_plain(model: ModelConfig) -> dict[str, Any]:
    """As plain values. What no unpruned network has is left out of it: its text stays what it always was."""
    plain = asdict(model)
    if plain["encoder"]["blocks"] is None:
        del plain["encoder"]["blocks"]
    return plain


def to_json(spec: ModelSpec) -> str:
    """The specification as JSON; `from_json` gives back an equal one."""
    plain = asdict(spec) | {"model": model_to_plain(spec.model)}
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


def from_json(text: str, where: str = "configuration") -> ModelSpec:
    """Read a specification. Raises ConfigError naming `where` and the first wrong key."""
    try:
        return TypeAdapter(ModelSpec).validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the text"
        raise ConfigError(f"{where}: {key}: {first['msg']}") from None
