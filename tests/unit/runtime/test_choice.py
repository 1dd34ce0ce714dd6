"""Which engine is taken: the best that is there, a note where it is not the usual one, one line where there is none."""

from __future__ import annotations

import logging
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace

import pytest

from dptkit.errors import ConfigError
from dptkit.runtime import choice, openvino_backend
from dptkit.runtime.backend import EngineChoice, Precision, PrecisionChoice
from dptkit.runtime.choice import Choice, choose
from dptkit.runtime.onnx_backend import ONNXBackend
from dptkit.runtime.openvino_import import import_openvino


class Blocker:
    """Makes a package look as if it were not installed."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name.split(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def block(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    for module in list(sys.modules):
        if module.split(".")[0] in names:
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "meta_path", [Blocker(*names), *sys.meta_path])


def able(monkeypatch: pytest.MonkeyPatch, *precisions: Precision) -> None:
    monkeypatch.setattr(openvino_backend, "precisions", lambda: precisions)


@pytest.mark.parametrize(
    ("engine", "device", "precision", "wanted"),
    [
        ("auto", "cpu", "auto", Choice("openvino", "cpu", "bfloat16", True)),
        ("auto", "auto", "auto", Choice("openvino", "cpu", "bfloat16", True)),
        ("auto", "cpu", "float32", Choice("openvino", "cpu", "float32", True)),
        ("auto", "cpu", "float16", Choice("torch", "cpu", "float16")),
        ("auto", "cuda", "auto", Choice("torch", "cuda", "float32")),
        ("openvino", "auto", "auto", Choice("openvino", "cpu", "bfloat16")),
        ("torch", "auto", "auto", Choice("torch", "auto", "float32")),
        ("torch", "cpu", "bfloat16", Choice("torch", "cpu", "bfloat16")),
        ("onnx", "auto", "auto", Choice("onnx", "cpu", "float32")),
    ],
)
def test_on_a_cpu_that_computes_in_bfloat16(
    monkeypatch: pytest.MonkeyPatch, engine: EngineChoice, device: str, precision: PrecisionChoice, wanted: Choice
) -> None:
    able(monkeypatch, "bfloat16", "float32")
    monkeypatch.setattr(choice, "has_gpu", lambda: False)
    assert choose(engine, device, precision) == wanted


def test_on_a_cpu_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    able(monkeypatch, "float32")
    assert choose("auto", "cpu", "auto").precision == "float32"
    assert choose("auto", "cpu", "bfloat16") == Choice("torch", "cpu", "bfloat16")
    with pytest.raises(ConfigError, match="does not compute in bfloat16 on this CPU: use float32"):
        choose("openvino", "cpu", "bfloat16")


def test_with_a_gpu_torch_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "has_gpu", lambda: True)
    assert choose("auto", "auto", "auto") == Choice("torch", "auto", "float32")


@pytest.mark.parametrize(
    ("blocked", "precision", "wanted"),
    [
        (("openvino",), "auto", Choice("onnx", "cpu", "float32", True)),
        (("openvino",), "bfloat16", Choice("torch", "cpu", "bfloat16")),
        (("openvino", "onnx"), "auto", Choice("torch", "cpu", "float32")),
        (("openvino", "onnxruntime"), "float32", Choice("torch", "cpu", "float32")),
    ],
)
def test_without_openvino_the_next_best_computes_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    blocked: tuple[str, ...],
    precision: PrecisionChoice,
    wanted: Choice,
) -> None:
    block(monkeypatch, *blocked)
    with caplog.at_level(logging.WARNING, "dptkit"):
        assert choose("auto", "cpu", precision) == wanted
    (record,) = caplog.records
    assert record.getMessage() == f"engine openvino is not installed: computing with {wanted.engine}, which is slower"


def test_a_broken_openvino_is_no_end_either(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> tuple[Precision, ...]:
        raise ImportError("libtbb.so.12: cannot open shared object file\nmore")

    monkeypatch.setattr(openvino_backend, "precisions", broken)
    assert choose("auto", "cpu", "auto").engine == "onnx"
    assert "libtbb.so.12" in caplog.text
    with pytest.raises(ConfigError, match=r"does not work here \(libtbb.*use engine torch$"):
        choose("openvino", "cpu", "auto")


@pytest.mark.parametrize(
    ("blocked", "engine", "advice"),
    [("openvino", "openvino", "pip install openvino"), ("onnxruntime", "onnx", r"pip install 'dptkit\[onnx\]'")],
)
def test_a_named_engine_that_is_not_installed_is_one_line(
    monkeypatch: pytest.MonkeyPatch, blocked: str, engine: EngineChoice, advice: str
) -> None:
    block(monkeypatch, blocked)
    with pytest.raises(ConfigError, match=f"^engine {engine} is not installed: {advice}") as caught:
        choose(engine, "cpu", "auto")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("engine", "device", "precision", "message"),
    [
        ("tensorrt", "cpu", "auto", "unknown engine 'tensorrt': use one of auto, torch, openvino, onnx"),
        ("auto", "cpu", "int3", "unknown precision 'int3': use one of auto, float32, bfloat16, float16"),
        ("openvino", "cuda", "auto", "device 'cuda' is not available to the engine openvino"),
        ("onnx", "mps", "auto", "device 'mps' is not available to the engine onnx"),
        ("onnx", "cpu", "bfloat16", "engine onnx computes in float32, not in bfloat16"),
    ],
)
def test_what_cannot_be_is_one_line(engine: str, device: str, precision: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        choose(engine, device, precision)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_onnx_runtime_that_goes_on_without_its_gpu_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where CUDA's libraries are missing it makes a session on the CPU, which results would call cuda."""
    session = SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"], get_inputs=list)
    runtime = SimpleNamespace(
        get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
        SessionOptions=SimpleNamespace,
        InferenceSession=lambda *_, **__: session,
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    with pytest.raises(ConfigError, match=r"^device 'cuda' does not work with the engine onnx here: "):
        ONNXBackend(Path("model.onnx"), "cuda", 32)


def test_openvino_reports_to_nobody() -> None:
    """Its telemetry is not loaded, and what hid it is gone again."""
    import_openvino()
    assert "openvino_telemetry" not in sys.modules
