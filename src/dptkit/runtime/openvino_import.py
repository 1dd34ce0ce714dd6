"""OpenVINO, imported without its telemetry.

`import openvino` reports itself to its makers' servers, and makes a folder in the user's home, unless the user has
opted out. A picture on this machine is nobody's business, so the package that does this is hidden during the import;
OpenVINO then goes without. Where the program imported openvino before, nothing is changed.
"""

from __future__ import annotations

import sys
import threading
from importlib.util import find_spec
from typing import Any

_TELEMETRY = "openvino_telemetry"
_lock = threading.Lock()


def is_openvino_installed() -> bool:
    """Cheap: looks for the package and does not import it."""
    try:
        return find_spec("openvino") is not None
    except (ImportError, ValueError):
        return False


def import_openvino() -> Any:
    """The module. Raises ImportError if it is not installed or broken."""
    with _lock:
        hidden = _TELEMETRY not in sys.modules
        if hidden:
            sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
        try:
            import openvino
        except OSError as error:  # a library that it needs
            raise ImportError(str(error)) from error
        finally:
            if hidden:
                del sys.modules[_TELEMETRY]
    return openvino
