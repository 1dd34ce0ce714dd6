"""One picture of a run: what it is predicted by, and how a picture becomes a line of the journal."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from dptkit.data.sample import Dataset, KnowsItsFiles, OrdinalDataset, OrdinalSample, Sample
from dptkit.errors import DataError
from dptkit.evaluation.alignment import Fit
from dptkit.evaluation.journal import Entry
from dptkit.evaluation.kept_prediction import write_prediction
from dptkit.evaluation.masks import crop_window
from dptkit.evaluation.protocol import DepthProtocol, Protocol
from dptkit.evaluation.reading_ahead import Read
from dptkit.evaluation.result import ImageResult
from dptkit.evaluation.scoring import score_picture
from dptkit.evaluation.subject import ImagePredictor, KnowsItsPlaces, Prediction, Subject
from dptkit.image_io.names import printable

STAGES = ("reading", "predicting", "scoring")
"""Of `EvaluationResult.seconds`. They overlap: reading goes on beside the other two."""


@dataclass(frozen=True)
class Setting:
    """What a run works with, whichever way it goes through the pictures."""

    subject: Subject
    dataset: Dataset | OrdinalDataset
    protocol: Protocol
    keep_predictions: Path | None

    def predict(self, sample: Sample | OrdinalSample) -> Prediction:
        """Of the cropped picture where the protocol crops: the truth stays whole, and scoring cuts it.

        Raises DataError for a picture smaller than the crop or without a stored prediction.
        """
        if not isinstance(self.subject, ImagePredictor):
            return self.subject.read(sample.name)
        image = sample.image
        if isinstance(self.protocol, DepthProtocol) and self.protocol.crop != "none":
            try:
                top, left, height, width = crop_window(self.protocol.crop, (image.shape[0], image.shape[1]))
            except ValueError as error:
                raise DataError(f"{sample.name}: {error}") from error
            image = image[top : top + height, left : left + width].copy()
        return self.subject.predict(image)

    def score(self, prediction: Prediction, sample: Sample | OrdinalSample, fit: Fit | None = None) -> ImageResult:
        """See `score_picture`."""
        return score_picture(prediction, sample, self.protocol, fit)

    def keep(self, sample: Sample | OrdinalSample, prediction: Prediction) -> None:
        """Write a prediction to the folder for them, if there is one."""
        if self.keep_predictions is not None:
            write_prediction(self.keep_predictions, sample.name, prediction)

    def scoring_problem(self, error: DataError, sample: Sample | OrdinalSample) -> str:
        """What is wrong with a picture that could not be scored; of a stored prediction also in which file it is."""
        if not isinstance(self.subject, KnowsItsPlaces):
            return str(error)
        return f"{error} (predicted in {printable(self.subject.place(sample.name))})"

    def skipped(self, index: int, sample: Sample | OrdinalSample | None, problem: str) -> ImageResult:
        """The record of a picture that cannot be scored."""
        if sample is not None:
            return ImageResult(sample.name, sample.source, sample.group, "skipped", {}, problem=problem)
        name, source, group = f"sample {index}", self.dataset.name, ""
        pairs = getattr(self.dataset, "pairs", None)
        if pairs is not None:
            name, source, group = pairs[index].name, pairs[index].source or source, pairs[index].group
        elif isinstance(self.dataset, KnowsItsFiles):
            known = next(islice(self.dataset.sample_files(), index, None))
            name, source = known.name, known.source
        return ImageResult(name, source, group, "skipped", {}, problem=problem)


def scored(
    setting: Setting,
    read: Read,
    predict: Callable[[Sample | OrdinalSample], Prediction],
    score: Callable[[Prediction, Sample | OrdinalSample], ImageResult],
) -> Entry:
    """Predict and score what was read. DataError makes it skipped; it is raised nowhere."""
    seconds = dict.fromkeys(STAGES, 0.0) | {"reading": read.seconds}
    if read.sample is None:
        return Entry(read.index, setting.skipped(read.index, None, read.problem), seconds)
    stage, started = "predicting", time.perf_counter()
    try:
        prediction = predict(read.sample)
        # What is in the journal has its prediction in the folder.
        setting.keep(read.sample, prediction)
        seconds[stage] = time.perf_counter() - started
        stage, started = "scoring", time.perf_counter()
        image = score(prediction, read.sample)
    except DataError as error:
        problem = str(error) if stage == "predicting" else setting.scoring_problem(error, read.sample)
        image = setting.skipped(read.index, read.sample, problem)
    seconds[stage] = time.perf_counter() - started
    return Entry(read.index, image, seconds)
