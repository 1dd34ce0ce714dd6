"""A compiled model's weights lie in memory once: its file's pages go as the kernels make their own copy."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dptkit.runtime import openvino_backend
from dptkit.runtime.mapped_file import MappedFile
from dptkit.runtime.openvino_import import import_openvino

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere pages go when the system pleases")

CONTENT = np.random.default_rng(0).bytes(8 << 20)
WIDTH, LAYERS = 768, 8


def pages(path: Path, field: str) -> int:
    """Bytes of the mapped file `path` that this process holds, by the system's account.

    field: Rss, all of them; Anonymous, those that somebody has written to, which made a copy.
    """
    total, ours = 0, False
    for line in Path("/proc/self/smaps").read_text("utf-8", "replace").splitlines():
        key = line.split(maxsplit=1)[0]
        if not key.endswith(":"):
            ours = str(path) in line
        elif ours and key == f"{field}:":
            total += int(line.split()[1]) << 10
    return total


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "weights.bin"
    path.write_bytes(CONTENT)
    return path


def test_what_was_let_go_of_comes_back_when_it_is_read(path: Path) -> None:
    file = MappedFile(path)
    assert file.bytes.tobytes() == CONTENT
    assert pages(path, "Rss") == len(CONTENT)
    file.let_go()
    assert pages(path, "Rss") == 0
    path.unlink()  # as the cache does with what was used longest ago
    assert file.bytes.tobytes() == CONTENT


def test_pages_go_while_the_file_is_being_read(path: Path) -> None:
    file = MappedFile(path)
    with file.read_once():
        assert file.bytes.tobytes() == CONTENT
        patience = time.monotonic() + 60
        while pages(path, "Rss"):
            assert time.monotonic() < patience, "nothing was let go of"
            time.sleep(0.01)
        assert file.bytes.tobytes() == CONTENT
    assert pages(path, "Rss") == 0


def test_after_the_first_prediction_the_weights_of_the_file_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openvino = import_openvino()
    path, rng = tmp_path / "model.blob", np.random.default_rng(0)
    inputs = openvino.opset13.parameter([-1, WIDTH], np.float32)
    node = inputs
    for _ in range(LAYERS):
        weights = rng.standard_normal((WIDTH, WIDTH), np.float32) / WIDTH**0.5
        node = openvino.opset13.relu(openvino.opset13.matmul(node, weights, False, False))
    compiled = openvino_backend.compile_graph(openvino.Model([node], [inputs]), "float32")
    openvino_backend.write_compiled(compiled, path)
    rows = rng.standard_normal((5, WIDTH), np.float32)
    wanted = openvino_backend.OpenVINOBackend(compiled, "float32", 1).compute(rows)

    backend = openvino_backend.read_compiled(path, "float32", 1)
    np.testing.assert_array_equal(backend.compute(rows), wanted)
    assert pages(path, "Rss") == 0
    np.testing.assert_array_equal(backend.compute(rows), wanted)

    monkeypatch.setattr(MappedFile, "let_go", lambda self: None)
    keeping = openvino_backend.read_compiled(path, "float32", 1)
    np.testing.assert_array_equal(keeping.compute(rows), wanted)
    assert pages(path, "Rss") > path.stat().st_size / 2  # OpenVINO reads the weights where they are, without a copy
    assert pages(path, "Anonymous") == 0  # and writes nothing there, which letting go would undo
