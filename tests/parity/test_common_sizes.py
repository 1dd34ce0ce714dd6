"""Graphs for one size each give the same bits whatever happened before, and torch's numbers."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dptkit.engines import open_model
from dptkit.errors import WeightsError
from dptkit.runtime import conversion, openvino_backend, openvino_graphs
from dptkit.runtime.backend import Backend, Precision
from dptkit.runtime.torch_backend import TorchBackend
from dptkit.weights.load import load_model
from dptkit.weights.tensor_file import write_tensors
from miniatures import build_miniature, miniature_spec, random_image

Array = npt.NDArray[np.float32]

TOLERANCES: dict[Precision, float] = {"float32": 2e-5, "bfloat16": 0.1, "float16": 0.1}
"""Of the output's range, as in test_engines.py. Seen: 3e-7, 0.02."""

SIZE = 64
COMMON = ((1, 64, 64), (1, 96, 64), (3, 96, 64))
"""[B, h, w] that pictures of 1:1 and 3:4 become at size 64."""

OTHERS = ((1, 32, 64), (1, 64, 160))

LOWEST = openvino_backend.precisions()[0]

# In a process of its own, since the shape checks of these tests are no part of what users trace.
PREPARE = """
import sys
from pathlib import Path
import numpy as np
from dptkit.engines import open_model
model, folder, lowest = sys.argv[1:]
backend = open_model(model, engine="openvino", precision=lowest, size=64).backend
pictures = np.load(Path(folder) / "pictures.npz")
np.savez(Path(folder) / "converted.npz", **{name: backend.predict(pictures[name]) for name in pictures})
open_model(model, engine="openvino", precision="float32", size=64)
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, a cache that holds it, and what a process gave that converted it."""
    folder = tmp_path_factory.mktemp("prepared")
    write_tensors(folder / "m.safetensors", build_miniature("dpt-lite").state_dict(), miniature_spec("dpt-lite"))
    np.savez(folder / "pictures.npz", common=pictures(3, 64, 96), other=pictures(1, 32, 64))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DPTKIT_COMPILED_CACHE", str(folder / "cache"))
        command = [sys.executable, "-c", PREPARE, str(folder / "m.safetensors"), str(folder), LOWEST]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return folder


@pytest.fixture
def cache(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The entries' folder of a copy of that cache."""
    shutil.copytree(prepared / "cache", tmp_path / "cache")
    monkeypatch.setenv("DPTKIT_COMPILED_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


def pictures(batch: int, height: int, width: int) -> Array:
    return random_image(batch, 3, height, width).numpy()


def backend(prepared: Path, precision: Precision = LOWEST, **options: Any) -> Backend:
    model = prepared / "m.safetensors"
    return open_model(model, engine="openvino", device="cpu", precision=precision, size=SIZE, **options).backend


def kept(cache: Path, shape: str, precision: Precision = LOWEST) -> Path:
    """The one entry for a shape."""
    (found,) = (
        path.parent
        for path in cache.glob("*/entry.json")
        if {"shape": shape, "precision": precision}.items() <= json.loads(path.read_text())["facts"].items()
    )
    return found


@pytest.mark.parametrize("precision", sorted({"float32", LOWEST}))
def test_torchs_numbers(prepared: Path, cache: Path, precision: Precision) -> None:
    found, wanted = backend(prepared, precision), TorchBackend(load_model(prepared / "m.safetensors").network, "cpu")
    differences = {}
    for shape in (*COMMON, *OTHERS):
        raw = wanted.predict(pictures(*shape))
        differences[shape] = float(np.abs(found.predict(pictures(*shape)) - raw).max() / np.ptp(raw))
    assert max(differences.values()) < TOLERANCES[precision], differences
    for _, height, width in COMMON:
        assert kept(cache, f"1x3x{height}x{width}", precision)


def test_the_same_bits_whatever_happened_before(prepared: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Just converted, made from what is kept, or read; after other sizes; in a batch or not; by streams, by threads."""
    with np.load(prepared / "converted.npz") as stored:
        wanted = dict(stored)
    common, other = pictures(3, 64, 96), pictures(1, 32, 64)
    shutil.rmtree(kept(cache, "1x3x64x96"))
    compiled = []

    def compile_graph(graph: Any, *options: Any) -> Any:
        compiled.append(graph)
        return openvino_backend.compile_graph(graph, *options)

    monkeypatch.setattr(openvino_graphs, "compile_graph", compile_graph)
    made = backend(prepared)
    np.testing.assert_array_equal(made.predict(other), wanted["other"])
    with ThreadPoolExecutor(6) as pool:
        for raw in pool.map(made.predict, [common] * 6):
            np.testing.assert_array_equal(raw, wanted["common"])
    assert len(compiled) == 1
    for read in (backend(prepared), backend(prepared, streams=2)):
        for index in (2, 0, 1):
            np.testing.assert_array_equal(read.predict(common[index : index + 1])[0], wanted["common"][index])
        np.testing.assert_array_equal(read.predict(other), wanted["other"])
        np.testing.assert_array_equal(read.predict(common), wanted["common"])
    assert len(compiled) == 1, "what is kept is read"


def test_broken_entries_are_made_anew(
    prepared: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with np.load(prepared / "converted.npz") as stored:
        wanted = stored["common"]
    entry, source = kept(cache, "1x3x64x96"), kept(cache, "source")

    def rebuilt(*parts: str) -> None:
        caplog.clear()
        with caplog.at_level(logging.WARNING, "dptkit"):
            np.testing.assert_array_equal(backend(prepared).predict(pictures(3, 64, 96)), wanted)
        assert len(caplog.records) == len(parts)
        for note, part in zip(caplog.records, parts, strict=True):
            assert part in note.getMessage()

    damage(entry / "model.blob")
    rebuilt("model.blob is not what was written; making it anew")
    rebuilt()

    graph = openvino_backend.read_graph(prepared / "cache" / "models" / source.name)
    monkeypatch.setattr(conversion, "to_openvino", lambda network: graph)
    damage(source / "model.bin")
    rebuilt()  # not needed
    shutil.rmtree(entry)
    rebuilt("model.bin is not what was written; making it anew")


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)


def test_weights_that_changed_meanwhile_are_not_used(prepared: Path, cache: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.safetensors"
    shutil.copy(prepared / "m.safetensors", model)
    opened = open_model(model, engine="openvino", device="cpu", precision=LOWEST, size=SIZE).backend
    write_tensors(model, build_miniature("dpt-lite", seed=5).state_dict(), miniature_spec("dpt-lite"))
    shutil.rmtree(cache)
    with pytest.raises(WeightsError, match="its weights are not those that were opened"):
        opened.predict(pictures(1, 64, 64))
