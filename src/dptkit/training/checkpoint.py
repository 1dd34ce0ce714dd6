"""Checkpoints: atomic, the last few and the best, and falling back to an older one where the newest is broken."""

from __future__ import annotations

import logging
import os
import random
import re
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from dptkit.errors import OutputWriteError, TrainingError
from dptkit.image_io import atomic_write

_LOG = logging.getLogger("dptkit")
_NAME = re.compile(r"step_(\d{9})\.ckpt")
_FORMAT = 1
_NumpyState = tuple[str, "npt.NDArray[np.uint32]", int, int, float]


@dataclass(frozen=True)
class CheckpointFolder:
    """`folder` keeps the last `keep` checkpoints, `step_000001000.ckpt` and so on."""

    folder: Path
    keep: int

    def write(self, step: int, state: dict[str, Any]) -> bool:
        """Write the state after `step` steps, then remove all but the newest `keep`. Returns whether it was written.

        A full disk is a warning, not the end of the run: older checkpoints stay. Raises nothing.
        """
        path = self.folder / f"step_{step:09d}.ckpt"
        try:
            with atomic_write(path) as temporary, temporary.open("wb") as file:
                torch.save({"format": _FORMAT, "step": step, **state}, file)
                file.flush()
                os.fsync(file.fileno())  # before older ones go: a power failure must not leave an empty file alone
        except (OutputWriteError, RuntimeError) as error:
            # For torch a full disk is a position that it did not expect; the system's word is behind that.
            said = error.__context__ if isinstance(error.__context__, OSError) else error
            _LOG.warning("checkpoint after step %d not written: %s", step, _cause(said))
            return False
        # Later ones are those that `read_newest` found broken; counted among the kept, they would drive out this one.
        paths = list(self._newest_first())
        own = paths.index(path)
        for other in (*paths[:own], *paths[own + self.keep :]):
            with suppress(OSError):
                other.unlink()
        return True

    def read_newest(self) -> dict[str, Any] | None:
        """The newest readable checkpoint; None if there is none at all.

        A broken one is passed over with a warning. Raises TrainingError if all are broken.
        """
        paths = list(self._newest_first())
        for path in paths:
            try:
                state = _read(path)
            except Exception as error:  # damage shows as almost any type of error
                _LOG.warning("%s is broken (%s); going back to the one before", path, _cause(error))
                continue
            if state["format"] != _FORMAT:
                raise TrainingError(f"{path}: written by another version of dptkit")
            return state
        if paths:
            raise TrainingError(
                f"{self.folder}: none of its {len(paths)} checkpoints can be read; delete them to begin anew"
            )
        return None

    def _newest_first(self) -> Iterator[Path]:
        if self.folder.is_dir():
            named = [path for path in self.folder.iterdir() if _NAME.fullmatch(path.name)]
            yield from sorted(named, key=lambda path: path.name, reverse=True)


def _read(path: Path) -> dict[str, Any]:
    # torch leaves checksums unread: a bit that flipped in a weight would go unnoticed, and ruin the run.
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"wrong checksum of {damaged}")
    state = dict(torch.load(path, map_location="cpu", weights_only=True))
    if "format" not in state or f"step_{state['step']:09d}.ckpt" != path.name:
        raise ValueError("not what its name says")
    return state


def _cause(error: Exception) -> str:
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return next(iter(said.splitlines()), type(error).__name__)


def random_states() -> dict[str, Any]:
    """The state of every generator that training draws from, as tensors and plain values."""
    version, keys, gauss = random.getstate()
    kind, numbers, position, has_gauss, cached = cast(_NumpyState, np.random.get_state(legacy=True))
    states: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "python": [version, list(keys), gauss],
        "numpy": [kind, torch.from_numpy(numbers.astype(np.int64)), position, has_gauss, cached],
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def set_random_states(states: dict[str, Any] | list[dict[str, Any]], rank: int = 0) -> None:
    """Undo whatever was drawn since `random_states`.

    A list has those of each process (older runs kept one for all). A run may go on with more processes than before:
    those without a state of their own take another's.
    """
    if isinstance(states, list):
        states = states[rank % len(states)]
    torch.set_rng_state(states["torch"])
    version, keys, gauss = states["python"]
    random.setstate((version, tuple(keys), gauss))
    kind, numbers, position, has_gauss, cached = states["numpy"]
    np.random.set_state((kind, numbers.numpy().astype(np.uint32), position, has_gauss, cached))
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])
