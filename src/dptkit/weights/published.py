"""Where the weights of a preset are on this machine. No torch here: `dpt pull` and `dpt models` stay quick."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from dptkit.errors import DownloadError, UnknownModelError
from dptkit.presets import PRESETS, Preset
from dptkit.weights.cache import Progress, is_cached
from dptkit.weights.download import fetch, is_offline

_FILE_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".onnx", ".xml", ".pt2")


def model_file(model: str | Path) -> Path | None:
    """The path, if `model` means a file rather than a preset. Raises UnknownModelError if that file is not there."""
    if str(model) in PRESETS:
        return None
    path = Path(model)
    if path.is_file():
        return path
    if isinstance(model, Path) or path.suffix in _FILE_SUFFIXES or len(path.parts) > 1:
        raise UnknownModelError(f"{path}: no such model file")
    return None


def bundled_path(filename: str) -> Path:
    """A weight file that ships inside the package."""
    return Path(str(resources.files("dptkit.weights") / "bundled" / filename))


def published_weights(preset: Preset, progress: Progress | None = None) -> Path:
    """The verified local file of a preset's published weights: bundled, cached, or downloaded now.

    A source that is in the cache already is taken; else they are tried in the preset's order.
    Raises DownloadError saying what to do where none can be had.
    """
    if preset.bundled is not None:
        return bundled_path(preset.bundled)
    cached = [source for source in preset.sources if is_cached(source)]
    if cached:
        return fetch(cached[0], progress=progress)
    problems = []
    for source in preset.sources:
        try:
            return fetch(source, progress=progress)
        except DownloadError as error:
            problems.append(str(error))
            if is_offline():
                break  # the others would only say the same
    raise DownloadError("; then ".join(problems))
