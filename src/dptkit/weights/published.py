"""Where the weights of a preset are on this machine. No torch here: `dpt pull` and `dpt models` stay quick."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from dptkit.presets import Preset
from dptkit.weights.cache import Progress, is_cached
from dptkit.weights.download import fetch


def bundled_path(filename: str) -> Path:
    """A weight file that ships inside the package."""
    return Path(str(resources.files("dptkit.weights") / "bundled" / filename))


def published_weights(preset: Preset, progress: Progress | None = None) -> Path:
    """The verified local file of a preset's published weights: bundled, cached, or downloaded now.

    Sources are taken in the preset's order; one that is in the cache already comes first.
    Raises DownloadError saying what to do where none can be had.
    """
    if preset.bundled is not None:
        return bundled_path(preset.bundled)
    cached = [source for source in preset.sources if is_cached(source)]
    return fetch((cached or preset.sources)[0], progress=progress)
