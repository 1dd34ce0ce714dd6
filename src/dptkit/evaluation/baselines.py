"""Predictors that never look at the picture: what a number is worth without seeing anything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dptkit.errors import ConfigError
from dptkit.evaluation.subject import SubjectIdentity
from dptkit.label_sets import voc_palette
from dptkit.outputs import IGNORE_LABEL, UNITS, DepthMap, Provenance, Quantity, SegmentationMap
from dptkit.version import __version__


class VerticalRamp:
    """Inverse depth that grows linearly downwards, from 1 / H in the first row to 1 in the last: a floor."""

    identity = SubjectIdentity("ramp")

    def predict(self, image: npt.NDArray[np.uint8], /) -> DepthMap:
        height, width = image.shape[:2]
        column = np.arange(1, height + 1, dtype=np.float32) / np.float32(height)
        return _depth(np.repeat(column[:, None], width, axis=1), "inverse_depth", "ramp")


class Constant:
    """One depth everywhere: a wall."""

    def __init__(self, value: float = 1.0, quantity: Quantity = "inverse_depth") -> None:
        """Raises ConfigError for a value that is not positive, or an unknown quantity."""
        if quantity not in UNITS:
            raise ConfigError(f"quantity must be one of {', '.join(UNITS)}, not {quantity!r}")
        if not 0 < np.float32(value) < np.inf:
            raise ConfigError(f"a constant depth must be positive, not {value}")
        self._value = np.float32(value)
        self._quantity: Quantity = quantity

    @property
    def identity(self) -> SubjectIdentity:
        return SubjectIdentity("constant", details={"value": float(self._value), "quantity": self._quantity})

    def predict(self, image: npt.NDArray[np.uint8], /) -> DepthMap:
        return _depth(np.full(image.shape[:2], self._value), self._quantity, "constant")


class MajorityClass:
    """One class everywhere, such as the most frequent one of the training pictures."""

    def __init__(self, label: int | str, class_names: Sequence[str]) -> None:
        """label: the class's name or id. Raises ConfigError for one that is not among `class_names`."""
        names = tuple(class_names)
        index = names.index(label) if label in names else _as_id(label)
        if not 0 <= index < min(len(names), IGNORE_LABEL):
            raise ConfigError(f"no class {label!r}: use a name ({', '.join(names[:3])}, ...) or 0 to {len(names) - 1}")
        self._label = index
        self._names = names

    @property
    def identity(self) -> SubjectIdentity:
        return SubjectIdentity("constant", details={"class": self._names[self._label], "label": self._label})

    def predict(self, image: npt.NDArray[np.uint8], /) -> SegmentationMap:
        labels = np.full(image.shape[:2], self._label, np.uint8)
        return SegmentationMap(
            labels, self._names, voc_palette(len(self._names)), Provenance("constant", __version__, engine="numpy")
        )


def _depth(values: npt.NDArray[np.float32], quantity: Quantity, name: str) -> DepthMap:
    return DepthMap(values, quantity, np.ones(values.shape, np.bool_), Provenance(name, __version__, engine="numpy"))


def _as_id(label: int | str) -> int:
    try:
        return int(label)
    except ValueError:
        return -1
