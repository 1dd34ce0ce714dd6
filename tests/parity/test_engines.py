"""Every engine gives the numbers of torch's eager float32, for any size of picture, from any thread."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import miniatures
from dptkit.engines import open_model
from dptkit.errors import ConfigError, NonFiniteOutputError
from dptkit.model.build import build_model
from dptkit.presets import PRESETS
from dptkit.runtime import conversion, openvino_backend
from dptkit.runtime.backend import Backend, EngineChoice, PrecisionChoice
from dptkit.runtime.openvino_import import import_openvino
from dptkit.runtime.torch_backend import TorchBackend
from dptkit.weights.load import load_model
from dptkit.weights.tensor_file import write_tensors
from miniatures import SPECS, build_miniature, miniature_spec, random_image

Array = npt.NDArray[np.float32]

ROUNDING = 2e-5
"""Of the output's range: float32 sums in another order, with batch norms folded and GELU's erf by another
approximation, through at most a hundred layers. Seen: 3e-6 at a grid of 2 x 1, 2e-6 in DPT-Large, else below 1e-6. A
wrong position embedding, or one resized for another size, is off by 1e-2 and more."""

BFLOAT16 = 0.1
"""Of the output's range: 8 bits of significand, an error of 1/512 at every layer. Seen: 0.02, 0.04 at 2 x 1."""

# [B, h, w] in units of 32: the trained grid's shape, wide, tall, the smallest, a batch.
SHAPES = ((1, 4, 4), (1, 3, 7), (1, 6, 2), (1, 1, 1), (3, 2, 5))

# Presets that differ only in weights and decoding have one miniature.
STRUCTURES = tuple({miniature_spec(name).model: name for name in SPECS}.values())
BUNDLED = ("dpt-lite", "dpt-lite-street")
MODELS = (*(f"small {name}" for name in STRUCTURES), *BUNDLED)
ENGINES: tuple[EngineChoice, ...] = ("openvino", "onnx")

# In a process of its own, since the shape checks of these tests are no part of what users trace.
CONVERT = """
import sys, warnings
from dptkit.engines import open_model
warnings.simplefilter("error")
for model in sys.argv[2:]:
    open_model(model, engine=sys.argv[1], device="cpu", precision="float32")
    print(model, flush=True)
"""


def convert(engine: str, *models: str | Path) -> None:
    """Into the cache of compiled models, from which this process then reads."""
    command = [sys.executable, "-c", CONVERT, engine, *(os.fspath(model) for model in models)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert ran.returncode == 0, ran.stderr[-3000:]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What `load` takes, by the names in MODELS."""
    folder = tmp_path_factory.mktemp("models")
    found = {name: name for name in BUNDLED}
    for name in STRUCTURES:
        path = folder / f"{name}.safetensors"
        write_tensors(path, build_miniature(name).state_dict(), miniature_spec(name))
        found[f"small {name}"] = str(path)
    for engine in ENGINES:
        convert(engine, *found.values())
    return found


def backend(file: str, engine: EngineChoice, precision: PrecisionChoice = "float32") -> Backend:
    return open_model(file, engine=engine, device="cpu", precision=precision).backend


def eager(file: str) -> Backend:
    return TorchBackend(load_model(file).network, "cpu")


def image(batch: int, rows: int, columns: int, seed: int = 1) -> Array:
    return random_image(batch, 3, 32 * rows, 32 * columns, seed=seed).numpy()


def difference(found: Array, wanted: Array) -> float:
    """The largest, as a share of the range of what is wanted."""
    assert found.shape == wanted.shape
    assert found.dtype == np.float32
    return float(np.abs(found - wanted).max() / np.ptp(wanted))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("model", MODELS)
def test_any_size_gives_torchs_numbers(files: dict[str, str], model: str, engine: EngineChoice) -> None:
    found, wanted = backend(files[model], engine), eager(files[model])
    assert (found.engine, found.precision, found.device) == (engine, "float32", "cpu")
    differences = {}
    for shape in SHAPES:
        pictures = image(*shape)
        differences[shape] = difference(found.predict(pictures), wanted.predict(pictures))
    assert max(differences.values()) < ROUNDING, differences


@pytest.mark.parametrize("model", ["small dpt-lite", "dpt-lite"])  # each costs another conversion
def test_bfloat16_is_near_and_is_bfloat16(files: dict[str, str], model: str) -> None:
    if "bfloat16" not in openvino_backend.precisions():
        pytest.skip("this CPU does not compute in bfloat16")
    convert_low = subprocess.run(
        [sys.executable, "-c", CONVERT.replace('"float32"', '"bfloat16"'), "openvino", files[model]], timeout=600
    )
    assert convert_low.returncode == 0
    low, wanted = backend(files[model], "openvino", "bfloat16"), eager(files[model])
    assert low.precision == "bfloat16"
    errors = [difference(low.predict(image(*shape)), wanted.predict(image(*shape))) for shape in SHAPES]
    assert max(errors) < BFLOAT16, errors
    assert max(errors) > 10 * ROUNDING, "this is float32 under another name"


@pytest.mark.parametrize("engine", ENGINES)
def test_the_same_input_gives_the_same_bits(files: dict[str, str], engine: EngineChoice) -> None:
    first, again = backend(files["dpt-lite"], engine), backend(files["dpt-lite"], engine)
    pictures, others = image(2, 3, 4), image(1, 5, 2)
    wanted = first.predict(pictures)
    first.predict(others)
    np.testing.assert_array_equal(first.predict(pictures), wanted)
    np.testing.assert_array_equal(again.predict(pictures), wanted)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_earlier_result_is_left_alone(files: dict[str, str], engine: EngineChoice) -> None:
    runner = backend(files["dpt-lite"], engine)
    pictures = image(1, 2, 3)
    before = pictures.copy()
    result = runner.predict(pictures)
    kept = result.copy()
    runner.predict(image(1, 2, 3, seed=9))
    np.testing.assert_array_equal(result, kept)
    np.testing.assert_array_equal(pictures, before)
    result[:] = 0  # the caller's own


@pytest.mark.parametrize("engine", ENGINES)
def test_four_threads_give_the_serial_results(files: dict[str, str], engine: EngineChoice) -> None:
    runner = backend(files["dpt-lite"], engine)
    pictures = [image(1, 2 + seed % 3, 3, seed=seed) for seed in range(16)]
    serial = [runner.predict(picture) for picture in pictures]
    start = threading.Barrier(4)

    def work(worker: int) -> list[Array]:
        start.wait(timeout=60)
        return [runner.predict(picture) for picture in pictures[worker::4]]

    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(work, range(4)))
    for worker, part in enumerate(parts):
        for found, wanted in zip(part, serial[worker::4], strict=True):
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_wrong_size_is_named(files: dict[str, str], engine: EngineChoice) -> None:
    runner = backend(files["dpt-lite"], engine)
    with pytest.raises(ValueError, match="image size 64x80 must be a multiple of 32"):
        runner.predict(np.zeros((1, 3, 64, 80), np.float32))


def test_infinity_is_an_error_not_a_picture() -> None:
    openvino = import_openvino()
    pictures = openvino.opset13.parameter([-1, 3, -1, -1], np.float32)
    doubled = openvino.opset13.multiply(pictures, np.float32(10))
    compiled = openvino_backend.compile_graph(openvino.Model([doubled], [pictures]), "float32")
    runner = openvino_backend.OpenVINOBackend(compiled, "float32", 32)
    assert runner.predict(np.full((1, 3, 32, 32), 3e37, np.float32)).max() == pytest.approx(3e38)
    with pytest.raises(NonFiniteOutputError, match="not finite in float32 on cpu"):
        runner.predict(np.full((1, 3, 32, 32), 3e38, np.float32))


@pytest.mark.parametrize("engine", ENGINES)
def test_weights_that_hold_nan_are_an_error_not_a_picture(tmp_path: Path, engine: EngineChoice) -> None:
    """OpenVINO's ReLU makes zeros of NaN."""
    network, path = build_miniature("dpt-lite"), tmp_path / "nan.safetensors"
    network.encoder.transformer.blocks[0].norm1.weight.data[3] = float("nan")
    write_tensors(path, network.state_dict(), miniature_spec("dpt-lite"))
    code = f"""
import sys
from dptkit import load
from dptkit.errors import ConfigError
try:
    load(sys.argv[1], engine={engine!r}, device="cpu", precision="float32")
except ConfigError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=300)
    advice = "(the weights hold NaN, infinity or huge values): use engine torch"
    assert ran.stdout == f"engine {engine} cannot take dpt-lite {advice}\n", ran.stderr


def test_by_default_torch_takes_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "new.safetensors"
    write_tensors(path, build_miniature("dpt-lite", seed=5).state_dict(), miniature_spec("dpt-lite"))

    def fail(network: object) -> None:
        raise TypeError("no conversion rule\nfor this operator")

    monkeypatch.setattr(conversion, "to_openvino", fail)
    assert open_model(str(path), device="cpu").backend.engine == "torch"
    message = "engine openvino cannot take dpt-lite (no conversion rule): computing with torch"
    assert [record.getMessage() for record in caplog.records] == [message]
    with pytest.raises(ConfigError, match=r"\(no conversion rule\): use engine torch$"):
        open_model(str(path), engine="openvino")


@pytest.mark.slow
@pytest.mark.skipif("DPTKIT_FULL_SIZE_TESTS" not in os.environ, reason="minutes and 5 GB: set DPTKIT_FULL_SIZE_TESTS=1")
@pytest.mark.parametrize("name", ["dpt-large", "dpt-hybrid"])
def test_full_size_networks(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.safetensors"
    network = build_model(PRESETS[name].spec.model).eval()
    # Off the final ReLU's zero, with a range that is not lost in the rounding of the constant: as drawn, DPT-Large
    # gives 1 +- 0.006, where one step of float32 is 1e-5 of the range already.
    network.head.conv3.weight.data.mul_(100)
    network.head.conv3.bias.data.fill_(1.0)
    write_tensors(path, network.state_dict(), PRESETS[name].spec)
    del network
    convert("openvino", path)
    found, wanted = backend(str(path), "openvino"), eager(str(path))
    for shape in SHAPES:
        pictures = image(*shape)
        raw = wanted.predict(pictures)
        assert np.ptp(raw) > 0.5
        assert difference(found.predict(pictures), raw) < ROUNDING, shape


def test_miniatures_cover_every_preset() -> None:
    assert {miniature_spec(name).model for name in PRESETS} <= {miniature_spec(name).model for name in STRUCTURES}
    assert miniatures.BASE_SPEC.name in SPECS
