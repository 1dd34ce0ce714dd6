"""What a run writes down: CSV for programs, panels as pictures, and all of it for TensorBoard if asked.

Going on from a checkpoint, what was written after it is taken back, so that no step is there twice.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from dptkit.errors import ConfigError, OutputWriteError
from dptkit.image_io.atomic import write_bytes
from dptkit.training.panels import encode_jpeg
from dptkit.training.run_folder import VALIDATION_LOG, RunFolder

_LOG = logging.getLogger("dptkit")


class Logbook:
    """Of one run, going on after `step`; None: from its beginning. Only one process may have it, by the folder's lock.
    A full disk is a warning.

    In the run's folder: `log.csv`, `validation.csv`, `panels/step_000000100.jpg`, and events in `tensorboard/`.
    Raises ConfigError if TensorBoard is asked for and not installed, TrainingError if another process trains there.
    """

    def __init__(self, folder: RunFolder, step: int | None, *, tensorboard: bool) -> None:
        self.folder = folder
        self._lock = folder.lock()
        folder.remove_half_files()
        kept = -1 if step is None else step  # a validation before the first step is of step 0
        folder.keep_logs_up_to(kept)
        self._events = None
        if tensorboard:
            require_tensorboard()
            from torch.utils.tensorboard import SummaryWriter

            # TensorBoard drops what earlier files have from purge_step on.
            self._events = SummaryWriter(str(folder.path / "tensorboard"), purge_step=kept + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Loss, its parts, learning rates and speed after a step."""
        with _warning_only(step):
            self.folder.log(step, values)
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(f"training/{name}", value, step)

    def write_validation(self, step: int, values: Mapping[str, float]) -> None:
        """What a validation gave."""
        with _warning_only(step):
            self.folder.log(step, values, VALIDATION_LOG)
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(f"validation/{name}", value, step)

    def write_panel(self, step: int, picture: npt.NDArray[np.uint8]) -> None:
        """uint8 RGB [H, W, 3]."""
        with _warning_only(step):
            write_bytes(self.folder.path / "panels" / f"step_{step:09d}.jpg", encode_jpeg(picture))
        if self._events is not None:
            self._events.add_image("panel", picture, step, dataformats="HWC")

    def flush(self) -> None:
        """To be called before a checkpoint: what comes before it is not written again after going on from it."""
        if self._events is not None:
            self._events.flush()

    def close(self) -> None:
        """Nothing more will come."""
        if self._events is not None:
            self._events.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


@contextmanager
def _warning_only(step: int) -> Iterator[None]:
    """What is written down about a run is no reason to end it."""
    try:
        yield
    except OutputWriteError as error:
        _LOG.warning("step %d: %s", step, error)


def require_tensorboard() -> None:
    """Raises ConfigError if `tensorboard` is not installed."""
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        raise ConfigError(
            "tensorboard: not installed; pip install 'dptkit[train]', or set tensorboard: false"
        ) from None
