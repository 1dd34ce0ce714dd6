"""One batch from files to files, stage by stage, as `dpt depth` and `dpt segment` do it without overlapping them."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dptkit.benchmarking.pictures import Batch
from dptkit.config import DepthDecoding
from dptkit.errors import ConfigError
from dptkit.image_io import read_image, write_depth, write_labels
from dptkit.outputs import DepthMap, SegmentationMap
from dptkit.postprocess import decode_depth, decode_segmentation
from dptkit.predictor import Predictor
from dptkit.preprocess import preprocess
from dptkit.runtime.backend import is_about_memory

STAGES = ("decode", "preprocess", "predict", "postprocess", "encode")
"""File to RGB; to network input; raw output; to the picture's size and unit; to a 16-bit PNG or a PNG of labels."""


@dataclass(frozen=True)
class Timing:
    """Seconds of one batch by stage; cores: processor time over time of `predict`, how many it kept busy."""

    seconds: dict[str, float]
    cores: float

    @property
    def whole(self) -> float:
        return sum(self.seconds.values())


@dataclass(frozen=True)
class StagedPrediction:
    """A predictor whose stages are timed. Results are written into `folder`, over those of the batch before."""

    predictor: Predictor
    folder: Path

    def time(self, batch: Batch) -> Timing:
        """Raises ImageReadError, NonFiniteOutputError; ConfigError if the batch does not fit into memory."""
        predictor, marks = self.predictor, [time.perf_counter()]
        images = [read_image(path, background=predictor.background) for path in batch.paths]
        marks.append(time.perf_counter())
        inputs = np.stack([preprocess(image, predictor.spec.preprocess) for image in images])
        marks.append(time.perf_counter())
        busy = time.process_time()
        raw = self._predict(inputs)
        busy = time.process_time() - busy
        marks.append(time.perf_counter())
        results = [self._decode(one, image.shape[:2]) for one, image in zip(raw, images, strict=True)]
        marks.append(time.perf_counter())
        for number, result in enumerate(results):
            path = self.folder / f"{number}.png"
            if isinstance(result, DepthMap):
                write_depth(path, result, "png16")
            else:
                write_labels(path, result)
        marks.append(time.perf_counter())
        seconds = dict(zip(STAGES, (b - a for a, b in pairwise(marks)), strict=True))
        return Timing(seconds, busy / seconds["predict"])

    def _predict(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        # Not halved where memory is short, as a predictor would: that is another measurement.
        try:
            return self.predictor.backend.predict(inputs)
        except (MemoryError, RuntimeError) as error:
            if not is_about_memory(error):
                raise
            advice = "use a smaller --batch" if len(inputs) > 1 else "use a smaller --size"
            raise ConfigError(f"not enough memory for a batch of {len(inputs)}: {advice}") from error

    def _decode(self, raw: npt.NDArray[np.float32], size: tuple[int, ...]) -> DepthMap | SegmentationMap:
        provenance = replace(self.predictor.provenance, network_size=(raw.shape[1], raw.shape[2]))
        decoding = self.predictor.spec.decoding
        if isinstance(decoding, DepthDecoding):
            return decode_depth(raw, (size[0], size[1]), decoding, provenance)
        return decode_segmentation(raw, (size[0], size[1]), decoding, provenance, False)
