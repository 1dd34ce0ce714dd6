"""What can be scored: anything that makes a map of a picture, or maps that something has made before."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from dptkit.outputs import DepthMap, SegmentationMap

Prediction = DepthMap | SegmentationMap


@dataclass(frozen=True)
class SubjectIdentity:
    """What goes into a result about what was scored. weights_sha256: of the weight file, where there is one.

    details: JSON-ready values that tell one subject from another: device, engine, precision, network input.
    """

    name: str
    weights_sha256: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class ImagePredictor(Protocol):
    """Anything that predicts from a picture: implement these two, and `evaluate` scores it.

    predict: uint8 RGB [H, W, 3] -> a map of the picture's size or of another of the same shape (the protocol's
    interpolation brings it to the truth's size). Quantity and unit must be those of the values.
    """

    @property
    def identity(self) -> SubjectIdentity: ...
    def predict(self, image: npt.NDArray[np.uint8], /) -> Prediction: ...


@runtime_checkable
class StoredPredictions(Protocol):
    """Maps by the sample's name. read raises DataError naming the file that is missing or broken."""

    @property
    def identity(self) -> SubjectIdentity: ...
    def read(self, name: str, /) -> Prediction: ...


@runtime_checkable
class KnowsItsPlaces(Protocol):
    """Stored predictions that can say which file a sample's is. place raises DataError where there is none."""

    def place(self, name: str, /) -> Path: ...


Subject = ImagePredictor | StoredPredictions
