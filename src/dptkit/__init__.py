"""Dense prediction transformers (DPT): depth and semantic segmentation from one image.

>>> from dptkit import load
>>> depth = load("dpt-lite").predict("street.jpg")  # DepthMap: values, quantity, unit, valid

Names are imported when first used, so that `import dptkit` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dptkit.version import __version__

if TYPE_CHECKING:
    from dptkit.errors import DptkitError as DptkitError
    from dptkit.image_io import read_depth as read_depth
    from dptkit.image_io import write_depth as write_depth
    from dptkit.outputs import DepthMap as DepthMap
    from dptkit.outputs import SegmentationMap as SegmentationMap
    from dptkit.predictor import Predictor as Predictor
    from dptkit.predictor import load as load
    from dptkit.presets import PRESETS as PRESETS

_HOMES = {
    "load": "predictor",
    "Predictor": "predictor",
    "DepthMap": "outputs",
    "SegmentationMap": "outputs",
    "PRESETS": "presets",
    "read_depth": "image_io",
    "write_depth": "image_io",
    "DptkitError": "errors",
}

__all__ = [
    "PRESETS",
    "DepthMap",
    "DptkitError",
    "Predictor",
    "SegmentationMap",
    "__version__",
    "load",
    "read_depth",
    "write_depth",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dptkit' has no attribute {name!r}")
    return getattr(import_module(f"dptkit.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
