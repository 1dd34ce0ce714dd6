"""Stage 7, what comes out: frozen, validated results that say what their numbers mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Quantity = Literal["inverse_depth", "depth_m"]
Unit = Literal["relative", "m"]

UNITS: dict[Quantity, Unit] = {"inverse_depth": "relative", "depth_m": "m"}
"""The unit each quantity is in. "relative": larger is nearer, known up to scale and shift."""

IGNORE_LABEL = 255
"""The label of pixels that belong to no class."""


@dataclass(frozen=True)
class Provenance:
    """Where a result comes from: enough to repeat it.

    `network_size` is (height, width) of the tensor that the network saw.
    `token_merge` is the ratio of token merging; None if tokens were not merged.
    `tta` is "flip" or "ms-flip" (then at `scales` times `network_size`); None if the picture was seen once.
    """

    model: str
    version: str
    weights_sha256: str | None = None
    engine: str = "torch"
    precision: str = "float32"
    network_size: tuple[int, int] | None = None
    token_merge: float | None = None
    tta: str | None = None
    scales: tuple[float, ...] | None = None


@dataclass(frozen=True, eq=False)
class DepthMap:
    """Depth, or relative inverse depth, of one picture.

    values: float32 [H, W], finite wherever `valid`.
    quantity: "inverse_depth" (relative, larger is nearer, known up to scale and shift) or "depth_m" (metres).
    valid: bool [H, W]; False where the value means nothing (outside a metric model's range).

    Raises ValueError on any other shape or type, or on non-finite valid values.
    """

    values: npt.NDArray[np.float32]
    quantity: Quantity
    valid: npt.NDArray[np.bool_]
    provenance: Provenance

    def __post_init__(self) -> None:
        if self.quantity not in UNITS:
            raise ValueError(f"quantity must be one of {', '.join(UNITS)}, not {self.quantity!r}")
        if self.values.ndim != 2 or self.values.dtype != np.float32:
            raise ValueError(f"values must be float32 [H, W], not {self.values.dtype} {self.values.shape}")
        if self.valid.shape != self.values.shape or self.valid.dtype != np.bool_:
            raise ValueError(f"valid must be bool {self.values.shape}, not {self.valid.dtype} {self.valid.shape}")
        finite = np.isfinite(self.values)
        if not (finite.all() or (finite | ~self.valid).all()):
            raise ValueError("valid values must be finite")

    @property
    def unit(self) -> Unit:
        """ "m" for metres, "relative" where scale and shift are unknown."""
        return UNITS[self.quantity]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        height, width = self.values.shape
        return height, width

    def __repr__(self) -> str:
        height, width = self.size
        return f"DepthMap({height}x{width}, {self.quantity}, unit={self.unit}, model={self.provenance.model})"


@dataclass(frozen=True, eq=False)
class SegmentationMap:
    """Semantic classes of one picture.

    labels: uint8 [H, W], 0-based class ids, 255 = ignore.
    scores: float32 [H, W] in [0, 1], softmax probability of the chosen class; None where not asked for.
    class_names, palette: one name and one (red, green, blue) per class id.

    Raises ValueError on any other shape or type, or on a label without a name.
    """

    labels: npt.NDArray[np.uint8]
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...] = field(repr=False)
    provenance: Provenance
    scores: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.labels.ndim != 2 or self.labels.dtype != np.uint8:
            raise ValueError(f"labels must be uint8 [H, W], not {self.labels.dtype} {self.labels.shape}")
        if len(self.palette) != len(self.class_names) or len(self.class_names) > IGNORE_LABEL:
            raise ValueError(f"{len(self.class_names)} class names and {len(self.palette)} colours do not fit")
        named = self.labels[self.labels != IGNORE_LABEL]
        if named.size and int(named.max()) >= len(self.class_names):
            raise ValueError(f"label {int(named.max())} has no name: there are {len(self.class_names)} classes")
        if self.scores is not None and (self.scores.shape != self.labels.shape or self.scores.dtype != np.float32):
            raise ValueError(f"scores must be float32 {self.labels.shape}, not {self.scores.dtype}")

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        height, width = self.labels.shape
        return height, width

    def pixel_shares(self) -> dict[str, float]:
        """Share of all pixels per class present, largest first; values in (0, 1]."""
        counts = np.bincount(self.labels.ravel(), minlength=256)
        present = sorted(np.flatnonzero(counts[: len(self.class_names)]), key=lambda k: -int(counts[k]))
        return {self.class_names[k]: float(counts[k]) / self.labels.size for k in present}

    def __repr__(self) -> str:
        height, width = self.size
        return f"SegmentationMap({height}x{width}, {len(self.class_names)} classes, model={self.provenance.model})"


def provenance_dict(provenance: Provenance) -> dict[str, Any]:
    """The record as plain JSON-ready values, without what is unknown."""
    from dataclasses import asdict

    return {key: value for key, value in asdict(provenance).items() if value is not None}
