"""`dpt export` as a user meets it: the command, what runs its files, and the reader that the documentation prints."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dpt_process import dpt, environment, save_pictures

from dptkit import load

NO_TORCH = """
import sys
sys.modules["torch"] = None  # any import of it fails
from dptkit.cli.main import main
try:
    main()
finally:
    heavy = {"torch", "onnx", "openvino_telemetry"} & {name for name, m in sys.modules.items() if m}
    print("heavy:", sorted(heavy), file=sys.stderr)
"""
READER = re.search(r"```python\n(import json.*?)```", (Path(__file__).parents[2] / "docs/export.md").read_text(), re.S)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """dpt-lite as it ships, in both formats, and a picture."""
    folder = tmp_path_factory.mktemp("exported")
    save_pictures(folder, 1, (70, 50))
    for name, more in (("lite.onnx", ()), ("lite.xml", ("--precision", "float16"))):
        ran = dpt("export", "dpt-lite", folder / name, *more, timeout=600)
        assert ran.returncode == 0, ran.stderr
        assert "licence MIT" in ran.stdout
    return folder


def run(*command: Any) -> Any:
    return subprocess.run(
        [sys.executable, *map(str, command)], env=environment(), capture_output=True, encoding="utf-8", timeout=300
    )


@pytest.mark.parametrize("name", ["lite.onnx", "lite.xml"])
def test_dpt_depth_runs_it_without_torch(files: Path, tmp_path: Path, name: str) -> None:
    options = ("--model", files / name, "-o", tmp_path, "--format", "npy", "--json")
    ran = run("-c", NO_TORCH, "depth", files / "0000.png", *options)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.splitlines()[-1] == "heavy: []"
    assert json.loads(ran.stdout)["engine"] == ("onnx" if name == "lite.onnx" else "openvino")


def test_the_reader_in_the_documentation_works(files: Path, tmp_path: Path) -> None:
    """Against the library on the same picture. Pillow's filters are not OpenCV's: near, not the same."""
    assert READER is not None
    (tmp_path / "reader.py").write_text(READER[1])
    ran = run(tmp_path / "reader.py", files / "lite.onnx", files / "0000.png", tmp_path / "depth.npy")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "dpt-lite MIT inverse_depth (50, 70)\n"
    wanted = load(files / "lite.onnx").predict(files / "0000.png").values
    assert np.corrcoef(np.load(tmp_path / "depth.npy").ravel(), wanted.ravel())[0, 1] > 0.95


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["dpt-lite", "lite.onnx"], 1, "dpt: lite.onnx: is there already; --force replaces it"),
        (["lite.onnx", "new.xml"], 2, "dpt: lite.onnx: is exported already"),
        (["dpt-lite", "new.tflite"], 2, "dpt: new.tflite: must end in .onnx, .xml, .pt2"),
        (["dpt-lite", "new.onnx", "--size", "64"], 2, "dpt: --size: '64' is not HEIGHTxWIDTH"),
        (["dpt-lite", "new.onnx", "--size", "64x64", "--dynamic"], 2, "dpt: --dynamic and --size"),
        (["dpt-lite", "new.onnx", "--format", "onxx"], 2, "dpt: --format: 'onxx' is none of"),
    ],
)
def test_mistakes_are_one_line(files: Path, arguments: list[str], code: int, message: str) -> None:
    before = sorted(files.iterdir())
    ran = dpt("export", *arguments, cwd=files)
    assert (ran.returncode, len(ran.stderr.splitlines())) == (code, 1), ran.stderr
    assert ran.stderr.startswith(message)
    assert sorted(files.iterdir()) == before
