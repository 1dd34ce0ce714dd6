"""What a run reads: data sets, what is done to their samples, and how large they come."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

FORBID: dict[str, Any] = {"extra": "forbid"}
"""For pydantic: an unknown key is an error."""

Positive = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
ResizePolicy = Literal["short_side", "long_side", "random_long_side", "keep"]


@dataclass(frozen=True)
class Procedural:
    """Scenes rendered while training. photos: a folder whose crops serve as textures."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    count: Positive = 1_000_000
    height: Positive = 240
    width: Positive = 320
    photos: str | None = None
    weight: NonNegative = 1.0
    seed: int = 0
    kind: Literal["procedural"] = "procedural"


@dataclass(frozen=True)
class OnDisk:
    """A data set by its registered name (`dataset`), under `root`. options: its reader's own."""

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    dataset: str
    root: str
    split: str = "train"
    weight: NonNegative = 1.0
    options: dict[str, str | int | float | bool | list[str]] = field(default_factory=dict)
    kind: Literal["on_disk"] = "on_disk"


Source = Annotated[Procedural | OnDisk, Field(discriminator="kind")]


@dataclass(frozen=True)
class Augment:
    """How pictures become random crops of `Phase.size`, and the chances of the rest.

    resize: what comes before the crop, in pixels of the crop's sides:
        short_side        the smallest size that holds the crop, times `scale` (at least 1)
        long_side         longer side to the crop's longer one, and larger where the crop would not fit (DPT's for
                          depth, `data.augment.paper_depth`); `scale` stays 1
        random_long_side  longer side to `long_side` times `scale`; small pictures are padded, labels with 255 (DPT's
                          for segmentation, `data.augment.paper_segmentation`)
        keep              nothing but `scale`, as BTS and its successors crop NYUv2 and KITTI
    kb_crop: first the bottom centre 352x1216, as the KITTI benchmark crops.
    border: pixels that are cut off first at (top, right, bottom, left).
    colour: chance of changed brightness, contrast, saturation and hue, by at most as much as the next four say.
    cutmix: chance that a rectangle shows another picture of the batch, ground truth too; not for relative depth, whose
        scale and shift are a picture's own.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    resize: ResizePolicy = "short_side"
    scale: tuple[float, float] = (1.0, 1.0)
    long_side: Positive = 520
    kb_crop: bool = False
    border: tuple[Natural, Natural, Natural, Natural] = (0, 0, 0, 0)
    flip: Share = 0.5
    colour: Share = 0.0
    brightness: Share = 0.2
    contrast: Share = 0.2
    saturation: Share = 0.2
    hue: Share = 0.05
    blur: Share = 0.0
    jpeg: Share = 0.0
    grey: Share = 0.0
    rotation_degrees: NonNegative = 0.0
    cutmix: Share = 0.0

    def problem(self) -> str | None:
        """What is wrong with `scale`, if anything."""
        low, high = self.scale
        if self.resize == "long_side" and self.scale != (1.0, 1.0):
            return "augment.scale: resize long_side has none"
        smallest = "at least 1" if self.resize == "short_side" else "above 0"
        if low <= 0 or high < low or (self.resize == "short_side" and low < 1):
            return f"augment.scale: {list(self.scale)} must rise from {smallest}"
        return None


@dataclass(frozen=True)
class Phase:
    """From step `start` on, crops of `size` pixels: a side, or (height, width).

    shapes: instead, each step's crops have one of these sizes (height, width), so that the network sees wide pictures
    too; one that is named twice comes twice as often.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    start: Annotated[int, Field(ge=0)]
    size: Positive | tuple[Positive, Positive]
    batch_size: Positive
    shapes: tuple[tuple[Positive, Positive], ...] = ()

    @property
    def crops(self) -> tuple[tuple[int, int], ...]:
        """The sizes (height, width) that a step's crops may have."""
        return self.shapes or ((self.size, self.size) if isinstance(self.size, int) else self.size,)

    @property
    def pixels(self) -> float:
        """Of a crop, in the mean."""
        return sum(height * width for height, width in self.crops) / len(self.crops)

    @property
    def largest(self) -> tuple[int, int]:
        """The crop with the most pixels."""
        return max(self.crops, key=lambda crop: crop[0] * crop[1])

    def __str__(self) -> str:
        return ", ".join(dict.fromkeys(f"{height}x{width}" for height, width in self.crops))
