"""OpenVINO, imported without its telemetry.

`import openvino` reports itself to its makers' servers, and makes a folder in the user's home, unless the user has
opted out. A picture on this machine is nobody's business, so the package that does this is hidden during the import;
OpenVINO then goes without. Where the program imported openvino before, nothing is changed.

There is one Core, kept for good. OpenVINO's CPU plugin, of which each Core has its own, gives its thread another stack
for signal handlers and frees it with the Core. Where several end in another order than they began, the thread is left
with one that is gone: the next signal, such as Ctrl-C or the end of a child process, is a segmentation fault.
"""

from __future__ import annotations

import sys
import threading
from importlib.util import find_spec
from typing import Any

_TELEMETRY = "openvino_telemetry"
_lock = threading.Lock()
_core: Any = None


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


def openvino_core() -> Any:
    """The process's openvino.Core. Raises ImportError as `import_openvino`."""
    global _core
    openvino = import_openvino()
    with _lock:
        if _core is None:
            _core = openvino.Core()
        return _core
