"""int8 files of a tiny network: near the float32 one, refused by the gate, the same twice, and saying how they came."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import miniatures
from dptkit.cli.main import app
from dptkit.errors import ConfigError, DataError
from dptkit.evaluation.protocols import find_protocol
from dptkit.predictor import load
from dptkit.quantization.calibration import choose_pictures, read_calibration
from dptkit.quantization.gate import AccuracyLostError, Gate, GateResult
from dptkit.quantization.quantize import quantize_model, target_format
from dptkit.runtime import nncf_import
from dptkit.runtime.exported import open_exported
from dptkit.weights.tensor_file import write_tensors

NAME = "dpt-lite"


@pytest.fixture(autouse=True, scope="module")
def _untyped() -> Iterator[None]:
    """A trace's sizes are tensors, which the shape checks of these tests, no part of what users run, refuse."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


class Steps:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.seen: list[int] = []

    def calibrating(self, total: int) -> Any:
        return self.seen.append

    def scoring(self, what: str, total: int) -> Any:
        return lambda _: None

    def problem(self, text: str) -> None:
        self.problems.append(text)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    network = miniatures.build_miniature(NAME)
    write_tensors(path, network.state_dict(), miniatures.miniature_spec(NAME))
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("ending", [".xml", ".onnx"])
def test_int8_file_is_near_and_says_what_it_is(ending: str, model: Path, pictures: Path, tmp_path: Path) -> None:
    """Random weights: 8 bits at some sixty layers leave a few percent; a broken scale leaves nothing near."""
    target, steps = tmp_path / f"out{ending}", Steps()
    quantize_model(model, target, [pictures], count=2, steps=steps)
    opened = open_exported(target)
    assert opened.backend.precision == "int8"
    assert opened.card.graph.precision == "int8"
    notes = {key: json.loads(text) for key, text in opened.card.notes.items()}
    assert notes["calibration"]["pictures"] == 2
    assert notes["gate"] is None
    assert notes["license"] == opened.spec.license
    assert notes["kept_high"] == ["encoder.stem.conv", "encoder.patch_embedding"]
    assert max(steps.seen) == 2
    picture = Image.open(pictures / "2.png")  # not one of the two
    found = load(target).predict(picture)
    wanted = load(model, engine="torch", device="cpu").predict(picture)
    assert found.provenance.precision == "int8"
    assert np.corrcoef(found.values.ravel(), wanted.values.ravel())[0, 1] > 0.95


@pytest.mark.skipif("DPTKIT_FULL_SIZE_TESTS" not in os.environ, reason="quantises twice: set DPTKIT_FULL_SIZE_TESTS=1")
def test_the_same_pictures_give_the_same_file(model: Path, pictures: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        quantize_model(model, tmp_path / f"{name}.xml", [pictures], count=1, steps=Steps())
    assert (tmp_path / "a.bin").read_bytes() == (tmp_path / "b.bin").read_bytes()


def test_gate_refuses_and_writes_nothing(
    model: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.75, 0.742])
    monkeypatch.setattr(Gate, "score", lambda *_: next(scores))
    gate = Gate([], find_protocol("folder"), {}, 0.7)  # type: ignore[arg-type]
    with pytest.raises(AccuracyLostError) as caught:
        quantize_model(model, tmp_path / "out" / "int8.xml", [pictures], count=1, gate=gate, steps=Steps())
    assert str(caught.value).startswith("dpt-lite in int8 loses 0.80 points of delta1 (0.7500 before, 0.7420 after)")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*"))


@pytest.mark.parametrize(("after", "refused"), [(0.7431, False), (0.7429, True), (0.8, False), (float("nan"), True)])
def test_gate_at_its_limit(after: float, refused: bool) -> None:
    result = GateResult(Gate([], find_protocol("folder"), {}, 0.7), 0.75, after, "float32")  # type: ignore[arg-type]
    if refused:
        with pytest.raises(AccuracyLostError):
            result.require("m")
    else:
        result.require("m")
        assert result.to_card()["after"] == after


def test_gate_needs_a_protocol_with_its_metric() -> None:
    assert Gate([], find_protocol("camvid-11"), {}).metric == "mean_iou"  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="does not give delta1"):
        Gate([], find_protocol("midas-zero-shot-diw"), {})  # type: ignore[arg-type]


def test_pictures_are_spread_and_always_the_same(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / f"{number}.png").touch()
    chosen = choose_pictures([tmp_path], 4)
    assert [path.name for path in chosen] == ["0.png", "2.png", "5.png", "7.png"]
    assert len(choose_pictures([tmp_path], 99)) == 10


def test_unreadable_pictures_are_told_and_left_out(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    problems: list[str] = []
    config = miniatures.miniature_spec(NAME).preprocess
    assert len(read_calibration([pictures, tmp_path], config, 9, problems.append).inputs) == 3
    assert len(problems) == 1
    assert "broken.png" in problems[0]
    with pytest.raises(DataError, match="can be read"):
        read_calibration([tmp_path], config)


def test_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nncf_import, "is_nncf_installed", lambda: False)
    for call in (nncf_import.import_nncf, lambda: target_format(Path("a.xml"))):
        with pytest.raises(ConfigError, match=r"pip install 'dptkit\[quantize\]'"):
            call()


def test_nncf_reports_to_nobody() -> None:
    """In a process of its own, since NNCF looks whether pytest is there; and its logger class is not left behind."""
    code = (
        "import logging, sys; from unittest.mock import MagicMock; from dptkit.runtime.nncf_import import import_nncf;"
        "import_nncf(); from nncf.telemetry.wrapper import telemetry;"
        "assert isinstance(telemetry, MagicMock), telemetry; assert logging.getLoggerClass() is logging.Logger;"
        "assert 'openvino_telemetry' not in sys.modules"
    )
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=env, timeout=120)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["out.bin"], "ends in .xml (OpenVINO) or .onnx"),
        (["out.xml", "--gate", "."], "--gate and --protocol belong together"),
        (["out.xml", "--limit", "3"], "are for --gate"),
        (["out.xml", "--keep", "head.conv9"], "no module head.conv9"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], message: str, model: Path, pictures: Path) -> None:
    result = CliRunner().invoke(app, ["quantize", str(model), *arguments, "--calibrate", str(pictures)])
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
