"""Test-time augmentation: one picture seen mirrored and at several sizes, the results averaged.

K channels · h w network resolution · H W picture
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import get_args

import cv2
import numpy as np
import numpy.typing as npt

from dptkit.config import DepthDecoding, PreprocessConfig, SegmentationDecoding, TestTimeAugmentation
from dptkit.errors import ConfigError
from dptkit.outputs import DepthMap, Provenance, SegmentationMap
from dptkit.postprocess import decode_depth, resize_map, valid_depth
from dptkit.preprocess import network_size, preprocess

Raw = npt.NDArray[np.float32]

DETAIL_SIGMA = 1 / 20
"""Of the Gaussian that parts layout from detail, in shorter sides of the map."""
COARSE_SIDE = 256
"""Pixels of the shorter side at which that Gaussian is computed."""

TTA_CHOICES: tuple[TestTimeAugmentation, ...] = get_args(TestTimeAugmentation)


@dataclass(frozen=True)
class Views:
    """How a picture is looked at.

    none: once.
    flip: also the mirrored network input; its result is mirrored back, and the two are averaged.
        Relative inverse depth: raw outputs are averaged. Metres: the two depths are (ZoeDepth, `evaluate.py`, function
        infer; DINOv2, `dinov2/eval/depth/models/depther/encoder_decoder.py`, function aug_test). Unlike DINOv2's, views
        are not clamped before; a pixel is valid where the mean is in the model's range.
        Classes: logits are resized to the picture bicubically, softmax makes probabilities of them, these are averaged,
        and the largest wins (isl-org's single pass resizes logits too; mmsegmentation's aug_test averages alike).
    ms-flip: flip at every one of `scales`: times the network size of the single pass, each side rounded to the multiple
        that the network needs, one multiple at least. Depth is brought to the wanted size bicubically, then averaged as
        above; raw outputs of a relative model may differ in scale and shift between scales, which the mean does not
        mend. Views do not agree to the pixel where edges are, so relative inverse depth keeps the detail of the single
        pass, where a scale makes an input of its size: see `with_detail`.

    Raises ConfigError for an unknown word, or scales without use or sense.
    """

    tta: TestTimeAugmentation = "none"
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if self.tta not in TTA_CHOICES:
            raise ConfigError(f"tta {self.tta!r} is none of {', '.join(TTA_CHOICES)}")
        if self.tta != "ms-flip":
            if self.scales != (1.0,):
                raise ConfigError(f"scales are for tta 'ms-flip', not {self.tta!r}")
        elif not self.scales or not all(0 < scale < float("inf") for scale in self.scales):
            raise ConfigError(f"scales must be positive numbers, not {list(self.scales)}")

    def raw(
        self, image: npt.NDArray[np.uint8], config: PreprocessConfig, run: Callable[[Raw], Raw]
    ) -> Iterator[tuple[Raw, Raw]]:
        """uint8 RGB [H, W, 3] -> two raw outputs [K, h, w] a scale: the input's, and the mirrored one's, mirrored back.

        `run`: network inputs float32 [1, 3, h, w] -> raw outputs [1, K, h, w].
        """
        size = network_size(image.shape[0], image.shape[1], config)
        for scale in self.scales:
            height, width = (max(1, round(side * scale / config.multiple_of)) * config.multiple_of for side in size)
            tensor = preprocess(image, config, (height, width))[None]
            # One after the other: in one batch, sums may be taken in another order for the second than for the first.
            yield run(tensor)[0], run(np.ascontiguousarray(tensor[..., ::-1]))[0][..., ::-1]


ONCE = Views()


def mean_depth(
    pairs: Iterable[tuple[Raw, Raw]], size: tuple[int, int], decoding: DepthDecoding, provenance: Provenance
) -> DepthMap:
    """Raw outputs [1, h, w] of all views -> DepthMap of `size`. Raises NonFiniteOutputError as decode_depth does.

    size: what views are brought to. provenance.network_size: of the single pass, whose detail is kept (see `Views`).
    """
    total, count, fine, sizes = np.zeros(size, np.float64), 0, None, set()
    for pair in pairs:
        # Decoded, then resized: metres are what is averaged, and raw outputs of relative models pass unchanged.
        one, mirrored = (decode_depth(raw, size, decoding, provenance).values.astype(np.float64) for raw in pair)
        total += one + mirrored  # in pairs: a mirrored picture gives the same sums in the same order
        count += 2
        sizes.add(pair[0].shape[1:])
        if fine is None and pair[0].shape[1:] == provenance.network_size:
            fine = one
    mean = total / count
    if fine is not None and len(sizes) > 1 and decoding.quantity == "inverse_depth":
        mean = with_detail(mean, fine, np.ones(size, np.bool_))
    values = mean.astype(np.float32)
    return DepthMap(values, decoding.quantity, valid_depth(values, decoding), provenance)


def with_detail(
    layout: npt.NDArray[np.float64], fine: npt.NDArray[np.float64], known: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Inverse depth [H, W] with the layout of one map and the detail of another: f + G * (layout - f).

    f is `fine`, brought to the layout's scale and shift by least squares over `known`; G a Gaussian of `DETAIL_SIGMA`,
    normalised over those pixels. Elsewhere the layout stays, and everywhere if `fine` is constant or fits best upside
    down. What is smooth is computed on at most `COARSE_SIDE` pixels a shorter side: in a photograph of 12 megapixels a
    Gaussian of 150 would take longer than the network.
    """
    shown = known.astype(np.float64)
    weight, coarse, detail = (_shrunk(values) for values in (shown, layout * shown, np.where(known, fine, 0)))
    if not weight.any():
        return layout
    mean_coarse, mean_detail = coarse.sum() / weight.sum(), detail.sum() / weight.sum()
    coarse, detail = coarse - mean_coarse * weight, detail - mean_detail * weight
    share = np.where(weight > 0, weight, 1)
    spread, agreement = (detail * detail / share).sum(), (detail * coarse / share).sum()
    rounding = 64 * np.finfo(np.float64).eps * abs(mean_detail)
    if not (spread > rounding**2 * weight.sum() and agreement > 0):
        return layout
    scale = agreement / spread
    sigma = DETAIL_SIGMA * min(weight.shape)
    difference, normaliser = (
        cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
        for values in (coarse - scale * detail, weight)
    )
    smooth = cv2.resize(difference / np.maximum(normaliser, 1e-6), known.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.where(known, mean_coarse + scale * (fine - mean_detail) + smooth, layout))


def _shrunk(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """[H, W] to a shorter side of `COARSE_SIDE` at most, by area."""
    factor = COARSE_SIDE / min(values.shape)
    if factor >= 1:
        return values
    height, width = (max(1, round(side * factor)) for side in values.shape)
    return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA))


def likeliest_classes(
    pairs: Iterable[tuple[Raw, Raw]],
    size: tuple[int, int],
    decoding: SegmentationDecoding,
    provenance: Provenance,
    scores: bool = False,
) -> SegmentationMap:
    """Logits [K, h, w] of all views -> the class of the largest mean probability. scores: also that probability.

    Class by class: one float32 [K, H, W] is all that is held beside the logits.
    """
    total, count = np.zeros((len(decoding.class_names), *size), np.float32), 0
    for pair in pairs:
        normalisers = [_log_sum(raw, size) for raw in pair]
        for index, sums in enumerate(total):
            one, mirrored = (
                np.exp(resize_map(raw[index], size) - log) for raw, log in zip(pair, normalisers, strict=True)
            )
            sums += one + mirrored
        count += 2
    labels = total.argmax(axis=0).astype(np.uint8)
    # Sums of rounded probabilities may pass one.
    probability = np.minimum(total.max(axis=0) / np.float32(count), np.float32(1)) if scores else None
    return SegmentationMap(labels, decoding.class_names, decoding.palette, provenance, probability)


def _log_sum(raw: Raw, size: tuple[int, int]) -> Raw:
    """log(sum(exp(logits))) over classes, of logits resized to `size`."""
    highest = resize_map(raw[0], size)
    total = np.ones(size, np.float32)
    for logits in raw[1:]:
        plane = resize_map(logits, size)
        # total = sum of exp(logit - highest) so far, kept relative to the running maximum.
        difference = np.exp(-np.abs(plane - highest))
        total = np.where(plane > highest, total * difference + 1, total + difference)
        np.maximum(highest, plane, out=highest)
    return highest + np.log(total)
