"""The accuracy gate: the same evaluation before and after, and how much may be lost between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dptkit.config import ModelSpec
from dptkit.data.sample import Dataset, OrdinalDataset
from dptkit.errors import ConfigError, DptkitError
from dptkit.evaluation.evaluate import OnPicture, evaluate
from dptkit.evaluation.own_model import OwnModel
from dptkit.evaluation.protocol import Protocol, SegmentationProtocol
from dptkit.image_io.names import printable
from dptkit.predictor import Predictor
from dptkit.runtime.backend import Backend

DEFAULT_ALLOWED = 0.7
"""Points of delta1 or mean_iou, in percent."""


class AccuracyLostError(DptkitError):
    """A quantised model that is worse than allowed."""


@dataclass(frozen=True)
class Gate:
    """What is scored and how. allow: points (of 100) that the metric may fall by. facts: of the data set."""

    dataset: Dataset | OrdinalDataset
    protocol: Protocol
    facts: dict[str, Any]
    allow: float = DEFAULT_ALLOWED
    limit: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.allow <= 100:
            raise ConfigError(f"the points that may be lost must be between 0 and 100, not {self.allow:g}")
        _ = self.metric

    @property
    def metric(self) -> str:
        """ "delta1" for depth, "mean_iou" for segmentation. Raises ConfigError if the protocol has neither."""
        wanted = "mean_iou" if isinstance(self.protocol, SegmentationProtocol) else "delta1"
        if wanted not in self.protocol.metrics:
            raise ConfigError(f"protocol {self.protocol.name} does not give {wanted}: the gate needs one that does")
        return wanted

    def score(self, spec: ModelSpec, backend: Backend, on_picture: OnPicture | None = None) -> float:
        """The metric in [0, 1], as `dpt eval` gives it. Raises AccuracyLostError if no picture could be scored, or one
        was skipped: two scores over different pictures say nothing of each other."""
        result = evaluate(
            OwnModel(Predictor(spec, backend), self.protocol),
            self.dataset,
            self.protocol,
            dataset_facts=self.facts,
            limit=self.limit,
            on_picture=on_picture,
        )
        skipped = [image for image in result.images if image.state == "skipped"]
        if skipped:
            raise AccuracyLostError(
                f"the gate could not score {printable(skipped[0].name)} ({printable(skipped[0].problem)}): "
                "nothing was written"
            )
        value = result.summary[self.metric].value
        if value is None:
            raise AccuracyLostError(f"no picture has a value of {self.metric}: nothing was written")
        return value


@dataclass(frozen=True)
class GateResult:
    """before, after: the metric in [0, 1]; before_precision: what the unquantised model was computed in."""

    gate: Gate
    before: float
    after: float
    before_precision: str

    @property
    def lost(self) -> float:
        """Points of 100; negative for a gain."""
        return 100 * (self.before - self.after)

    def require(self, name: str) -> None:
        """Raises AccuracyLostError with both numbers if more was lost than allowed."""
        if not self.lost <= self.gate.allow:
            raise AccuracyLostError(
                f"{name} in int8 loses {self.lost:.2f} points of {self.gate.metric} ({self.before:.4f} before, "
                f"{self.after:.4f} after), more than the {self.gate.allow:g} allowed: nothing was written"
            )

    def to_card(self) -> dict[str, object]:
        """What a quantised file says of it, JSON-ready."""
        return {
            "protocol": self.gate.protocol.name,
            "data": self.gate.facts,
            "metric": self.gate.metric,
            "before": self.before,
            "before_precision": self.before_precision,
            "after": self.after,
            "lost_points": round(self.lost, 4),
            "allowed_points": self.gate.allow,
            **({} if self.gate.limit is None else {"limit": self.gate.limit}),
        }
