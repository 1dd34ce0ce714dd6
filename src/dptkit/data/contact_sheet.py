"""Some samples of a data set on one picture: each beside its ground truth."""

from __future__ import annotations

import colorsys
import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from dptkit.data.sample import Dataset, OrdinalDataset, OrdinalSample, Sample
from dptkit.errors import DataError
from dptkit.image_io.colour import colour_table

Image = npt.NDArray[np.uint8]
_SIDE = 160  # pixels, of the square that a picture or its target fits into
_CAPTION = 14
_COLUMNS = 4
_INVALID = (128, 128, 128)
_NEAR, _FAR, _EQUAL = (255, 220, 0), (60, 90, 255), (200, 200, 200)


def draw_contact_sheet(dataset: Dataset | OrdinalDataset, count: int = 24) -> Image:
    """uint8 RGB: up to `count` samples, evenly spread, four to a row; names below.

    Inverse depth and depth: inferno, bright is near, over the picture's own 1st to 99th percentile of inverse depth.
    Labels: one colour a class. Grey: invalid. Pairs of points: joined, the nearer one yellow, the farther one blue.
    A broken sample is a red tile.
    """
    if len(dataset) == 0:
        raise DataError(f"{dataset.name}: no samples to show")
    indices = np.unique(np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int))
    tiles = [_tile(dataset, int(index)) for index in indices]
    columns = min(_COLUMNS, len(tiles))
    rows = math.ceil(len(tiles) / columns)
    tiles += [np.zeros_like(tiles[0])] * (rows * columns - len(tiles))
    return np.concatenate(
        [np.concatenate(tiles[row * columns : (row + 1) * columns], axis=1) for row in range(rows)], axis=0
    )


def colour_target(sample: Sample) -> Image:
    """The target as uint8 RGB, see `draw_contact_sheet`."""
    if sample.quantity == "labels":
        return _class_colours()[np.where(sample.valid, sample.target, 255)]
    values = sample.target.astype(np.float64)
    if sample.quantity == "depth_m":
        values = np.divide(1, values, out=np.zeros_like(values), where=values > 0)
    return colour_inverse_depth(values, sample.valid)


def draw_pairs(sample: OrdinalSample) -> Image:
    """The picture as small as in a contact sheet, with its pairs of points."""
    canvas = np.ascontiguousarray(_fitted(sample.image, nearest=False))
    scale = np.array(canvas.shape[:2]) / sample.image.shape[:2]
    for pair, nearer in zip(sample.points, sample.nearer, strict=True):
        first, second = (tuple(int(at) for at in (place * scale)[::-1]) for place in pair)
        cv2.line(canvas, first, second, _EQUAL, 1, cv2.LINE_AA)
        cv2.circle(canvas, first, 3, {1: _NEAR, -1: _FAR}.get(int(nearer), _EQUAL), -1, cv2.LINE_AA)
        cv2.circle(canvas, second, 3, {1: _FAR, -1: _NEAR}.get(int(nearer), _EQUAL), -1, cv2.LINE_AA)
    return canvas


def colour_inverse_depth(
    values: npt.NDArray[Any], valid: npt.NDArray[np.bool_], bounds: tuple[float, float] | None = None
) -> Image:
    """Inverse depth [H, W] as uint8 RGB: inferno, bright is near, invalid grey. bounds: by default `spread`."""
    low, high = spread(values, valid) if bounds is None else bounds
    position = np.where(valid, np.clip((values - low) / max(high - low, 1e-12), 0, 1), 0)
    colours = colour_table("inferno")[np.rint(position * 255).astype(np.uint8)]
    return np.where(valid[:, :, None], colours, np.array(_INVALID, np.uint8))


def spread(values: npt.NDArray[Any], valid: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """1st and 99th percentile of the valid values; 0 and 1 without any."""
    if not valid.any():
        return 0.0, 1.0
    low, high = np.percentile(values[valid], (1, 99))
    return float(low), float(high)


def _tile(dataset: Dataset | OrdinalDataset, index: int) -> Image:
    canvas = np.zeros((_SIDE + _CAPTION, 2 * _SIDE, 3), np.uint8)
    try:
        sample = dataset[index]
    except DataError:
        canvas[:] = (160, 0, 0)
        _write(canvas, f"{index}: broken")
        return canvas
    truth = draw_pairs(sample) if isinstance(sample, OrdinalSample) else colour_target(sample)
    for place, picture, nearest in ((0, sample.image, False), (1, truth, True)):
        small = _fitted(picture, nearest)
        top, left = (_SIDE - small.shape[0]) // 2, place * _SIDE + (_SIDE - small.shape[1]) // 2
        canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    _write(canvas, f"{sample.source} {sample.name.rpartition('/')[2]}")
    return canvas


def _fitted(picture: Image, nearest: bool) -> Image:
    height, width = picture.shape[:2]
    scale = (_SIDE - 2) / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_NEAREST if nearest else cv2.INTER_AREA
    resized: Any = cv2.resize(picture, size, interpolation=method)
    return np.asarray(resized, np.uint8)


def _write(canvas: Image, text: str) -> None:
    plain = text.encode("ascii", "replace").decode("ascii")[:52]
    where = (3, canvas.shape[0] - 4)
    cv2.putText(canvas, plain, where, cv2.FONT_HERSHEY_SIMPLEX, 0.35, (220, 220, 220), 1, cv2.LINE_AA)


def _class_colours() -> Image:
    """256 colours, neighbours far apart; 255 (ignored) is grey."""
    table = np.empty((256, 3), np.uint8)
    for k in range(255):
        red, green, blue = colorsys.hsv_to_rgb(k * 0.61803398875 % 1, 0.55 + 0.4 * (k % 3) / 2, 0.95 - 0.4 * (k % 2))
        table[k] = (round(red * 255), round(green * 255), round(blue * 255))
    table[255] = _INVALID
    return table
