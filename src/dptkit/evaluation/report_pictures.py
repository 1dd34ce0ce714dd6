"""One picture of a report: what the network saw, the truth, the prediction, and where the two part."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from dptkit.data.contact_sheet import colour_inverse_depth, spread
from dptkit.data.sample import IGNORED, Dataset, OrdinalDataset, OrdinalSample, Sample
from dptkit.errors import ConfigError, DataError
from dptkit.evaluation.alignment import DOMAINS, Fit, apply_fit
from dptkit.evaluation.depth_pixels import resize_prediction
from dptkit.evaluation.depth_scoring import compare_depth
from dptkit.evaluation.protocol import DepthProtocol, OrdinalProtocol
from dptkit.evaluation.report_pairs import LEGEND, PairsPicture, compare_pairs, pairs_panels
from dptkit.evaluation.result import EvaluationResult, ImageResult
from dptkit.evaluation.sample_places import sample_key, sample_places
from dptkit.evaluation.scoring import labels_at
from dptkit.evaluation.subject import Prediction
from dptkit.image_io.colour import colour_table
from dptkit.outputs import DepthMap, SegmentationMap

Image = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

LARGEST_ERROR = 0.5
"""|p - t| / t at the end of the error's colours."""
SIDE = 320
"""Pixels of the longer side in a report."""
_TWO_PANELS = 1.75
"""Times this where two panels have the room of four."""
_SMALLEST = 1e-8
_JPEG_QUALITY = 82
_WRONG = (214, 39, 40)
_ERROR_COLOURS = "magma"


@dataclass(frozen=True, eq=False)
class ReportPicture:
    """image: uint8 RGB [H, W, 3]. valid: bool [H, W], pixels that count.

    Depth: truth, prediction float64 [H, W], above 0, in metres or up to scale, the prediction aligned to the truth and
        whole; truth and error mean something where valid only. error: |p - t| / t.
    Labels: truth, prediction uint8 [H, W], 255 is no class; error: 1 where they differ, 0 elsewhere. classes: names by
        id, which says that these are labels; palette: (red, green, blue) by id.
    """

    image: Image
    truth: npt.NDArray[Any]
    prediction: npt.NDArray[Any]
    error: npt.NDArray[Any]
    valid: npt.NDArray[np.bool_]
    unit: str = "m"
    classes: tuple[str, ...] = ()
    palette: tuple[Colour, ...] = ()


@dataclass(frozen=True)
class Panel:
    """One image in a row. uri: `data:` address. size: (height, width)."""

    caption: str
    uri: str
    size: tuple[int, int]


@dataclass(frozen=True)
class DrawnPicture:
    """A row of panels. scale: what the colours' ends are, in words. legend: (class, #rrggbb) of those in the row."""

    panels: tuple[Panel, ...]
    scale: str
    legend: tuple[tuple[str, str], ...]


PictureSource = Callable[[EvaluationResult, ImageResult], "ReportPicture | PairsPicture | None"]


def pictures_from(
    dataset: Dataset | OrdinalDataset,
    predict: Callable[[EvaluationResult, Sample | OrdinalSample], Prediction | None],
) -> PictureSource:
    """Pictures for `write_report` from the data and whatever gives a sample's prediction again.

    There is none where the sample or the prediction cannot be read.
    """
    places: dict[tuple[str, str], int] = {}

    def picture(result: EvaluationResult, image: ImageResult) -> ReportPicture | PairsPicture | None:
        if not places:
            places.update(sample_places(dataset))
        try:
            sample = dataset[places[sample_key(image)]]
            prediction = predict(result, sample)
            return None if prediction is None else compare_picture(prediction, sample, result, image)
        except (KeyError, DataError, ConfigError):
            return None

    return picture


def compare_picture(
    prediction: Prediction, sample: Sample | OrdinalSample, result: EvaluationResult, image: ImageResult
) -> ReportPicture | PairsPicture | None:
    """Prediction and truth as the result's protocol compares them. None for what it cannot compare.

    image: the sample's entry in the result; its fit is used where the protocol has one for a whole video.
    """
    if isinstance(sample, OrdinalSample):
        if isinstance(prediction, DepthMap) and isinstance(result.protocol, OrdinalProtocol):
            return compare_pairs(prediction, sample, result.protocol)
        return None
    if isinstance(prediction, SegmentationMap):
        return _labels(prediction, sample)
    if isinstance(result.protocol, DepthProtocol):
        return _depth(prediction, sample, result.protocol, image)
    return None


def _labels(prediction: SegmentationMap, sample: Sample) -> ReportPicture:
    truth = np.where(sample.valid, sample.target, IGNORED).astype(np.uint8)
    labels = labels_at(prediction.labels, (truth.shape[0], truth.shape[1]), sample.name)
    valid = truth != IGNORED
    wrong = (valid & (labels != truth)).astype(np.uint8)
    return ReportPicture(sample.image, truth, labels, wrong, valid, "class", prediction.class_names, prediction.palette)


def _depth(prediction: DepthMap, sample: Sample, protocol: DepthProtocol, image: ImageResult) -> ReportPicture:
    fit = None
    if protocol.alignment_scope == "video":
        domain = DOMAINS[protocol.alignment]
        fit = Fit(image.fit["scale"], image.fit["shift"], domain, image.state == "degenerate")
    compared = compare_depth(prediction, sample, protocol, fit)
    top, left, height, width = compared.window
    resized = resize_prediction(prediction.values, (height, width), protocol.interpolation)
    values = np.nan_to_num(resized).astype(np.float64)
    inverse = compared.fit.domain == "inverse_depth"
    if inverse and prediction.quantity == "depth_m":
        values = 1 / np.maximum(values, _SMALLEST)
    aligned = np.maximum(apply_fit(compared.fit, values), _SMALLEST)
    predicted = 1 / aligned if inverse else aligned
    # Clamp and rounding show where they were part of the score.
    predicted[compared.valid] = compared.predicted[compared.valid]
    error = np.where(compared.valid, np.abs(predicted - compared.truth) / compared.truth, 0)
    cut = sample.image[top : top + height, left : left + width]
    unit = "relative" if sample.unit == "relative" else "m"
    return ReportPicture(cut, compared.truth, predicted, error, compared.valid, unit)


def draw_picture(picture: ReportPicture | PairsPicture, side: int = SIDE) -> DrawnPicture:
    """Picture, truth, prediction and error, the longer side at most `side` pixels; of pairs, what `pairs_panels` draws.

    Depth: bright is near, truth and prediction over the truth's 1st to 99th percentile of inverse depth. Grey: not
    measured. Measured points that lie far apart grow when a picture shrinks, so that they can be seen.
    """
    height, width = picture.image.shape[:2]
    if isinstance(picture, PairsPicture):
        side = round(side * _TWO_PANELS)
    factor = min(1.0, side / max(height, width))
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    if isinstance(picture, PairsPicture):
        drawn = tuple(_panel(caption, pixels) for caption, pixels in pairs_panels(picture, size))
        return DrawnPicture(drawn, "", LEGEND)
    image = _resized(picture.image, size, cv2.INTER_AREA)
    if picture.classes:
        return _draw_labels(picture, image, size)
    truth = 1 / np.maximum(picture.truth, _SMALLEST)
    bounds = spread(truth, picture.valid)
    everywhere = np.ones(picture.valid.shape, np.bool_)
    shown_truth = colour_inverse_depth(*_shrunk(truth, picture.valid, size), bounds)
    predicted = 1 / np.maximum(picture.prediction, _SMALLEST)
    shown = colour_inverse_depth(*_shrunk(np.clip(predicted, *bounds), everywhere, size), bounds)
    error, known = _shrunk(picture.error, picture.valid, size)
    codes = np.rint(np.clip(error / LARGEST_ERROR, 0, 1) * 255).astype(np.uint8)
    coloured = np.where(known[..., None], colour_table(_ERROR_COLOURS)[codes], np.uint8(128)).astype(np.uint8)
    panels = [("picture", image), ("truth", shown_truth), ("prediction", shown), ("error", coloured)]
    scale = "near to far, up to scale"
    if picture.unit == "m" and picture.valid.any():
        scale = f"near to far: {1 / max(bounds[1], _SMALLEST):.3g} m to {1 / max(bounds[0], _SMALLEST):.3g} m"
    return DrawnPicture(tuple(_panel(caption, pixels) for caption, pixels in panels), scale, ())


def gradient(colormap: str) -> str:
    """A colour map from its dark end to its bright one, as colours of a CSS gradient."""
    table = colour_table(colormap)
    return ", ".join("#{:02x}{:02x}{:02x}".format(*table[code]) for code in range(0, 256, 15))


def _draw_labels(picture: ReportPicture, image: Image, size: tuple[int, int]) -> DrawnPicture:
    table = np.zeros((256, 3), np.uint8)
    table[: len(picture.palette)] = picture.palette

    def overlay(labels: npt.NDArray[np.uint8]) -> Image:
        small = _resized(labels, size, cv2.INTER_NEAREST_EXACT)
        mixed = image * np.float32(0.4) + table[small] * np.float32(0.6)
        return np.where((small == IGNORED)[..., None], image, np.rint(mixed)).astype(np.uint8)

    grey = (image.mean(axis=2, keepdims=True) * 0.5 + 40).astype(np.uint8).repeat(3, axis=2)
    share = _resized(picture.error.astype(np.float32), size, cv2.INTER_AREA)[..., None]
    wrong = np.rint(grey * (1 - share) + np.array(_WRONG, np.float32) * share).astype(np.uint8)
    truth, labels = overlay(picture.truth), overlay(picture.prediction)
    panels = [("picture", image), ("truth", truth), ("prediction", labels), ("wrong pixels", wrong)]
    used = np.union1d(picture.truth[picture.valid], picture.prediction[picture.valid])
    legend = tuple(
        (picture.classes[k], "#{:02x}{:02x}{:02x}".format(*picture.palette[k]))
        for k in used
        if k < len(picture.classes)
    )
    return DrawnPicture(tuple(_panel(caption, pixels) for caption, pixels in panels), "", legend)


def _shrunk(
    values: npt.NDArray[Any], valid: npt.NDArray[np.bool_], size: tuple[int, int]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Means over the valid pixels that each small pixel covers; valid where there is one."""
    weights = valid.astype(np.float64)
    share = _resized(weights, size, cv2.INTER_AREA)
    total = _resized(np.where(valid, values, 0.0).astype(np.float64), size, cv2.INTER_AREA)
    return np.divide(total, share, out=np.zeros(size), where=share > 0), share > 0


def _resized(pixels: npt.NDArray[Any], size: tuple[int, int], method: int) -> npt.NDArray[Any]:
    if pixels.shape[:2] == size:
        return pixels
    return np.asarray(cv2.resize(pixels, size[::-1], interpolation=method))


def _panel(caption: str, pixels: Image) -> Panel:
    buffer = io.BytesIO()
    # Colours are the message: none are shared between neighbours, except in a photograph.
    subsampling = "4:2:0" if caption == "picture" else "4:4:4"
    Pillow.fromarray(pixels).save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=subsampling)
    uri = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return Panel(caption, uri, (pixels.shape[0], pixels.shape[1]))
