"""Results of made-up models on made-up scenes, scored and, where asked for, with predictions kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from dptkit.data.folder import open_manifest
from dptkit.data.sample import Dataset
from dptkit.evaluation.evaluate import evaluate
from dptkit.evaluation.protocol import DepthProtocol, Protocol
from dptkit.evaluation.result import EvaluationResult, ImageResult
from dptkit.evaluation.subject import SubjectIdentity
from dptkit.evaluation.summary import summarise
from dptkit.outputs import DepthMap, Provenance

METRES = DepthProtocol(
    "metres", "made up", (), "", "none", ("abs_rel", "delta1", "rmse"), truth_range_m=(0.0, 80.0),
    prediction_range_m=(1e-3, 80.0), rounding="uint16_per_mm",
)  # fmt: skip
SHAPE = replace(
    METRES, name="shape", alignment="inverse_least_squares", metrics=("delta1", "abs_rel"), rounding="none",
    prediction_range_m=(None, 20.0), aggregation="pooled", mask="garg",
)  # fmt: skip


@dataclass
class Guess:
    """Metres from the picture's grey values, times `factor`."""

    name: str = "guess"
    factor: float = 1.0
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> SubjectIdentity:
        return SubjectIdentity(self.name, None, self.details)

    def predict(self, image: npt.NDArray[np.uint8], /) -> DepthMap:
        values = self.factor * (1 + image.astype(np.float32).mean(axis=2) / 30)
        return DepthMap(values.astype(np.float32), "depth_m", np.ones(values.shape, bool), Provenance(self.name, "0"))


def write_scenes(root: Path, count: int = 6, size: tuple[int, int] = (24, 32)) -> Path:
    """A folder with manifest.csv: pictures, and 16-bit depth in millimetres that is much like their grey values.

    Two sources, s0 and s1, in turn; three pictures a group.
    """
    rows = ["source,split,name,kind,scale,split_group"]
    for number in range(count):
        rng = np.random.default_rng(number)
        source = f"s{number % 2}"
        (root / source).mkdir(parents=True, exist_ok=True)
        grey = rng.integers(20, 220, (size[0] // 4, size[1] // 4)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
        Image.fromarray(np.repeat(grey[..., None], 3, axis=2)).save(root / source / f"{number}.jpg", quality=95)
        depth = 1 + grey / 30 * rng.uniform(0.8, 1.3, size)
        Image.fromarray((1000 * depth).astype(np.uint16)).save(root / source / f"{number}.png")
        rows.append(f"{source},val,{number},depth,0.001,{source}-{number // 6}")
    (root / "manifest.csv").write_text("\n".join(rows) + "\n")
    return root


def run(data: Dataset, guess: Guess, protocol: Protocol, keep: Path | None = None) -> EvaluationResult:
    facts = {"name": "manifest", "folder": "scenes", "split": "val", "fingerprint": "f"}
    return evaluate(guess, data, protocol, dataset_facts=facts, keep_predictions=keep, command="dpt eval --json a.json")


def open_scenes(root: Path) -> Dataset:
    return open_manifest(root, "val")


def result_of(
    values: dict[str, Sequence[float | None]],
    name: str = "made up",
    *,
    names: Sequence[str] = (),
    sources: Sequence[str] = (),
    fingerprint: str = "f",
    **protocol: Any,
) -> EvaluationResult:
    """A result with these scores, by metric and picture, and nothing behind it."""
    rules = replace(METRES, rounding="none", metrics=tuple(values), **protocol)
    count = len(next(iter(values.values())))
    images = tuple(
        ImageResult(
            names[k] if names else f"{k:04}",
            sources[k] if sources else "s",
            "",
            "scored",
            {metric: scores[k] for metric, scores in values.items()},
            pixels=10,
        )
        for k in range(count)
    )
    summary, by_source = summarise(images, rules)
    dataset = {"name": "scenes", "split": "test", "pictures": count, "fingerprint": fingerprint}
    return EvaluationResult(
        rules, SubjectIdentity(name), dataset, summary, by_source, images, {"dptkit": "0"}, "a machine"
    )
