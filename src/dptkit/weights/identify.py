"""Which network a file of bare tensors is for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from dptkit.config import ModelSpec
from dptkit.errors import UnknownModelError, WeightsError
from dptkit.presets import PRESETS, find_preset
from dptkit.weights.layouts import build_key_table, detect_layout
from dptkit.weights.published import model_file, published_weights
from dptkit.weights.tensor_file import read_tensors


def open_weights(source: str) -> tuple[Path, dict[str, Tensor], ModelSpec | None]:
    """A file, or a published model by name: its path, tensors, and specification where that is known."""
    path = model_file(source)
    if path is not None:
        tensors, spec = read_tensors(path)
        return path, tensors, spec
    preset = find_preset(source)
    path = published_weights(preset)
    return path, read_tensors(path).tensors, preset.spec


def identify_spec(tensors: Mapping[str, Tensor], where: str, model: str | None = None) -> ModelSpec:
    """The specification of the published model that tensors fit, or of `model` where it is named.

    Raises UnknownModelError if several fit, since they differ in what their numbers mean, or WeightsError if none.
    """
    if model is not None:
        return find_preset(model).spec
    layout = detect_layout(tensors, where)
    fitting = []
    for preset in PRESETS.values():
        try:
            build_key_table(preset.spec.model, layout).to_ours(tensors, where)
        except WeightsError:
            continue
        fitting.append(preset)
    if len(fitting) == 1:
        return fitting[0].spec
    if not fitting:
        raise WeightsError(f"{where}: fits none of the published networks; name the nearest with --model to see why")
    names = ", ".join(preset.name for preset in fitting)
    raise UnknownModelError(f"{where}: fits {names}, whose numbers mean different things; say which with --model")
