"""Merged tokens on every engine: the numbers of torch, any size of picture, one compiled model for each ratio."""

from __future__ import annotations

import logging
import subprocess
import sys

import numpy as np
import pytest

from dptkit.engines import compiled_models, open_model
from dptkit.errors import ConfigError
from dptkit.predictor import load
from dptkit.runtime.backend import EngineChoice
from dptkit.runtime.torch_backend import TorchBackend
from dptkit.weights.load import load_model
from dptkit.weights.tensor_file import write_tensors
from miniatures import build_miniature, miniature_spec, random_image

RATIO = 0.4
ROUNDING = 2e-5
"""As in test_engines.py; seen below 3e-6. What merging changes is more."""

SHAPES = ((1, 4, 4), (1, 3, 7), (1, 6, 2), (1, 1, 1), (3, 2, 5))
MODELS = ("dpt-base", "dpt-hybrid", "dpt-lite")
ENGINES: tuple[EngineChoice, ...] = ("openvino", "onnx")

# In a process of its own, since the shape checks of these tests are no part of what users trace.
CONVERT = """
import sys, warnings
from dptkit.engines import open_model
warnings.simplefilter("error")
for engine in ("openvino", "onnx"):
    for model in sys.argv[1:]:
        open_model(model, engine=engine, device="cpu", precision="float32", token_merge=0.4)
open_model(sys.argv[3], engine="openvino", device="cpu", precision="float32")
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    found = {}
    for name in MODELS:
        path = folder / f"{name}.safetensors"
        write_tensors(path, build_miniature(name).state_dict(), miniature_spec(name))
        found[name] = str(path)
    ran = subprocess.run([sys.executable, "-c", CONVERT, *found.values()], capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return found


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("model", MODELS)
def test_any_size_gives_torchs_numbers(files: dict[str, str], model: str, engine: EngineChoice) -> None:
    network = load_model(files[model]).network
    network.set_token_merging(RATIO)
    wanted, whole = TorchBackend(network, "cpu"), TorchBackend(load_model(files[model]).network, "cpu")
    found = open_model(files[model], engine=engine, device="cpu", precision="float32", token_merge=RATIO).backend
    assert found.engine == engine
    differences, effects = {}, {}
    for batch, rows, columns in SHAPES:
        pictures = random_image(batch, 3, 32 * rows, 32 * columns).numpy()
        expected = wanted.predict(pictures)
        scale = np.ptp(expected)
        differences[rows, columns] = float(np.abs(found.predict(pictures) - expected).max() / scale)
        effects[rows, columns] = float(np.abs(whole.predict(pictures) - expected).max() / scale)
    assert max(differences.values()) < ROUNDING, differences
    assert max(effects.values()) > 5 * max(differences.values()), "nothing was merged"


def test_another_ratio_is_another_compiled_model(files: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    """Both were made beforehand; a third would be made now, and kept."""
    kept = compiled_models()
    assert kept is not None
    before = {path.name for path in kept.models.folder.iterdir()}
    picture = random_image(1, 3, 64, 64).numpy()
    merged, same, whole = (
        open_model(files["dpt-lite"], engine="openvino", precision="float32", token_merge=ratio).backend.predict(
            picture
        )
        for ratio in (RATIO, 0.4004, 0.0)
    )
    assert np.array_equal(merged, same), "a ratio counts to a thousandth"
    assert not np.array_equal(merged, whole)
    assert {path.name for path in kept.models.folder.iterdir()} == before
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_results_say_the_ratio(files: dict[str, str], engine: EngineChoice) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    options = {"engine": engine, "device": "cpu", "precision": "float32", "size": 64}
    merged = load(files["dpt-lite"], token_merge=RATIO, **options).predict(picture)
    assert merged.provenance.token_merge == RATIO
    for plain in (load(files["dpt-lite"], **options), load(files["dpt-lite"], token_merge=0, **options)):
        assert plain.predict(picture).provenance.token_merge is None


@pytest.mark.parametrize("ratio", [-0.1, 0.9, 0.8996, 1.0, float("nan"), float("inf")])
def test_bad_ratios_are_one_clear_line(ratio: float) -> None:
    with pytest.raises(ConfigError, match=r"^token merge ratio .*: must be at least 0 \(off\) and below 0\.9$"):
        load("dpt-lite", token_merge=ratio)
