"""What metrics are called, which way is better, and how they are printed. Shares are in [0, 1] everywhere else."""

from __future__ import annotations

from dataclasses import dataclass

from dptkit.evaluation.depth_metrics import DEPTH_METRICS

CLASS_PREFIX = "iou/"
"""Of a metric that is one class's IoU; the class's name follows."""


@dataclass(frozen=True)
class MetricWords:
    """label: as a table's column is headed. percent: a share, printed times 100 as in papers. unit: "m" or ""."""

    label: str
    higher_is_better: bool
    percent: bool = False
    unit: str = ""

    @property
    def heading(self) -> str:
        """As a column is headed: AbsRel, "δ>1.25 %"."""
        return f"{self.label} %" if self.percent else self.label

    def number(self, value: float | None, *, signed: bool = False) -> str:
        """Without the unit: 2 digits after the point in percent, 4 otherwise; "-" for None."""
        if value is None:
            return "-"
        if self.percent:
            return f"{100 * value:{'+' if signed else ''}.2f}"
        return f"{value:{'+' if signed else ''}.{4 if abs(value) < 10 else 3}f}"


_OTHERS = {
    "mean_iou": MetricWords("mIoU", higher_is_better=True, percent=True),
    "pixel_accuracy": MetricWords("pixAcc", higher_is_better=True, percent=True),
    "mean_accuracy": MetricWords("mAcc", higher_is_better=True, percent=True),
    "boundary_iou": MetricWords("boundary IoU", higher_is_better=True, percent=True),
    "whdr": MetricWords("WHDR", higher_is_better=False, percent=True),
    "pairwise_accuracy": MetricWords("pair accuracy", higher_is_better=True, percent=True),
    "temporal_alignment_error": MetricWords("TAE", higher_is_better=False, percent=True),
    "boundary_f1": MetricWords("boundary F1", higher_is_better=True),
    "boundary_f1_tolerant": MetricWords("boundary F1 ±", higher_is_better=True),
}


def metric_words(name: str) -> MetricWords:
    """Of a metric in a result, one class's IoU too. A metric that is not known is a plain number, lower is better."""
    if name in DEPTH_METRICS:
        metric = DEPTH_METRICS[name]
        return MetricWords(metric.label, metric.higher_is_better, metric.percent, metric.unit)
    if name.startswith(CLASS_PREFIX):
        return MetricWords(f"IoU of {name.removeprefix(CLASS_PREFIX)}", higher_is_better=True, percent=True)
    return _OTHERS.get(name) or MetricWords(name, higher_is_better=False)
