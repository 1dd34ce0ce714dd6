"""Errors a user can cause or must act on. Each message is one line: what was wrong, where, what to do."""

from __future__ import annotations


class DptkitError(Exception):
    """Base of every error that dptkit raises on purpose."""


class UnknownModelError(DptkitError):
    """A model name that is neither a preset nor a file."""


class ConfigError(DptkitError):
    """A configuration with an unknown key, a wrong type or values that cannot work together."""


class ImageReadError(DptkitError):
    """An input that is not a picture, or a broken one."""


class OutputWriteError(DptkitError):
    """A result that cannot be written, or a written one that cannot be read back."""


class WeightsError(DptkitError):
    """A weight file that is broken, unsafe, or does not fit the network."""


class DownloadError(WeightsError):
    """Weights that could not be fetched, or not as published."""


class NonFiniteOutputError(DptkitError):
    """The network produced NaN or infinity, as low precision can."""


class DataError(DptkitError):
    """A data set that is not where or what it should be, or a broken file in it."""


class TrainingError(DptkitError):
    """Training that cannot start, or cannot go on."""
