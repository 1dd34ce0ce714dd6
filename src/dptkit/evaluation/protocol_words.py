"""What each field of a protocol decides, and what each of its values means, in a sentence each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dptkit.evaluation.protocol import Protocol, protocol_to_dict

FIELDS: dict[str, str] = {
    "datasets": "which data sets the protocol is made for",
    "split": "which part of the data set is scored",
    "dataset_options": "how the data set is read",
    "pictures": "how many pictures there must be",
    "classes": "which classes there are",
    "alignment": "how a prediction is brought to the truth's scale",
    "alignment_scope": "how many pictures share one fit",
    "metrics": "which numbers are computed; the first one ranks",
    "crop": "which part of the picture the network is given",
    "mask": "which rectangle of the picture counts",
    "mask_frame": "what that rectangle is a part of",
    "truth_range_m": "which true depths count",
    "prediction_range_m": "what predicted depth is clamped to after the alignment",
    "relative_floor": "how near to infinity, or to zero, an aligned value may come where no range bounds it",
    "network_input": "the size that the network sees",
    "interpolation": "how a map gets from the network's resolution to the truth's",
    "rounding": "whether predictions pass through 16-bit files",
    "aggregation": "how pictures become one number",
    "tta": "whether several predictions of a picture are averaged",
    "scales": "which sizes of the picture are averaged, as factors",
    "equal_ratio": "how close two points must be to count as equally far",
    "task": "what is compared",
    "name": "what the protocol is called",
    "source": "where its choices are written down",
}
"""Of every field of every kind of protocol."""

VALUES: dict[str, dict[str, str]] = {
    "alignment": {
        "none": "Predictions are scored in metres as they are, so an error of scale counts in full.",
        "median_scale": "Each prediction is multiplied by median(truth) / median(prediction): errors of scale vanish.",
        "inverse_least_squares": "Scale and shift are fitted to the truth in inverse depth, where near pixels weigh "
        "most, so only the shape of the map counts.",
        "depth_least_squares": "Scale and shift are fitted to the truth in depth, where far pixels weigh most.",
        "inverse_median_mad": "Median and mean absolute deviation of inverse depth are made the truth's: like least "
        "squares, but single wrong pixels hardly move it.",
    },
    "alignment_scope": {
        "image": "Each picture has its own fit, so flicker of a video's scale costs nothing.",
        "video": "All pictures of a video share one fit, so flicker of its scale counts as error.",
    },
    "crop": {
        "none": "The network sees the whole picture.",
        "kitti_benchmark": "The network sees KITTI's benchmark crop, the bottom centre 352x1216, without the sky.",
        "eigen_nyu": "The network sees rows 45 to 471 and columns 41 to 601, without the frame of NYUv2's pictures.",
        "scannet_border": "The network sees the picture without 8 rows and 11 columns on every side.",
        "even_sides": "The network sees the picture without the last row or column where a side is odd.",
    },
    "mask": {
        "none": "Every measured pixel counts.",
        "eigen_nyu": "Pixels at the border of the picture do not count (rows 45 to 471, columns 41 to 601).",
        "eigen_kitti": "Only rows 33% to 91% and columns 4% to 96% count (Eigen et al. 2014).",
        "garg": "Only rows 41% to 99% and columns 4% to 96% count (Garg et al. 2016): mostly near road.",
    },
    "mask_frame": {
        "whole": "The rectangle is a part of the whole picture, as in BTS's code.",
        "crop": "The rectangle is a part of the cropped picture, so it lies elsewhere than in BTS's code.",
    },
    "rounding": {
        "none": "Predictions are scored with all their digits.",
        "uint16_per_mm": "Predictions are cut to whole millimetres and end at 65.535 m, as in a 16-bit PNG.",
        "uint16_per_256th_m": "Predictions are cut to 1/256 m, 4 mm, and end at 255.99 m, as in KITTI's 16-bit PNG.",
    },
    "interpolation": {
        "nearest": "Each pixel takes the nearest value: edges stay hard and become steps.",
        "bilinear": "Values are mixed linearly between pixel centres: edges become ramps.",
        "bilinear_aligned_corners": "Values are mixed linearly, and corner pixels lie on corner pixels, so the whole "
        "map is stretched by up to a pixel.",
        "bicubic": "Values follow cubic curves: edges stay sharper and may overshoot.",
    },
    "aggregation": {
        "image_mean": "Each picture counts alike, however many pixels were measured in it.",
        "source_mean": "Each source counts alike, however many pictures it has.",
        "video_mean": "Each video counts alike, however long it is.",
        "pooled": "Each pixel counts alike, so pictures with more measured pixels count more.",
    },
    "tta": {
        "none": "One prediction of each picture.",
        "flip": "The mean with the mirrored picture's prediction, at twice the time: usually a little better.",
        "ms-flip": "The mean over several sizes, each with its mirror image, at many times the time: usually better.",
    },
    "task": {
        "depth": "Depth is compared with measured depth.",
        "ordinal": "Two points of a picture are compared: which one is nearer.",
        "segmentation": "Labels are compared with labels.",
    },
}
"""Of fields with named values."""

NEW_PREDICTION = ("crop", "network_input", "tta", "scales")
"""Fields that change the prediction itself: what each is worth takes a new run of the model."""

OTHER_DATA = ("datasets", "split", "dataset_options", "pictures", "classes")
"""Fields that change what predictions are compared with."""

_POLICIES = {
    "minimal": "as near to it as the change to multiples allows",
    "lower_bound": "shape kept, no side smaller",
    "upper_bound": "shape kept, no side larger",
}


def explain(field: str, value: Any) -> str:
    """What it means that `field` has this value (as in a result file), in one sentence."""
    if field in VALUES and isinstance(value, str) and value in VALUES[field]:
        return VALUES[field][value]
    if field in _SENTENCES:
        return _SENTENCES[field](value)
    return f"It is {value}."


def protocol_sentences(protocol: Protocol) -> dict[str, str]:
    """Every field that decides something, by name, explained. The task first."""
    values = protocol_to_dict(protocol)
    names = ["task", *(name for name in values if name not in ("task", "name", "source"))]
    return {name: explain(name, values[name]) for name in names}


def show_value(value: Any) -> str:
    """A field's value for a table's cell."""
    if value is None or value == () or value == {}:
        return "-"
    if isinstance(value, dict):
        return ", ".join(f"{key}={show_value(entry)}" for key, entry in value.items())
    if isinstance(value, (tuple, list)):
        return ", ".join("any" if entry is None else show_value(entry) for entry in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _range(value: Any, subject: str, unbounded: str) -> str:
    low, high = value
    low = None if low == 0 else low
    if low is None and high is None:
        return unbounded
    if low is None:
        return f"{subject} up to {high:g} m."
    return f"{subject} from {low:g} m{'' if high is None else f' to {high:g} m'}."


def _truth_range(value: Any) -> str:
    return _range(value, "True depth counts", "True depth counts whatever it is.")


def _prediction_range(value: Any) -> str:
    if list(value) == [None, None]:
        return "Predicted depth is not clamped, so single wild pixels can cost much."
    low, high = value
    bounds = [f"less than {low:g} m is {low:g} m"] if low is not None else []
    bounds += [f"more than {high:g} m is {high:g} m"] if high is not None else []
    return f"Predicted depth is clamped: {' and '.join(bounds)}."


def _network_input(value: Any) -> str:
    if value is None:
        return "The network sees pictures at the model's own size."
    height, width = value["size"]
    policy = _POLICIES.get(value["policy"], value["policy"])
    return f"The network sees pictures at {height}x{width} (height x width), {policy}."


def _relative_floor(value: Any) -> str:
    return f"Without a bound, an aligned value is kept above {value:g} times the truth's smallest."


def _scales(value: Any) -> str:
    factors = ", ".join(f"{factor:g}" for factor in value)
    return f"Predictions are averaged over the sizes {factors}." if len(value) > 1 else f"One size: {factors}."


def _equal_ratio(value: Any) -> str:
    return f"Inverse depths within a ratio of {1 + value:g} are equal." if value else "No two points count as equal."


def _classes(value: Any) -> str:
    return f"There are {len(value)} classes." if value else "The classes are the data set's own."


def _datasets(value: Any) -> str:
    return f"Made for {' and '.join(value)}." if value else "Made for any data set."


def _dataset_options(value: Any) -> str:
    return f"The data set is read with {show_value(value)}." if value else "The data set is read as it is distributed."


_SENTENCES: dict[str, Callable[[Any], str]] = {
    "truth_range_m": _truth_range,
    "prediction_range_m": _prediction_range,
    "network_input": _network_input,
    "relative_floor": _relative_floor,
    "scales": _scales,
    "equal_ratio": _equal_ratio,
    "classes": _classes,
    "datasets": _datasets,
    "dataset_options": _dataset_options,
    "pictures": lambda value: f"There are {value} pictures." if value else "As many pictures as the split has.",
    "split": lambda value: f"The pictures of {value} are scored." if value else "All pictures are scored.",
    "metrics": lambda value: f"Computed: {', '.join(value)}.",
    "name": lambda value: f"It is called {value}.",
    "source": lambda value: f"Written down in: {value}.",
}
