"""`dpt prune` as a user starts it: a smaller file that every other verb takes, or one line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from dpt_process import SMALL, dpt, save_pictures

from data_trees import TREES
from dptkit.weights.locate import PRUNING_KEY, read_metadata, read_spec
from dptkit.weights.tensor_file import write_tensors
from miniatures import build_miniature, miniature_spec


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    write_tensors(path, build_miniature("dpt-lite").state_dict(), miniature_spec("dpt-lite"))
    return path


def test_pruned_by_pictures_then_used_converted_and_scored(model: Path, tmp_path: Path) -> None:
    out, again = tmp_path / "small.safetensors", tmp_path / "again.safetensors"
    TREES["manifest"](tmp_path / "data")
    done = dpt("prune", model, out, "--heads", "0.25", "--mlp", "0.5", "--data", tmp_path / "data", "--count", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert "heads of each block: " in done.stdout
    spec, note = read_spec(out), json.loads(read_metadata(out)[PRUNING_KEY])
    assert spec is not None
    assert spec.model.encoder.blocks is not None
    assert sum(spec.model.encoder.blocks.heads) == 3
    assert sum(spec.model.encoder.blocks.mlp) == 128
    assert spec.license == miniature_spec("dpt-lite").license
    assert note["from_sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert (note["criterion"], note["heads_removed"], note["mlp_removed"]) == ("taylor", 0.25, 0.5)

    converted = dpt("convert", out, again, "--to", "dptkit", "--precision", "float16")
    assert (converted.returncode, converted.stderr) == (0, "")
    assert json.loads(read_metadata(again)[PRUNING_KEY]) == note
    refused = dpt("convert", out, tmp_path / "hf.safetensors", "--to", "hf")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "hf.safetensors").exists()

    pictures = save_pictures(tmp_path / "pictures", 1)
    maps = []
    for engine in ("torch", "openvino"):
        result = tmp_path / engine
        used = dpt("depth", pictures, "--model", out, "-o", result, "--format", "npy", *SMALL, "--engine", engine,
                   "--precision", "float32", env={"DPTKIT_CACHE": str(tmp_path / "cache")})  # fmt: skip
        assert used.returncode == 0, used.stderr
        (path,) = result.glob("**/*.npy")
        maps.append(np.load(path))
    # docs/engines.md: float32 engines agree to 2e-5 of the range.
    assert np.abs(maps[0] - maps[1]).max() <= 2e-5 * np.ptp(maps[0])
