"""Weight files: whole, wrapped, broken, hostile. Each refusal is one line that names the file."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from dptkit.errors import ConfigError, OutputWriteError, UnknownModelError, WeightsError
from dptkit.presets import PRESETS
from dptkit.weights.load import load_model
from dptkit.weights.tensor_file import SPEC_KEY, read_tensors, write_tensors

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.count": torch.tensor(7)}


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return list(ours) == list(theirs) and all(
        torch.equal(ours[k], theirs[k]) and ours[k].dtype == theirs[k].dtype for k in ours
    )


def refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        read_tensors(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_tensors_survive_a_file_to_the_bit(tmp_path: Path, suffix: str, dtype: torch.dtype) -> None:
    state = {"b": torch.randn(3, 4).to(dtype), "a.count": torch.tensor(7), "empty": torch.zeros(0, 2)}
    write_tensors(tmp_path / f"net{suffix}", state)
    tensors, spec = read_tensors(tmp_path / f"net{suffix}")
    assert same(dict(sorted(tensors.items())), dict(sorted(state.items())))
    assert spec is None


def test_views_are_written_as_what_they_show(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    write_tensors(tmp_path / "net.safetensors", {"t": base.T, "s": base[:, 1]})
    tensors = read_tensors(tmp_path / "net.safetensors").tensors
    assert torch.equal(tensors["t"], base.T)
    assert torch.equal(tensors["s"], base[:, 1])


@pytest.mark.parametrize("name", ["dpt-lite", "dpt-hybrid-kitti", "dpt-large-ade20k"])
def test_the_specification_travels_with_a_safetensors_file(tmp_path: Path, name: str) -> None:
    write_tensors(tmp_path / "net.safetensors", STATE, PRESETS[name].spec)
    assert read_tensors(tmp_path / "net.safetensors").spec == PRESETS[name].spec


def test_a_wrong_specification_is_named(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "net.safetensors", metadata={SPEC_KEY: json.dumps({"name": "x"})})
    with pytest.raises(ConfigError, match=r"net\.safetensors: model"):
        read_tensors(tmp_path / "net.safetensors")


def test_the_same_model_is_the_same_file(tmp_path: Path) -> None:
    """So that a repeated run can be told by its hash. Unsorted, the order is one of 720, each time."""
    notes = {"b": "é", "a": 'a "quoted" one', "d": "\n", "c": ""}
    files = [tmp_path / f"{number}.safetensors" for number in range(4)]
    for file in files:
        write_tensors(file, STATE, notes=notes)
    assert len({file.read_bytes() for file in files}) == 1
    read = read_tensors(files[0]).tensors
    assert same({name: read[name] for name in STATE}, STATE)
    with safe_open(files[0], framework="pt") as opened:
        assert {key: opened.metadata()[key] for key in notes} == notes


def test_metadata_says_which_version_wrote_it(tmp_path: Path) -> None:
    write_tensors(tmp_path / "net.safetensors", STATE)
    with safe_open(tmp_path / "net.safetensors", framework="pt") as file:
        assert file.metadata()["format"] == "pt"  # transformers asks for it
        assert file.metadata()["dptkit_version"]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"model": state, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}, "epoch": 3},
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model_state_dict": state},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"model": {f"module.{name}": tensor for name, tensor in state.items()}, "epoch": 3},
        lambda state: {**state, "note": "not a tensor"},
        torch.nn.ParameterDict,
    ],
    ids=["training", "state_dict", "model_state_dict", "nested", "parallel", "wrapped-parallel", "note", "parameters"],
)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_wrappers_are_taken_off(tmp_path: Path, wrap: Callable[..., object], zipped: bool) -> None:
    if wrap is torch.nn.ParameterDict:
        content = torch.nn.ParameterDict({"a_weight": STATE["a.weight"]}).state_dict()
        expected = {"a_weight": STATE["a.weight"]}
    else:
        content, expected = wrap(STATE), STATE
    torch.save(content, tmp_path / "net.pt", _use_new_zipfile_serialization=zipped)
    assert same(read_tensors(tmp_path / "net.pt").tensors, expected)


def test_a_prefix_of_only_some_names_stays(tmp_path: Path) -> None:
    state = {"module.a": torch.zeros(1), "b": torch.zeros(1)}
    torch.save(state, tmp_path / "net.pt")
    assert set(read_tensors(tmp_path / "net.pt").tensors) == set(state)


class Touches:
    """Unpickling this creates a file: what a hostile checkpoint would use to do worse."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["net.pt", "net.pth", "net.bin", "net.ckpt"])
@pytest.mark.parametrize(
    "writer",
    [
        "torch",
        "legacy",
        "pickle",
        "new pickle",
    ],
)
def test_a_file_that_brings_code_is_refused_and_runs_nothing(tmp_path: Path, name: str, writer: str) -> None:
    proof, path = tmp_path / "proof", tmp_path / name
    content = {"model": STATE, "extra": Touches(proof)}
    if "pickle" in writer:
        path.write_bytes(pickle.dumps(content, protocol=2 if writer == "pickle" else 4))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=writer == "torch")
    assert "could run code" in refusal(path)
    assert not proof.exists()
    pickle.loads(path.read_bytes()) if "pickle" in writer else torch.load(path, weights_only=False)
    assert proof.exists(), "the file is hostile indeed"


def test_a_whole_pickled_module_is_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "net.pt")
    assert "could run code" in refusal(tmp_path / "net.pt")


@pytest.mark.parametrize("name", ["net.pt", "net.pth", "net.safetensors"])
@pytest.mark.parametrize(
    "content",
    [b"", b"hello world\n", b"<!DOCTYPE html>\n<html>Not Found</html>\n", b"\x80\x02", b"PK\x03\x04", b"\x00" * 100],
    ids=["empty", "text", "html", "pickle-start", "zip-start", "zeros"],
)
def test_what_is_no_weight_file_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    refusal(tmp_path / name)


@pytest.mark.parametrize("content", [b"<!DOCTYPE html>\n<html>Not Found</html>\n", b'{"error": "not found"}'])
def test_a_saved_error_page_is_not_called_dangerous(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net.pt").write_bytes(content)
    assert "could run code" not in refusal(tmp_path / "net.pt")


@pytest.mark.parametrize("opcodes", [b"t.", b"J\x01"], ids=["tuple-of-nothing", "cut-number"])
def test_a_broken_pickle_is_refused(tmp_path: Path, opcodes: bytes) -> None:
    (tmp_path / "net.pt").write_bytes(b"\x80\x02" + opcodes)
    refusal(tmp_path / "net.pt")


def test_a_legacy_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    """Format before PyTorch 1.6, which many published checkpoints are in."""
    path = tmp_path / "net.pt"
    torch.save({"a": torch.randn(20, 10), "b": torch.randn(5)}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    for length in range(len(data) - 1):
        path.write_bytes(data[:length])
        refusal(path)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", ["net.pt", "net.safetensors"])
def test_a_truncated_file_is_refused(tmp_path: Path, name: str, share: float) -> None:
    write_tensors(tmp_path / name, {"a": torch.randn(200, 10), "b": torch.randn(5)})
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * share)])
    refusal(tmp_path / name)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: (2**62).to_bytes(8, "little") + data[8:],
        lambda data: (3).to_bytes(8, "little") + data[8:],
        lambda data: data[:8] + b"[" + data[9:],
        lambda data: data[:8] + b"\xff" * 5 + data[13:],
        lambda data: data.replace(b'"F32"', b'"F99"'),
        lambda data: data.replace(b"[2,3]", b"[9,9]"),
        lambda data: data + b"tail",
    ],
    ids=["length-huge", "length-short", "not-json", "not-utf8", "type", "shape", "tail"],
)
def test_a_corrupted_safetensors_header_is_refused(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "net.safetensors"
    write_tensors(path, STATE)
    data = path.read_bytes()
    assert spoil(data) != data
    path.write_bytes(spoil(data))
    assert "not a readable safetensors file" in refusal(path)


@pytest.mark.parametrize("name", ["net.pt", "net.safetensors"])
def test_missing_files_and_folders_are_refused(tmp_path: Path, name: str) -> None:
    assert "no such weight file" in refusal(tmp_path / name)
    (tmp_path / name).mkdir()
    refusal(tmp_path / name)


@pytest.mark.parametrize("content", [{}, {"model": {}}, [1, 2], 3, {"epoch": 3}, torch.zeros(3)], ids=str)
def test_a_file_without_a_state_dict_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "net.pt")
    assert "holds no state dict" in refusal(tmp_path / "net.pt")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    write_tensors(path, STATE)
    before = path.read_bytes()
    with pytest.raises(Exception):  # noqa: B017, PT011 (whatever the writer says)
        write_tensors(path, {"a": torch.zeros(2, device="meta")})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_folder_in_the_way_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "net.safetensors").mkdir()
    with pytest.raises(OutputWriteError, match="cannot write"):
        write_tensors(tmp_path / "net.safetensors", STATE)


class TestLoadModel:
    def test_a_preset_takes_weights_of_its_own_network_only(self, tmp_path: Path) -> None:
        write_tensors(tmp_path / "net.safetensors", STATE, PRESETS["dpt-hybrid"].spec)
        with pytest.raises(WeightsError, match="holds the network of dpt-hybrid, not that of dpt-large"):
            load_model("dpt-large", tmp_path / "net.safetensors")

    def test_bare_tensors_need_an_architecture(self, tmp_path: Path) -> None:
        write_tensors(tmp_path / "net.safetensors", STATE)
        with pytest.raises(WeightsError, match="does not say which network it is for"):
            load_model(tmp_path / "net.safetensors")

    def test_a_whole_model_takes_no_other_weights(self, tmp_path: Path) -> None:
        write_tensors(tmp_path / "net.safetensors", STATE, PRESETS["dpt-lite"].spec)
        with pytest.raises(WeightsError, match="is a whole model already"):
            load_model(tmp_path / "net.safetensors", tmp_path / "net.safetensors")

    @pytest.mark.parametrize("model", ["missing.safetensors", "folder/missing", "dpt-larg"])
    def test_unknown_models_are_named(self, model: str) -> None:
        with pytest.raises(UnknownModelError, match=model):
            load_model(model)

    def test_missing_weights_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="no such weight file"):
            load_model("dpt-lite", tmp_path / "missing.pt")

    def test_the_bundled_model_loads(self) -> None:
        loaded = load_model("dpt-lite")
        assert loaded.spec == PRESETS["dpt-lite"].spec
        assert sum(p.numel() for p in loaded.network.parameters()) == PRESETS["dpt-lite"].parameters
        assert len(loaded.sha256) == 64
