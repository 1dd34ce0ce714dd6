"""What a run says of itself while it goes on, and how long it still takes."""

from __future__ import annotations

from typing import NamedTuple

from dptkit.training.config import TrainConfig

_NEWEST = 0.3
"""Share of the newest measurement in the smoothed pace: a slow moment moves the time left by a third."""


class Progress(NamedTuple):
    """Said every `log_every` steps, and after each validation.

    values: by name; after a validation "validation" and "best" alone, else the loss, its parts and the learning rates.
    images_per_second: since the last time, 0 after a validation. waiting: share of that time spent on data.
    seconds_left: for the rest of the run; None where it is not known yet.
    """

    step: int
    steps: int
    values: dict[str, float]
    images_per_second: float
    waiting: float
    seconds_left: float | None = None


class Pace:
    """Seconds per pixel, smoothed: phases differ in the size of pictures and batches, so steps say little."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self._seconds_per_pixel: float | None = None

    def seconds_left(self, first: int, step: int, seconds: float) -> float:
        """For the rest of the run, after the steps from `first` to `step` took `seconds`."""
        newest = seconds / pixels_between(self.config, first, step)
        before = newest if self._seconds_per_pixel is None else self._seconds_per_pixel
        self._seconds_per_pixel = before + _NEWEST * (newest - before)
        return self._seconds_per_pixel * pixels_between(self.config, step, self.config.steps)


def pixels_between(config: TrainConfig, first: int, end: int) -> float:
    """Pixels that the network sees in the steps from `first` to before `end`."""
    ends = [*(phase.start for phase in config.phases[1:]), config.steps]
    return sum(
        max(0, min(end, phase_end) - max(first, phase.start)) * phase.batch_size * phase.pixels
        for phase, phase_end in zip(config.phases, ends, strict=True)
    )
