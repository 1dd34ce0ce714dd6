"""NNCF, imported without its telemetry, as `dptkit.runtime.openvino_import` does with OpenVINO.

NNCF reports every call of `quantize` to its makers' servers through the package openvino_telemetry, which it looks for
once, when it is imported. It is hidden meanwhile; NNCF then goes without. Where the program imported nncf before,
nothing is changed.
"""

from __future__ import annotations

import logging
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from dptkit.errors import ConfigError
from dptkit.runtime.backend import first_line
from dptkit.runtime.openvino_import import import_openvino

_TELEMETRY = "openvino_telemetry"


def is_nncf_installed() -> bool:
    """Cheap: looks for the package and does not import it."""
    try:
        return find_spec("nncf") is not None
    except (ImportError, ValueError):
        return False


def import_nncf() -> Any:
    """The module, which logs errors only. Raises ConfigError if it is not installed, or does not work here."""
    if not is_nncf_installed():
        raise ConfigError("int8 for OpenVINO needs the package nncf: pip install 'dptkit[quantize]'")
    if (loaded := sys.modules.get("nncf")) is not None:
        return loaded
    absent = object()
    telemetry: Any = sys.modules.get(_TELEMETRY, absent)
    loggers = logging.getLoggerClass()
    try:
        import_openvino()
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
        nncf = import_module("nncf")
    except ImportError as error:
        raise ConfigError(f"the package nncf does not work here ({first_line(error)})") from None
    finally:
        # Both are the program's: what telemetry it had loaded, and what its own loggers are made of.
        logging.setLoggerClass(loggers)
        if telemetry is absent:
            sys.modules.pop(_TELEMETRY, None)
        else:
            sys.modules[_TELEMETRY] = telemetry
    nncf.set_log_level(logging.ERROR)
    return nncf
