"""What a protocol is: every choice between a prediction and a number, as frozen values that go into each result.

Two numbers of one metric are comparable where all these fields agree. `dptkit.evaluation.protocols` is the table.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, TypeAdapter, ValidationError

from dptkit.config import ResizePolicy, TestTimeAugmentation
from dptkit.errors import ConfigError

Alignment = Literal["none", "median_scale", "inverse_least_squares", "depth_least_squares", "inverse_median_mad"]
"""How a prediction is brought to the truth's scale before it is scored.

none: not at all; metric models only. median_scale: depth times median(truth) / median(prediction).
inverse_least_squares: scale and shift fitted in inverse depth (Ranftl et al. 2020; DPT, section 4.1).
depth_least_squares: scale and shift fitted in depth (Marigold).
inverse_median_mad: median and mean absolute deviation of inverse depth made those of the truth (MiDaS, its loss).
"""

AlignmentScope = Literal["image", "video"]
"""One fit per picture, or one for all pictures of a group (a video)."""

PictureCrop = Literal["none", "kitti_benchmark", "eigen_nyu", "scannet_border", "even_sides"]
"""Of the picture before the network, and of the truth: see `dptkit.evaluation.masks.crop_window`.

kitti_benchmark: bottom centre 352x1216. eigen_nyu: rows 45 to 471, columns 41 to 601. scannet_border: without 8 rows
and 11 columns on every side. even_sides: without the last row or column of an odd side.
"""

EvaluationMask = Literal["none", "eigen_nyu", "eigen_kitti", "garg"]
"""Pixels that count, as rectangles; see `dptkit.evaluation.masks`."""

MaskFrame = Literal["whole", "crop"]
"""What the mask's rectangle is a part of: the whole truth (BTS), or what the crop left of it (ZoeDepth, Marigold)."""

Rounding = Literal["none", "uint16_per_mm", "uint16_per_256th_m"]
"""Predictions stored as 16-bit numbers before they are scored: value * 1000 or * 256, fractions cut off."""

MapInterpolation = Literal["nearest", "bilinear", "bilinear_aligned_corners", "bicubic"]
"""From the network's resolution to the truth's."""

Aggregation = Literal["image_mean", "source_mean", "video_mean", "pooled"]
"""image_mean: per picture, then the mean. source_mean: per picture, mean per source, mean over sources.
video_mean: the same with videos (source and group) in place of sources.
pooled: over all pixels of all pictures at once."""

_FORBID: dict[str, Any] = {"extra": "forbid"}


@dataclass(frozen=True)
class NetworkInput:
    """What the network is given, in place of the model's own preprocessing. size: (height, width)."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID
    size: tuple[int, int]
    policy: ResizePolicy


@dataclass(frozen=True)
class DepthProtocol:
    """Depth against measured depth.

    source: where the choices are written down (paper and section, repository and file).
    datasets: names in `dptkit.data.registry` it is made for; empty for any. dataset_options: of their readers.
    pictures: how many the split so read has, where that is a part of the data set's and of known size.
    truth_range_m: truth counts strictly between these; None on a side: no bound. Truth known up to scale has no range.
    prediction_range_m: predicted depth is clamped to it after the alignment; in inverse depth for the alignments
        that fit there, so that what lies at or behind infinity gets the upper bound.
    relative_floor: where `prediction_range_m` has no bound on the side where the aligned value may lose its sense:
        inverse depth is kept above this share of the smallest true one, depth above this share of the smallest true.
    metrics: names in `dptkit.evaluation.depth_metrics.DEPTH_METRICS`, and `MAP_METRICS` and `VIDEO_METRICS` of
        `dptkit.evaluation.depth_scoring`; the first is the one that models are ranked by.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID
    name: str
    source: str
    datasets: tuple[str, ...]
    split: str
    alignment: Alignment
    metrics: tuple[str, ...]
    alignment_scope: AlignmentScope = "image"
    crop: PictureCrop = "none"
    mask: EvaluationMask = "none"
    mask_frame: MaskFrame = "whole"
    truth_range_m: tuple[float | None, float | None] = (0.0, None)
    prediction_range_m: tuple[float | None, float | None] = (None, None)
    relative_floor: float = 0.5
    network_input: NetworkInput | None = None
    interpolation: MapInterpolation = "bicubic"
    rounding: Rounding = "none"
    aggregation: Aggregation = "image_mean"
    tta: TestTimeAugmentation = "none"
    scales: tuple[float, ...] = (1.0,)
    dataset_options: dict[str, Any] = field(default_factory=dict)
    pictures: int | None = None
    task: Literal["depth"] = "depth"


@dataclass(frozen=True)
class OrdinalProtocol:
    """Which of two points is nearer. Needs no alignment. metrics: of `dptkit.evaluation.ordinal`.

    equal_ratio: predicted inverse depths within this ratio count as equal (WHDR of DIW: 0, there are no equal pairs).
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID
    name: str
    source: str
    datasets: tuple[str, ...]
    split: str
    metrics: tuple[str, ...]
    equal_ratio: float = 0.0
    network_input: NetworkInput | None = None
    interpolation: MapInterpolation = "bicubic"
    aggregation: Aggregation = "image_mean"
    tta: TestTimeAugmentation = "none"
    scales: tuple[float, ...] = (1.0,)
    task: Literal["ordinal"] = "ordinal"


@dataclass(frozen=True)
class SegmentationProtocol:
    """Labels against labels: one confusion matrix over all pixels whose truth is not 255.

    classes: the names that ids stand for, by id; a model with other classes cannot be scored. Empty: the data set's.
    network_input: as for depth. tta, scales: probabilities are averaged before the largest is taken.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _FORBID
    name: str
    source: str
    datasets: tuple[str, ...]
    split: str
    classes: tuple[str, ...]
    metrics: tuple[str, ...] = ("mean_iou", "pixel_accuracy", "boundary_iou")
    network_input: NetworkInput | None = None
    interpolation: MapInterpolation = "bicubic"
    aggregation: Aggregation = "pooled"
    tta: TestTimeAugmentation = "none"
    scales: tuple[float, ...] = (1.0,)
    task: Literal["segmentation"] = "segmentation"


Protocol = Annotated[DepthProtocol | OrdinalProtocol | SegmentationProtocol, Field(discriminator="task")]


def protocol_to_dict(protocol: Protocol) -> dict[str, Any]:
    """All fields as JSON-ready values."""
    return asdict(protocol)


def protocol_from_dict(values: dict[str, Any]) -> Protocol:
    """The inverse. Raises ConfigError for an unknown or missing field, or a wrong type."""
    try:
        return TypeAdapter(Protocol).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = [
            str(part) for part in first["loc"] if part != values.get("task")
        ]  # which kind it is goes without saying
        raise ConfigError(f"protocol: {'.'.join(place)}: {first['msg']}") from error


def differing_fields(left: Protocol, right: Protocol) -> dict[str, tuple[Any, Any]]:
    """Fields that change the number, by name: (left's, right's); name and source are not among them."""
    ours, theirs = protocol_to_dict(left), protocol_to_dict(right)
    names = dict.fromkeys([*(part.name for part in fields(left)), *(part.name for part in fields(right))])
    return {
        name: (ours.get(name), theirs.get(name))
        for name in names
        if name not in ("name", "source") and ours.get(name) != theirs.get(name)
    }
