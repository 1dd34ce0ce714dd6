"""`dpt eval --report`: the pictures of the report are predicted again, unless predictions were kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from dptkit.data.sample import Dataset, OrdinalDataset, OrdinalSample, Sample
from dptkit.evaluation.one_picture import Setting
from dptkit.evaluation.prediction_folder import PredictionFolder
from dptkit.evaluation.report import write_report
from dptkit.evaluation.report_pictures import pictures_from
from dptkit.evaluation.result import EvaluationResult
from dptkit.evaluation.subject import Prediction, Subject


def write_run_report(
    page: Path,
    results: Sequence[EvaluationResult],
    dataset: Dataset | OrdinalDataset,
    subject_of: Callable[[int], Subject],
) -> None:
    """Write `page`. subject_of: opens the subject of results[k] again.

    Raises OutputWriteError.
    """
    opened: dict[int, Subject] = {}

    def predict(result: EvaluationResult, sample: Sample | OrdinalSample) -> Prediction:
        number = next(k for k, other in enumerate(results) if other is result)
        if number not in opened:
            opened.clear()  # one model in memory at a time
            kept = result.predictions
            opened[number] = subject_of(number) if kept is None else PredictionFolder(kept, quantity=None)
        return Setting(opened[number], dataset, result.protocol, None).predict(sample)

    write_report(page, results, pictures_from(dataset, predict))
