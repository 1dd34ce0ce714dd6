"""One picture of a report where pairs of points were compared, and which of them came out right."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from dptkit.data.contact_sheet import colour_inverse_depth
from dptkit.data.sample import OrdinalSample
from dptkit.evaluation.ordinal import Relations, ordinal_relation, values_at
from dptkit.evaluation.protocol import OrdinalProtocol
from dptkit.evaluation.scoring import nearness_of
from dptkit.outputs import DepthMap

Image = npt.NDArray[np.uint8]

RIGHT, WRONG = (31, 119, 180), (214, 39, 40)
"""Colours of pairs that are predicted as they are annotated, and of the others."""
LEGEND = (
    ("pair predicted as annotated; the filled point is the nearer one", "#1f77b4"),
    ("pair predicted otherwise; filled is what people saw nearer", "#d62728"),
)
_EDGE = (255, 255, 255)


@dataclass(frozen=True, eq=False)
class PairsPicture:
    """image: uint8 RGB [H, W, 3]. nearness: float64 [H, W], larger is nearer. points, nearer: as of `OrdinalSample`.

    right: bool [P], pairs that are predicted as annotated.
    """

    image: Image
    nearness: npt.NDArray[np.float64]
    points: npt.NDArray[np.int64]
    nearer: Relations
    right: npt.NDArray[np.bool_]


def compare_pairs(prediction: DepthMap, sample: OrdinalSample, protocol: OrdinalProtocol) -> PairsPicture:
    """As the protocol compares them. Raises DataError as scoring does."""
    nearness = nearness_of(prediction, sample, protocol)
    relation = ordinal_relation(values_at(nearness, sample.points), protocol.equal_ratio)
    return PairsPicture(sample.image, nearness, sample.points, sample.nearer, relation == sample.nearer)


def pairs_panels(picture: PairsPicture, size: tuple[int, int]) -> tuple[tuple[str, Image], ...]:
    """Picture and prediction (height, width), both with the pairs drawn; captions first."""
    everywhere = np.ones(picture.nearness.shape, np.bool_)
    prediction = colour_inverse_depth(picture.nearness, everywhere)
    images = (("picture with pairs", picture.image), ("prediction", prediction))
    return tuple((caption, _drawn(pixels, picture, size)) for caption, pixels in images)


def _drawn(pixels: Image, picture: PairsPicture, size: tuple[int, int]) -> Image:
    canvas = np.ascontiguousarray(cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA))
    scale = np.array(size) / pixels.shape[:2]
    for pair, nearer, right in zip(picture.points, picture.nearer, picture.right, strict=True):
        colour = RIGHT if right else WRONG
        a, b = (tuple(int(at) for at in (place * scale)[::-1]) for place in pair)
        cv2.line(canvas, a, b, _EDGE, 3, cv2.LINE_AA)
        cv2.line(canvas, a, b, colour, 1, cv2.LINE_AA)
        for end, filled in zip((a, b), (nearer == 1, nearer == -1), strict=True):
            cv2.circle(canvas, end, 6, _EDGE, -1, cv2.LINE_AA)
            cv2.circle(canvas, end, 5, colour, -1 if filled else 2, cv2.LINE_AA)
    return np.asarray(canvas, np.uint8)
