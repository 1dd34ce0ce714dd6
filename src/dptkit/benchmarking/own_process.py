"""Start-up, first prediction and peak memory: what only a process of its own can tell.

`python -m dptkit.benchmarking.own_process REQUEST` is that process; REQUEST is JSON, and so is what it prints.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FURTHER = 2
"""Predictions after the first, since some engines take memory only then."""


@dataclass(frozen=True)
class OwnProcess:
    """Seconds from the start of the process until the model was ready, of which Python and imports; of the first call.

    memory_mb: peak of resident memory above that after the imports; with `import_mb` below it in all. gpu_mb: peak that
    torch allocated on CUDA. None where the system does not say.
    """

    start_up_s: float
    imports_s: float
    first_prediction_s: float
    memory_mb: float | None
    import_mb: float | None
    gpu_mb: float | None


class OwnProcessError(Exception):
    """That process failed; the message is the last line of what it said."""


def measure_in_own_process(
    model: str, engine: str, device: str, precision: str, size: int | None, paths: Sequence[Path]
) -> OwnProcess:
    """`paths`: one batch. Raises OwnProcessError."""
    request: dict[str, Any] = {
        "model": model,
        "engine": engine,
        "device": device,
        "precision": precision,
        "size": size,
        "paths": [str(path) for path in paths],
        "started": time.time(),
    }
    command = [sys.executable, "-m", "dptkit.benchmarking.own_process", json.dumps(request)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise OwnProcessError(lines[-1].strip() if lines else f"its process ended with {done.returncode}")
    return OwnProcess(**json.loads(done.stdout.splitlines()[-1]))


def _measure(request: dict[str, Any]) -> OwnProcess:
    from dptkit.predictor import load

    _import_engine(request["engine"])
    imported, imported_mb = time.time(), _resident_mb("VmRSS")
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak starts anew
    choice = {key: request[key] for key in ("engine", "device", "precision", "size")}
    predictor = load(request["model"], **choice)
    ready = time.time()
    started = time.perf_counter()
    predictor.predict_batch(request["paths"])
    first = time.perf_counter() - started
    for _ in range(_FURTHER):
        predictor.predict_batch(request["paths"])
    peak_mb = _resident_mb("VmHWM")
    torch = sys.modules.get("torch")
    on_gpu = torch is not None and torch.cuda.is_initialized()
    return OwnProcess(
        start_up_s=ready - request["started"],
        imports_s=imported - request["started"],
        first_prediction_s=first,
        memory_mb=None if peak_mb is None or imported_mb is None else peak_mb - imported_mb,
        import_mb=imported_mb,
        gpu_mb=torch.cuda.max_memory_allocated() / 1e6 if on_gpu and torch is not None else None,
    )


def _import_engine(engine: str) -> None:
    if engine == "openvino":
        from dptkit.runtime.openvino_import import import_openvino

        import_openvino()
    else:
        __import__({"torch": "torch", "onnx": "onnxruntime"}[engine])


def _resident_mb(field: str) -> float | None:
    """Of this process, from Linux's account of it. getrusage would tell the greater of ours and our parent's."""
    try:
        lines = Path("/proc/self/status").read_text("ascii", "replace").splitlines()
    except OSError:
        return None
    found = (line.split() for line in lines if line.startswith(f"{field}:"))
    return next((int(words[1]) * 1024 / 1e6 for words in found), None)


if __name__ == "__main__":
    try:
        print(json.dumps(vars(_measure(json.loads(sys.argv[1])))))  # noqa: T201
    except KeyboardInterrupt:
        sys.exit(130)
