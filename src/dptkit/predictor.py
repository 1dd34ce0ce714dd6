"""Stages 1 to 7 composed: picture in, result out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dptkit.config import DepthDecoding, ModelSpec, TestTimeAugmentation
from dptkit.engines import open_model
from dptkit.errors import ConfigError
from dptkit.image_io import count_pixels, read_image
from dptkit.outputs import DepthMap, Provenance, SegmentationMap
from dptkit.overlap import Overlap
from dptkit.postprocess import decode_depth, decode_segmentation
from dptkit.preprocess import network_size, preprocess
from dptkit.runtime.backend import Backend, EngineChoice, PrecisionChoice
from dptkit.runtime.choice import check_token_merge
from dptkit.runtime.memory import predict_within_memory
from dptkit.tta import ONCE, Views, likeliest_classes, mean_depth
from dptkit.version import __version__
from dptkit.weights.cache import Progress

WHITE = (255, 255, 255)


class Predictor:
    """A model ready to use. It holds no state between calls and may be called from several threads.

    Sources are whatever `dptkit.image_io.read_image` takes: a path, bytes, a PIL image, a numpy array [H, W],
    [H, W, 3] or [H, W, 4], or a tensor [3, H, W]; uint8, uint16, or float in [0, 1].
    """

    def __init__(
        self,
        spec: ModelSpec,
        backend: Backend,
        weights_sha256: str | None = None,
        *,
        background: tuple[int, int, int] = WHITE,
        token_merge: float = 0.0,
        streams: int = 1,
        views: Views = ONCE,
    ) -> None:
        """`background`: the RGB colour that transparent pictures are composited on. `streams`: as in `load`.
        `token_merge`: the ratio at which the backend merges tokens, for the record. `views`: test-time augmentation.

        `provenance` is what every result says about its origin, but for the network's input size.
        """
        self.spec = spec
        self.backend = backend
        self.background = background
        self.streams = streams
        self.views = views
        self.provenance = Provenance(
            spec.name,
            __version__,
            weights_sha256,
            engine=backend.engine,
            precision=backend.precision,
            token_merge=token_merge or None,
            tta=None if views.tta == "none" else views.tta,
            scales=views.scales if views.tta == "ms-flip" else None,
        )

    def predict(self, source: Any, *, scores: bool = False) -> DepthMap | SegmentationMap:
        """One picture -> DepthMap or SegmentationMap at the picture's size.

        scores: for segmentation, also the probability of the chosen class.
        Raises ImageReadError if the picture cannot be read, NonFiniteOutputError if the network overflows.
        """
        return self.predict_batch([source], scores=scores)[0]

    def predict_batch(self, sources: Sequence[Any], *, scores: bool = False) -> list[DepthMap | SegmentationMap]:
        """Several pictures of any sizes, in order. Pictures of one network size run through it together.

        Where memory does not suffice for that, they go through in smaller batches; MemoryError if one alone is too big.
        """
        images = [read_image(source, background=self.background) for source in sources]
        if self.views.tta != "none":
            return [self._predict_views(image, scores) for image in images]
        inputs = [preprocess(image, self.spec.preprocess) for image in images]
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, tensor in enumerate(inputs):
            groups.setdefault(tensor.shape, []).append(index)
        results: dict[int, DepthMap | SegmentationMap] = {}
        for indices in groups.values():
            raw = predict_within_memory(self.backend, np.stack([inputs[index] for index in indices]))
            for index, output in zip(indices, raw, strict=True):
                results[index] = self._decode(output, images[index].shape[:2], scores)
        return [results[index] for index in range(len(images))]

    def predict_stream(
        self, sources: Iterable[Any], *, batch_size: int = 1, scores: bool = False, workers: int = 1
    ) -> Iterator[DepthMap | SegmentationMap]:
        """Any number of pictures, in order, in constant memory: no more than `batch_size` are held at a time.

        workers: threads that each read, preprocess, predict and resize a batch, so that these overlap; the results are
        the same. One more than the `streams` that the model was loaded with keeps them all busy. Up to `workers` + 2
        batches are then held, fewer where pictures are large. `sources` is read by the thread that takes the results.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        remaining = iter(sources)
        batches = iter(lambda: list(islice(remaining, batch_size)), [])
        overlap = Overlap(
            lambda batch: self.predict_batch(batch, scores=scores),
            batches,
            workers,
            cost=lambda batch: sum(map(count_pixels, batch)),
        )
        try:
            for results in overlap:
                results.reverse()
                while results:  # let go of each result before the next batch is read
                    yield results.pop()
        finally:
            overlap.close()

    def _predict_views(self, image: npt.NDArray[np.uint8], scores: bool) -> DepthMap | SegmentationMap:
        """One picture, all its views, one after the other."""
        size = (image.shape[0], image.shape[1])
        provenance = replace(self.provenance, network_size=network_size(*size, self.spec.preprocess))
        pairs = self.views.raw(image, self.spec.preprocess, partial(predict_within_memory, self.backend))
        decoding = self.spec.decoding
        if isinstance(decoding, DepthDecoding):
            return mean_depth(pairs, size, decoding, provenance)
        return likeliest_classes(pairs, size, decoding, provenance, scores)

    def _decode(self, raw: npt.NDArray[np.float32], size: tuple[int, ...], scores: bool) -> DepthMap | SegmentationMap:
        provenance = replace(self.provenance, network_size=(raw.shape[1], raw.shape[2]))
        picture_size = (size[0], size[1])
        decoding = self.spec.decoding
        if isinstance(decoding, DepthDecoding):
            return decode_depth(raw, picture_size, decoding, provenance)
        return decode_segmentation(raw, picture_size, decoding, provenance, scores)

    def __repr__(self) -> str:
        return f"Predictor({self.spec.name}, {self.backend.engine}, {self.backend.device}, {self.backend.precision})"


def load(
    model: str | Path = "dpt-lite",
    *,
    weights: str | Path | None = None,
    engine: EngineChoice = "auto",
    device: str = "auto",
    precision: PrecisionChoice = "auto",
    size: int | None = None,
    token_merge: float = 0.0,
    background: tuple[int, int, int] = WHITE,
    progress: Progress | None = None,
    streams: int = 1,
    tta: TestTimeAugmentation = "none",
    scales: Sequence[float] = (1.0,),
) -> Predictor:
    """Load a model for prediction.

    model: a name from `dptkit.PRESETS` (its published weights are downloaded once), or a safetensors file of ours.
    weights: your own file, in our, the original's or transformers' layout, for the architecture named by `model`.
    engine: "torch", "openvino", "onnx" (needs the extra of that name), or "auto": OpenVINO on a CPU, torch on a GPU.
    device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", "mps".
    precision: "float32", "bfloat16", "float16", or "auto": bfloat16 on the engine OpenVINO where the CPU computes in
    it, float32 elsewhere. Ask for float32 to compare numbers between machines.
    size: network input height instead of the model's own, a multiple of 32; larger shows more detail.
    token_merge: share of the transformer's patch tokens merged into others, 0 (none) to below 0.9: faster, less exact;
    see docs/token-merging.md.
    background: the RGB colour that transparent pictures are composited on.
    progress: called with (bytes so far, bytes in all or None) while weights are downloaded.
    streams: predictions that run side by side when several threads ask for them, each by its share of the cores: more
    pictures per second from a folder, a longer wait for each. The engine OpenVINO alone has more than one.
    tta, scales: test-time augmentation, the mean of several views of each picture, at so many times the time: "flip" of
    2 views, the picture and its mirror image, "ms-flip" of 2 at each of `scales` (factors of the network's input size).
    Raises UnknownModelError, WeightsError, DownloadError or ConfigError, each with one line that says what to do.
    """
    views = Views(tta, tuple(map(float, scales)))
    spec, backend, sha256 = open_model(
        model,
        weights,
        engine=engine,
        device=device,
        precision=precision,
        token_merge=token_merge,
        progress=progress,
        streams=streams,
        size=size,
    )
    if views.tta == "ms-flip" and spec.preprocess.policy == "exact":
        height, width = spec.preprocess.size
        raise ConfigError(f"{model} takes {height}x{width} alone: tta 'flip' can be had, not other scales")
    side_by_side = streams if backend.engine == "openvino" else 1
    merged = check_token_merge(token_merge)
    return Predictor(
        spec, backend, sha256, background=background, token_merge=merged, streams=side_by_side, views=views
    )
