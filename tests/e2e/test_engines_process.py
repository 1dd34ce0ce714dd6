"""The engines as a user meets them: `dpt` as a process, its cache, and what it says when something is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dpt_process import dpt, environment, save_pictures

from dptkit import read_depth
from dptkit.runtime import openvino_backend

SMALL = ("--size", "64", "--device", "cpu", "--json", "--format", "npy")

NO_TORCH = """
import sys
sys.modules["torch"] = None  # any import of it fails
from dptkit.cli.main import main
try:
    main()
finally:
    heavy = {"torch", "onnx", "onnxruntime", "openvino_telemetry"} & {name for name, m in sys.modules.items() if m}
    print("heavy:", sorted(heavy), file=sys.stderr)
"""


SIGNAL = """
import gc, os, signal
import numpy as np
from dptkit import load
signal.signal(signal.SIGUSR1, lambda *_: print("told"))
for size in (64, 96):
    predictor = load("dpt-lite", engine="openvino", device="cpu", size=size)
    predictor.predict(np.zeros((40, 60, 3), np.uint8))
del predictor
gc.collect()
os.kill(os.getpid(), signal.SIGUSR1)
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A cache of its own that holds dpt-lite, and the environment that points to it."""
    env = {"DPTKIT_COMPILED_CACHE": str(tmp_path_factory.mktemp("compiled"))}
    folder = tmp_path_factory.mktemp("warm")
    ran = dpt("depth", save_pictures(folder / "in", 1), "-o", folder / "out", *SMALL, env=env)
    assert ran.returncode == 0, ran.stderr
    return env


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return save_pictures(tmp_path / "in", 1) / "0000.png"


def record(ran: Any) -> dict[str, Any]:
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def values(ran: Any) -> np.ndarray[Any, Any]:
    return read_depth(record(ran)["outputs"]["npy"]).values


def entries(cache: dict[str, str]) -> list[Path]:
    return list((Path(cache["DPTKIT_COMPILED_CACHE"]) / "models").iterdir())


def test_a_warm_cache_needs_no_torch(cache: dict[str, str], picture: Path, tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", NO_TORCH, "depth", str(picture), "-o", str(tmp_path / "out"), *SMALL]
    ran = subprocess.run(arguments, env=environment(**cache), capture_output=True, encoding="utf-8", timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.splitlines()[-1] == "heavy: []"
    origin = read_depth(json.loads(ran.stdout)["outputs"]["npy"]).provenance
    assert origin.engine == "openvino"
    assert origin.precision == openvino_backend.precisions()[0]


def test_unusual_sizes_share_a_compiled_model(cache: dict[str, str], tmp_path: Path) -> None:
    wide, before = save_pictures(tmp_path / "in", 1, size=(90, 30)), entries(cache)
    assert dpt("depth", wide, "-o", tmp_path, "--size", "96", env=cache).returncode == 0
    assert entries(cache) == before


def test_every_file_says_engine_and_precision(cache: dict[str, str], picture: Path, tmp_path: Path) -> None:
    formats = "png16,npy,pfm,tiff"
    ran = dpt("depth", picture, "-o", tmp_path, "--size", "64", "--format", formats, "--json", env=cache)
    for path in record(ran)["outputs"].values():
        origin = read_depth(path).provenance
        assert (origin.engine, origin.precision) == (record(ran)["engine"], record(ran)["precision"])
        assert origin.engine == "openvino"


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0x40
    path.write_bytes(data)


def test_a_damaged_compiled_model_is_made_anew(cache: dict[str, str], picture: Path, tmp_path: Path) -> None:
    wanted = values(dpt("depth", picture, "-o", tmp_path / "a", *SMALL, env=cache))
    for entry in entries(cache):
        damage(next(entry.glob("model.b*")))
    ran = dpt("depth", picture, "-o", tmp_path / "b", *SMALL, env=cache)
    assert "model.blob is not what was written; making it anew" in ran.stderr
    np.testing.assert_array_equal(values(ran), wanted)
    again = dpt("depth", picture, "-o", tmp_path / "c", *SMALL, env=cache)
    assert "anew" not in again.stderr
    np.testing.assert_array_equal(values(again), wanted)


def test_a_whole_file_that_openvino_refuses_is_made_anew(cache: dict[str, str], picture: Path, tmp_path: Path) -> None:
    """Its hash is right, but not what it holds: as a build of OpenVINO with the same version may have left it."""
    import hashlib

    wanted = values(dpt("depth", picture, "-o", tmp_path / "a", *SMALL, env=cache))
    for entry in entries(cache):
        found, part = json.loads((entry / "entry.json").read_text()), next(entry.glob("model.b*"))
        part.write_bytes(b"junk" * 100)
        found["parts"][part.name] = {"size": 400, "sha256": hashlib.sha256(b"junk" * 100).hexdigest()}
        (entry / "entry.json").write_text(json.dumps(found))
    ran = dpt("depth", picture, "-o", tmp_path / "b", *SMALL, env=cache)
    assert "making it anew" in ran.stderr
    np.testing.assert_array_equal(values(ran), wanted)


@pytest.mark.parametrize("mode", ["none wanted", "no place"])
def test_without_a_cache_it_still_works(picture: Path, tmp_path: Path, mode: str) -> None:
    (tmp_path / "file").touch()
    env = {"DPTKIT_COMPILED_CACHE": str(tmp_path / "file" / "cache")}
    if mode == "none wanted":
        env = {"DPTKIT_COMPILED_CACHE": str(tmp_path / "cache"), "DPTKIT_COMPILED_CACHE_MB": "0"}
    assert record(dpt("depth", picture, "-o", tmp_path / "out", *SMALL, env=env))["engine"] == "openvino"
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("options", "env", "message"),
    [
        (["--engine", "opnvino"], {}, "dpt: --engine: 'opnvino' is none of auto, torch, openvino, onnx; did you mean"),
        (
            ["--engine", "openvino", "--device", "cuda"],
            {},
            "dpt: device 'cuda' is not available to the engine openvino",
        ),
        (["--engine", "onnx", "--precision", "bfloat16"], {}, "dpt: engine onnx computes in float32, not in bfloat16"),
        (
            [],
            {"DPTKIT_COMPILED_CACHE_MB": "lots"},
            "dpt: DPTKIT_COMPILED_CACHE_MB: 'lots' is not a number of megabytes",
        ),
    ],
)
def test_what_cannot_be_is_one_line(
    cache: dict[str, str], picture: Path, tmp_path: Path, options: list[str], env: dict[str, str], message: str
) -> None:
    ran = dpt("depth", picture, "-o", tmp_path / "out", *options, env={**cache, **env})
    assert ran.returncode == 2
    assert ran.stderr.startswith(message), ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_without_openvino_the_default_is_the_next_best_with_a_note(picture: Path, tmp_path: Path) -> None:
    stub = tmp_path / "hidden" / "sitecustomize.py"
    stub.parent.mkdir()
    stub.write_text('import sys\nsys.modules["openvino"] = sys.modules["onnxruntime"] = None\n')
    path = os.pathsep.join([str(stub.parent), os.environ.get("PYTHONPATH", "")])
    ran = dpt("depth", picture, "-o", tmp_path, *SMALL, env={"PYTHONPATH": path})
    assert record(ran)["engine"] == "torch"
    assert ran.stderr.splitlines()[0] == "engine openvino is not installed: computing with torch, which is slower"
    named = dpt("depth", picture, "-o", tmp_path, *SMALL, "--engine", "openvino", env={"PYTHONPATH": path})
    assert named.returncode == 2
    assert "engine openvino is not installed: pip install openvino" in named.stderr


def test_signals_still_arrive_after_models_came_and_went(cache: dict[str, str]) -> None:
    """A second Core, which ends after the first one, leaves signals a stack that is gone: a segmentation fault."""
    ran = subprocess.run(
        [sys.executable, "-c", SIGNAL], env=environment(**cache), capture_output=True, text=True, timeout=120
    )
    assert (ran.returncode, ran.stdout) == (0, "told\n"), ran.stderr
