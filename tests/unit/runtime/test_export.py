"""Exported files: what they say of themselves, that their numbers are the network's, and what damage does to them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from dptkit import load
from dptkit.config import to_json
from dptkit.errors import ConfigError, DptkitError, OutputWriteError, WeightsError
from dptkit.model.dpt import DPT
from dptkit.preprocess import network_size
from dptkit.runtime import export as exporting
from dptkit.runtime.card import Card, GraphCard, read_texts
from dptkit.runtime.export import Wanted, export_model
from dptkit.runtime.exported import open_exported
from dptkit.runtime.exported_files import write_openvino
from dptkit.runtime.openvino_import import openvino_core
from miniatures import build_miniature, miniature_spec, random_image

NAME = "dpt-lite"
ROUNDING = 2e-5  # as docs/engines.md allows engines in float32
SHA = "5" * 64


@pytest.fixture(scope="module")
def network() -> DPT:
    return build_miniature(NAME)


# In a process of its own, since the shape checks of these tests are no part of what users trace.
EXPORT = """
import sys, warnings
from pathlib import Path
from dptkit.runtime.export import Wanted, export_model
from miniatures import build_miniature, miniature_spec
warnings.simplefilter("error")
folder, name, sha = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
for file, wanted in eval(sys.argv[4]).items():
    export_model(miniature_spec(name), build_miniature(name), folder / file, wanted, weights_sha256=sha)
"""


def export_files(folder: Path, files: str) -> None:
    """`files`: names and what to write, as Python writes a dictionary."""
    command = [sys.executable, "-c", EXPORT, str(folder), NAME, SHA, files]
    tests = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    ran = subprocess.run(command, env={**os.environ, "PYTHONPATH": tests}, capture_output=True, text=True, timeout=1200)
    assert ran.returncode == 0, ran.stderr[-3000:]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """any.xml and any.onnx for any size; one.xml for 64x96 pixels with the weights halved."""
    folder = tmp_path_factory.mktemp("exported")
    export_files(
        folder,
        "{'any.xml': Wanted('openvino'), 'any.onnx': Wanted('onnx'),"
        " 'one.xml': Wanted('openvino', 'float16', (64, 96), True)}",
    )
    return folder


@pytest.fixture
def copy(files: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(files, tmp_path / "copy"))


@pytest.mark.parametrize("name", ["any.xml", "any.onnx"])
def test_an_exported_file_computes_what_the_network_does(network: DPT, files: Path, name: str) -> None:
    backend = open_exported(files / name, precision="float32").backend
    for shape in ((1, 3, 32, 32), (2, 3, 64, 160)):
        images = random_image(*shape)
        wanted = network(images).detach().numpy()
        assert np.abs(backend.predict(images.numpy()) - wanted).max() <= ROUNDING * np.abs(wanted).max()
    with pytest.raises(ValueError, match="multiple of 32"):
        backend.predict(np.zeros((1, 3, 32, 40), np.float32))


@pytest.mark.parametrize("name", ["any.xml", "any.onnx"])
def test_the_file_says_what_it_is(files: Path, name: str) -> None:
    opened = open_exported(files / name, precision="float32")
    assert opened.spec == miniature_spec(NAME)
    graph = opened.card.graph
    assert (graph.precision, graph.stride, graph.size, graph.weights_sha256) == ("float32", 32, None, SHA)
    assert graph.difference is not None
    assert graph.difference <= ROUNDING


def test_onnx_file_can_be_read_by_strangers(files: Path) -> None:
    """By the package onnx alone: a sound model of the stated opset, its axes by name, no control flow, its licence."""
    model = onnx.load(files / "any.onnx")
    onnx.checker.check_model(model, full_check=True)
    texts = {entry.key: entry.value for entry in model.metadata_props}
    assert texts["dptkit"] == to_json(miniature_spec(NAME))
    assert json.loads(texts["dptkit_graph"])["opset"] == model.opset_import[0].version
    dims = model.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in dims] == ["batch", 3, "height", "width"]
    assert not {"If", "Loop", "Scan"} & {node.op_type for node in model.graph.node}
    assert "Licence: MIT" in model.doc_string


def test_a_graph_that_normalises_inside_takes_bytes(network: DPT, files: Path) -> None:
    """Straight through OpenVINO, as other programs use it; halved weights differ by their rounding, 2**-11 each."""
    compiled = openvino_core().compile_model(str(files / "one.xml"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert compiled.inputs[0].get_any_name() == "pixels"
    pixels = np.random.default_rng(3).integers(0, 256, (1, 64, 96, 3), dtype=np.uint8)
    found = compiled([pixels])["raw"]
    config = miniature_spec(NAME).preprocess
    normalised = ((pixels / 255 - np.array(config.mean)) / np.array(config.std)).transpose(0, 3, 1, 2)
    wanted = network(torch.from_numpy(normalised.astype(np.float32))).detach().numpy()
    assert 0 < np.abs(found - wanted).max() <= 0.0125 * np.abs(wanted).max()


def test_a_file_for_one_size_stretches_pictures_to_it(files: Path) -> None:
    predictor = load(files / "one.xml", precision="float32")
    assert network_size(300, 100, predictor.spec.preprocess) == (64, 96)
    pictures = [np.random.default_rng(n).integers(0, 256, (50, 40 + n, 3), dtype=np.uint8) for n in range(3)]
    together = predictor.predict_batch(pictures)
    for picture, result in zip(pictures, together, strict=True):
        assert result.provenance.network_size == (64, 96)
        np.testing.assert_array_equal(predictor.predict(picture).values, result.values)
    with pytest.raises(ConfigError, match="64x96"):
        load(files / "one.xml", size=128)
    with pytest.raises(ConfigError, match="64x96 alone: tta 'flip' can be had"):
        load(files / "one.xml", tta="ms-flip", scales=(1, 2))
    assert load(files / "one.xml", precision="float32", tta="flip").predict(pictures[0]).provenance.tta == "flip"
    with pytest.raises(ConfigError, match="network input 64x64: this file's graph takes 64x96 alone"):
        predictor.backend.predict(np.zeros((1, 3, 64, 64), np.float32))


def test_load_gives_what_the_network_gives(files: Path) -> None:
    """And its results say where the weights came from."""
    picture = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    results = [load(files / name, precision="float32").predict(picture) for name in ("any.xml", "any.onnx")]
    assert {result.provenance.weights_sha256 for result in results} == {SHA}
    assert [result.provenance.engine for result in results] == ["openvino", "onnx"]
    first, second = (result.values for result in results)
    assert np.abs(first - second).max() <= 2 * ROUNDING * np.abs(first).max()


@pytest.fixture
def no_trace(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is to be exported to OpenVINO, the graph of any.xml comes out of the converter."""
    model = openvino_core().read_model(files / "any.xml")
    monkeypatch.setitem(exporting._WRITERS, "openvino", lambda *_: lambda *given: write_openvino(model, *given))


@pytest.mark.usefixtures("no_trace")
def test_wrong_numbers_leave_nothing(network: DPT, tmp_path: Path) -> None:
    """A graph of other weights passes every check but that of its numbers."""
    spec, path = miniature_spec(NAME), tmp_path / "new.xml"
    with pytest.raises(OutputWriteError, match="numbers differ from PyTorch's"):
        export_model(spec, build_miniature(NAME, seed=7), path, Wanted("openvino"))
    assert list(tmp_path.iterdir()) == []
    export_model(spec, network, path, Wanted("openvino"))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["new.bin", "new.xml"]


def test_what_is_there_stays(network: DPT, copy: Path) -> None:
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    (copy / "any.xml").rename(copy / "elsewhere.xml")  # its .bin alone is enough to refuse
    for name, wanted in (("any.xml", Wanted("openvino")), ("any.onnx", Wanted("onnx"))):
        with pytest.raises(OutputWriteError, match="--force"):
            export_model(miniature_spec(NAME), network, copy / name, wanted)
    (copy / "elsewhere.xml").rename(copy / "any.xml")
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


@pytest.mark.parametrize("existing", [True, False])
def test_an_ir_is_both_files_or_none(copy: Path, monkeypatch: pytest.MonkeyPatch, existing: bool) -> None:
    """The .xml cannot take its name after the .bin has taken its."""
    model = openvino_core().read_model(copy / "one.xml")
    path = copy / "any.xml" if existing else copy / "new.xml"
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    rename = Path.replace

    def refuse(self: Path, target: Path) -> Path:
        if Path(target).name == path.name:
            raise OSError(28, "No space left on device", str(target))
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OutputWriteError, match="No space left"):
        write_openvino(model, path, Card(miniature_spec(NAME), GraphCard("float32", 32)), force=True)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("any.bin", _cut, "any.xml: not a readable IR"),
        ("any.bin", _flip, "any.bin: is not what was written with any.xml"),
        ("any.bin", Path.unlink, "any.xml: an IR is two files, and any.bin is not beside it"),
        ("any.xml", _cut, "any.xml: not a readable IR"),
        ("any.xml", lambda path: path.write_text("<html></html>"), "any.xml: not a readable IR"),
        ("any.onnx", _cut, "any.onnx: not an ONNX file, or not all of it"),
        ("any.onnx", lambda path: path.write_bytes(b""), "any.onnx: not written by dpt export"),
        ("any.onnx", lambda path: path.write_bytes(os.urandom(999)), "any.onnx: not"),
        ("any.onnx", Path.unlink, "any.onnx: no such model file"),
    ],
)
def test_damage_is_named_in_one_line(copy: Path, name: str, damage: object, message: str) -> None:
    damage(copy / name)  # type: ignore[operator]
    with pytest.raises(DptkitError, match=message) as caught:
        load(copy / name.replace(".bin", ".xml"))
    assert "\n" not in str(caught.value)


def test_a_foreign_file_is_none_of_ours(copy: Path) -> None:
    model = onnx.load(copy / "any.onnx")
    del model.metadata_props[:]
    onnx.save(model, copy / "foreign.onnx")
    with pytest.raises(WeightsError, match="not written by dpt export"):
        load(copy / "foreign.onnx")


def test_a_card_of_the_future_is_named() -> None:
    texts = Card(miniature_spec(NAME), GraphCard("int8", 32), {"calibrated on": "300 pictures"}).to_texts()
    assert read_texts(texts, "x").notes == {"calibrated on": "300 pictures"}
    for key, value in (("format", 2), ("colour", "red"), ("precision", "int2"), ("stride", 0)):
        changed = json.dumps({**json.loads(texts["dptkit_graph"]), key: value})
        with pytest.raises(WeightsError, match=f"x: dptkit_graph: {key}: "):
            read_texts({**texts, "dptkit_graph": changed}, "x")


@pytest.mark.parametrize(
    ("name", "wanted", "message"),
    [
        ("a.onnx", Wanted("openvino"), "must end in .xml"),
        ("a.onnx", Wanted("onnx", "bfloat16"), "float32 or float16, not bfloat16"),
        ("a.xml", Wanted("openvino", size=(64, 50)), "positive multiples of 32"),
        ("a.xml", Wanted("openvino", size=(0, 64)), "positive multiples of 32"),
    ],
)
def test_what_cannot_be_written_is_said_first(
    network: DPT, tmp_path: Path, name: str, wanted: Wanted, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        export_model(miniature_spec(NAME), network, tmp_path / name, wanted)


def test_missing_packages_are_named(network: DPT, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ConfigError, match=r"^format onnx needs onnx: pip install 'dptkit\[onnx\]'$"):
        export_model(miniature_spec(NAME), network, tmp_path / "a.onnx", Wanted("onnx"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("any.onnx", {"engine": "openvino"}, "runs on the engine onnx only"),
        ("any.onnx", {"precision": "bfloat16"}, "computes in float32"),
        ("any.xml", {"engine": "torch"}, "runs on the engine openvino only"),
    ],
)
def test_an_exported_file_has_its_engine(files: Path, name: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(files / name, **options)  # type: ignore[arg-type]


@pytest.mark.usefixtures("no_trace")
def test_nan_in_the_weights_is_no_export(tmp_path: Path) -> None:
    broken = build_miniature(NAME)
    with torch.no_grad():
        broken.head.conv1.weight[0, 0] = torch.nan
    with pytest.raises(OutputWriteError, match="NaN"):
        export_model(miniature_spec(NAME), broken, tmp_path / "x.xml", Wanted("openvino"))
    assert list(tmp_path.iterdir()) == []


def _pt2(path: Path, parts: dict[str, object]) -> Path:
    texts = Card(miniature_spec(NAME), GraphCard("float32", 32)).to_texts()
    with zipfile.ZipFile(path, "w") as archive:
        for key, text in texts.items():
            archive.writestr(f"a/extra/{key}", text)
        for name, part in parts.items():
            archive.writestr(f"a/{name}", json.dumps(part))
    return path


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"models/m.json": {"nodes": [{"target": "torch.hub.load", "inputs": []}]}}, "calls torch.hub.load"),
        ({"data/weights/w.json": {"config": {"w": {"use_pickle": True}}}}, "pickled tensors"),
        ({"models/m.json": {"dim": {"expr_str": "__import__('os').system('id')"}}}, "formula"),
        ({"models/m.json": {"dim": {"expr_str": "open('name', 'w')"}}}, "formula"),
        ({"models/m.json": {"guards_code": ["L['image'].size()[0] != exec('x')"]}}, "formula"),
        ({"data/aotinductor/m/x.so": 1}, "aotinductor"),
        ({"data/constants/custom_obj_0": 1}, "custom_obj"),
    ],
)
def test_a_pt2_that_could_run_code_is_refused(tmp_path: Path, parts: dict[str, object], reason: str) -> None:
    with pytest.raises(WeightsError, match=f"could run code.*{reason}"):
        load(_pt2(tmp_path / "evil.pt2", parts), device="cpu")


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("Mul(Integer(32), Symbol('s77', positive=True, integer=True))", True),
        ("FloorDiv(Add(Symbol('s1'), Integer(-1)), Integer(2))", True),
        ("1 + (-1 + L['image'].size()[3] // 8) // 2 != 1", True),
        ("Symbol('a').func", False),
        ("[print][0](1)", False),
        ("Symbol('a b')", False),
        ("(eval)('x')", False),
    ],
)
def test_formulas_of_sizes(text: str, allowed: bool) -> None:
    from dptkit.runtime.exported_program import _is_formula

    assert _is_formula(text) is allowed


def test_a_broken_pt2_is_one_line(tmp_path: Path) -> None:
    _cut(_pt2(tmp_path / "half.pt2", {}))
    with pytest.raises(WeightsError, match=r"not a readable \.pt2"):
        load(tmp_path / "half.pt2", device="cpu")
    (tmp_path / "junk.pt2").write_bytes(b"junk")
    with pytest.raises(WeightsError, match=r"not a readable \.pt2"):
        load(tmp_path / "junk.pt2", device="cpu")


@pytest.mark.skipif("DPTKIT_EXPORT_TESTS" not in os.environ, reason="torch.export takes half a minute for each graph")
@pytest.mark.parametrize("size", [None, (64, 96)])
def test_torch_export(network: DPT, tmp_path: Path, size: tuple[int, int] | None) -> None:
    path = tmp_path / "x.pt2"
    export_files(tmp_path, f"{{'x.pt2': Wanted('torch-export', size={size}, with_preprocess=True)}}")
    opened = open_exported(path, device="cpu")
    assert opened.card.graph.difference is not None
    assert opened.card.graph.difference <= ROUNDING
    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    assert load(path, device="cpu").predict(picture).provenance.engine == "torch"
