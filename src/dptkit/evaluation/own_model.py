"""Our models as subjects: the protocol's network input, test-time augmentation, results before they are resized.

K channels · h w network resolution · H W picture
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from dptkit.config import DepthDecoding, PreprocessConfig, SegmentationDecoding
from dptkit.errors import ConfigError
from dptkit.evaluation.eligibility import check_classes, check_task
from dptkit.evaluation.protocol import NetworkInput, Protocol, SegmentationProtocol
from dptkit.evaluation.subject import Prediction, SubjectIdentity
from dptkit.outputs import DepthMap, Provenance, SegmentationMap
from dptkit.postprocess import decode_depth, decode_segmentation, resize_map
from dptkit.predictor import Predictor
from dptkit.preprocess import network_size, preprocess

Raw = npt.NDArray[np.float32]


class OwnModel:
    """A predictor of ours under a protocol. It holds no state between calls and may be called from several threads.

    Depth comes at the network's resolution, so that the protocol's interpolation brings it to the truth's size;
    classes come at the picture's size.

    Test-time augmentation, by `protocol.tta`:

    none: the picture once; the same as `Predictor.predict`, but for the last resize of depth.
    flip: also the mirrored network input; its result is mirrored back, and the two are averaged.
        Relative inverse depth: raw outputs are averaged. Metres: the two depths are (ZoeDepth, `evaluate.py`, function
        infer; DINOv2, `dinov2/eval/depth/models/depther/encoder_decoder.py`, function aug_test). Unlike DINOv2's, views
        are not clamped before; a pixel is valid where the mean is in the model's range.
        Classes: logits are resized to the picture bicubically, softmax makes probabilities of them, these are averaged,
        and the largest wins (isl-org's single pass resizes logits too; mmsegmentation's aug_test averages alike).
    ms-flip: flip at every one of `protocol.scales`: times the network size of the single pass, each side rounded to
        the multiple that the network needs, one multiple at least. Depth is brought to the size of the single pass
        bicubically, then averaged as above; raw outputs of a relative model may differ in scale and shift between
        scales, which the mean does not mend.
    """

    def __init__(self, predictor: Predictor, protocol: Protocol) -> None:
        """Raises ConfigError for a model of another task, other classes than the protocol's, or scales without use."""
        self.predictor = predictor
        self.protocol = protocol
        spec = predictor.spec
        check_task(spec.name, spec.task, protocol)
        if isinstance(protocol, SegmentationProtocol) and isinstance(spec.decoding, SegmentationDecoding):
            check_classes(spec.name, spec.decoding.class_names, protocol)
        self._scales = _scales(protocol)
        self._preprocess = _with_input(spec.preprocess, protocol.network_input)

    @property
    def identity(self) -> SubjectIdentity:
        """Name and weights; engine, precision, device, what the network is given, and the augmentation."""
        backend = self.predictor.backend
        token_merge = self.predictor.provenance.token_merge
        return SubjectIdentity(
            self.predictor.spec.name,
            self.predictor.provenance.weights_sha256,
            {
                "engine": backend.engine,
                "precision": backend.precision,
                "device": backend.device,
                **({} if token_merge is None else {"token_merge": token_merge}),
                "network_input": {
                    "size": list(self._preprocess.size),
                    "policy": self._preprocess.policy,
                    "multiple_of": self._preprocess.multiple_of,
                    "interpolation": self._preprocess.interpolation,
                    "set_by": "model" if self.protocol.network_input is None else "protocol",
                },
                "tta": self.protocol.tta,
                "scales": list(self._scales),
            },
        )

    def predict(self, image: npt.NDArray[np.uint8], /) -> Prediction:
        """uint8 RGB [H, W, 3] -> DepthMap [h, w] or SegmentationMap [H, W].

        Raises NonFiniteOutputError if the network overflows.
        """
        picture = (image.shape[0], image.shape[1])
        size = network_size(*picture, self._preprocess)
        provenance = replace(self.predictor.provenance, network_size=size)
        decoding = self.predictor.spec.decoding
        if self.protocol.tta == "none":
            raw = self._run(preprocess(image, self._preprocess))
            if isinstance(decoding, DepthDecoding):
                return decode_depth(raw, size, decoding, provenance)
            return decode_segmentation(raw, picture, decoding, provenance)
        pairs = self._pairs(image, size)
        if isinstance(decoding, DepthDecoding):
            return _mean_depth(pairs, size, len(self._scales), decoding, provenance)
        labels = _likeliest(pairs, picture, len(decoding.class_names))
        return SegmentationMap(labels, decoding.class_names, decoding.palette, provenance)

    def _pairs(self, image: npt.NDArray[np.uint8], size: tuple[int, int]) -> Iterator[tuple[Raw, Raw]]:
        """Raw outputs [K, h, w] of each scale: the input's, and the mirrored input's, mirrored back."""
        multiple = self._preprocess.multiple_of
        for scale in self._scales:
            height, width = (max(1, round(side * scale / multiple)) * multiple for side in size)
            tensor = preprocess(image, self._preprocess, (height, width))
            # One after the other: in one batch, sums may be taken in another order for the second than for the first.
            yield self._run(tensor), self._run(tensor[:, :, ::-1])[:, :, ::-1]

    def _run(self, tensor: Raw) -> Raw:
        return self.predictor.backend.predict(np.ascontiguousarray(tensor)[None])[0]


def _scales(protocol: Protocol) -> tuple[float, ...]:
    scales = protocol.scales
    if protocol.tta != "ms-flip":
        if scales != (1.0,):
            raise ConfigError(f"protocol {protocol.name}: scales are for tta 'ms-flip', not {protocol.tta!r}")
    elif not scales or not all(0 < scale < float("inf") for scale in scales):
        raise ConfigError(f"protocol {protocol.name}: scales must be positive numbers, not {list(scales)}")
    return scales


def _with_input(config: PreprocessConfig, given: NetworkInput | None) -> PreprocessConfig:
    """The protocol's size and policy, and what belongs to the weights: multiple, interpolation, mean and deviation."""
    if given is None:
        return config
    if min(given.size) < 1:
        raise ConfigError(f"network input {given.size} is empty")
    # The limit bounds the model's own size; a protocol for wide pictures sets a size that it would undo.
    return replace(config, size=given.size, policy=given.policy, long_side_limit=None)


def _mean_depth(
    pairs: Iterator[tuple[Raw, Raw]], size: tuple[int, int], count: int, decoding: DepthDecoding, provenance: Provenance
) -> DepthMap:
    total = np.zeros(size, np.float64)
    for pair in pairs:
        # Decoded, then resized: metres are what is averaged, and raw outputs of relative models pass unchanged.
        one, mirrored = (decode_depth(raw, size, decoding, provenance).values.astype(np.float64) for raw in pair)
        total += one + mirrored  # in pairs: a mirrored picture gives the same sums in the same order
    values = (total / (2 * count)).astype(np.float32)
    valid = np.ones(size, np.bool_)
    if decoding.quantity == "depth_m":
        valid = (values > 0) & (values <= (np.inf if decoding.cap_m is None else decoding.cap_m))
    return DepthMap(values, decoding.quantity, valid, provenance)


def _likeliest(pairs: Iterator[tuple[Raw, Raw]], size: tuple[int, int], classes: int) -> npt.NDArray[np.uint8]:
    """Labels of the largest sum of probabilities. Class by class: one float32 [K, H, W] is all that is held."""
    total = np.zeros((classes, *size), np.float32)
    for pair in pairs:
        normalisers = [_log_sum(raw, size) for raw in pair]
        for index, sums in enumerate(total):
            one, mirrored = (
                np.exp(resize_map(raw[index], size) - log) for raw, log in zip(pair, normalisers, strict=True)
            )
            sums += one + mirrored
    return total.argmax(axis=0).astype(np.uint8)


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
