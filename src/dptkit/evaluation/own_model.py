"""Our models as subjects: the protocol's network input, test-time augmentation, results before they are resized.

K channels · h w network resolution · H W picture
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from dptkit.config import DepthDecoding, PreprocessConfig, SegmentationDecoding
from dptkit.errors import ConfigError
from dptkit.evaluation.eligibility import check_classes, check_task
from dptkit.evaluation.protocol import NetworkInput, Protocol, SegmentationProtocol
from dptkit.evaluation.subject import Prediction, SubjectIdentity
from dptkit.postprocess import decode_depth, decode_segmentation
from dptkit.predictor import Predictor
from dptkit.preprocess import network_size, preprocess
from dptkit.tta import Views, likeliest_classes, mean_depth


class OwnModel:
    """A predictor of ours under a protocol. It holds no state between calls and may be called from several threads.

    Depth comes at the network's resolution, so that the protocol's interpolation brings it to the truth's size;
    classes come at the picture's size.

    Test-time augmentation is `protocol.tta` at `protocol.scales`, as `dptkit.tta.Views` says.
    """

    def __init__(self, predictor: Predictor, protocol: Protocol) -> None:
        """Raises ConfigError for a model of another task, other classes than the protocol's, scales without use,
        or a predictor with an augmentation of its own.
        """
        self.predictor = predictor
        self.protocol = protocol
        spec = predictor.spec
        check_task(spec.name, spec.task, protocol)
        if isinstance(protocol, SegmentationProtocol) and isinstance(spec.decoding, SegmentationDecoding):
            check_classes(spec.name, spec.decoding.class_names, protocol)
        if predictor.views.tta != "none":
            raise ConfigError(
                f"{spec.name} was loaded with tta {predictor.views.tta!r}: load it without, and set the protocol's tta"
            )
        self._views = _views(protocol)
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
                "tta": self._views.tta,
                "scales": list(self._views.scales),
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
        if self._views.tta == "none":
            raw = self.predictor.backend.predict(preprocess(image, self._preprocess)[None])[0]
            if isinstance(decoding, DepthDecoding):
                return decode_depth(raw, size, decoding, provenance)
            return decode_segmentation(raw, picture, decoding, provenance)
        pairs = self._views.raw(image, self._preprocess, self.predictor.backend.predict)
        if isinstance(decoding, DepthDecoding):
            return mean_depth(pairs, size, decoding, provenance)
        return likeliest_classes(pairs, picture, decoding, provenance)


def _views(protocol: Protocol) -> Views:
    try:
        return Views(protocol.tta, protocol.scales)
    except ConfigError as error:
        raise ConfigError(f"protocol {protocol.name}: {error}") from None


def _with_input(config: PreprocessConfig, given: NetworkInput | None) -> PreprocessConfig:
    """The protocol's size and policy, and what belongs to the weights: multiple, interpolation, mean and deviation."""
    if given is None:
        return config
    if min(given.size) < 1:
        raise ConfigError(f"network input {given.size} is empty")
    # The limit bounds the model's own size; a protocol for wide pictures sets a size that it would undo.
    return replace(config, size=given.size, policy=given.policy, long_side_limit=None)
