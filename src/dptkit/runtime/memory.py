"""A batch that does not fit is halved, and the work goes on."""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt

from dptkit.runtime.backend import Backend

_log = logging.getLogger("dptkit")


def predict_within_memory(backend: Backend, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """As `backend.predict`, in smaller batches where memory runs out.

    Raises MemoryError only if not even one picture fits. Nothing is remembered: memory may be free again next time.
    """
    outputs: list[npt.NDArray[np.float32]] = []
    done, size = 0, len(images)
    while done < len(images):
        try:
            outputs.append(backend.predict(images[done : done + size]))
        except MemoryError:
            size = min(size, len(images) - done)
            if size == 1:
                raise
            size //= 2
            _log.warning("not enough memory on %s for this batch: going on with batches of %d", backend.device, size)
            continue
        done += size
    return outputs[0] if len(outputs) == 1 else np.concatenate(outputs)
