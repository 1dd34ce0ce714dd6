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
from dptkit.errors import NonFiniteOutputError
from dptkit.model.build import build_model
from dptkit.presets import PRESETS
from dptkit.runtime import openvino_backend
from dptkit.runtime.backend import Backend, EngineChoice, PrecisionChoice
from dptkit.runtime.torch_backend import TorchBackend
from dptkit.weights.load import load_model
from dptkit.weights.tensor_file import write_tensors
from miniatures import SPECS, build_miniature, miniature_spec, random_image

Array = npt.NDArray[np.float32]

ROUNDING = 2e-5
"""Of the output's range: float32 sums in another order, with batch norms folded and GELU's erf by another
approximation, through at most a hundred layers. Seen: 3e-6 at a grid of 2 x 1, below 1e-6 elsewhere. A wrong
position embedding, or one resized for another size, is off by 1e-2 and more."""

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


@pytest.mark.parametrize("model", MODELS)
def test_bfloat16_is_near_and_is_bfloat16(files: dict[str, str], model: str) -> None:
    if "bfloat16" not in openvino_backend.precisions():
        pytest.skip("this CPU does not compute in bfloat16")
    if not model.startswith("small dpt-lite") and model != "dpt-lite":
        pytest.skip("one family is enough: it costs a conversion each")
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


@pytest.mark.parametrize("engine", ENGINES)
def test_an_output_that_is_not_finite_is_an_error(files: dict[str, str], engine: EngineChoice) -> None:
    pictures = image(1, 2, 2)
    pictures[0, 0, 5, 5] = np.nan
    with pytest.raises(NonFiniteOutputError, match="not finite in float32 on cpu"):
        backend(files["dpt-lite"], engine).predict(pictures)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dpt-large", "dpt-hybrid"])
def test_full_size_networks(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.safetensors"
    network = build_model(PRESETS[name].spec.model).eval()
    network.head.conv3.bias.data.fill_(1.0)  # off the final ReLU's zero
    write_tensors(path, network.state_dict(), PRESETS[name].spec)
    del network
    convert("openvino", path)
    found, wanted = backend(str(path), "openvino"), eager(str(path))
    for shape in SHAPES:
        pictures = image(*shape)
        assert difference(found.predict(pictures), wanted.predict(pictures)) < ROUNDING, shape


def test_miniatures_cover_every_preset() -> None:
    assert {miniature_spec(name).model for name in PRESETS} <= {miniature_spec(name).model for name in STRUCTURES}
    assert miniatures.BASE_SPEC.name in SPECS
