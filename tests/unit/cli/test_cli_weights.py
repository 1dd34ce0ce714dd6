"""`dpt models`, `dpt pull` and `dpt convert`, in process; downloads come from a server on this machine."""

from __future__ import annotations

import functools
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from cli_runner import dpt, files_below, save_picture
from torch import Tensor

from dptkit import load
from dptkit.model.build import build_model
from dptkit.presets import PRESETS, Preset
from dptkit.source import WeightSource
from dptkit.weights.convert import convert_from_ours
from dptkit.weights.tensor_file import read_tensors, write_tensors
from miniatures import build_miniature, miniature_spec

FILENAME = "net-test.pt"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no way to the network."""
    monkeypatch.setenv("DPTKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DPTKIT_MIRROR", "http://127.0.0.1:9/closed")
    return tmp_path / "cache"


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that a server on this machine serves in the place of the publisher's host."""
    folder = tmp_path / "mirror"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("DPTKIT_MIRROR", f"http://127.0.0.1:{server.server_address[1]}")
    try:
        yield folder
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


@pytest.fixture
def published(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """dpt-hybrid in miniature, published on the mirror in the original's layout. Returns its tensors, our names."""
    spec = miniature_spec("dpt-hybrid")
    tensors = build_miniature("dpt-hybrid").state_dict()
    write_tensors(mirror / FILENAME, convert_from_ours(tensors, spec.model, "isl"))
    sha256 = hashlib.sha256((mirror / FILENAME).read_bytes()).hexdigest()
    source = WeightSource(FILENAME, f"https://example.org/{FILENAME}", "isl", sha256=sha256)
    monkeypatch.setitem(PRESETS, "dpt-hybrid", Preset(spec, 0, (source,)))
    return tensors


def assert_equal_to_the_bit(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert set(found) == set(wanted)
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name


def test_models_is_a_table_of_every_preset() -> None:
    ran = dpt("models")
    assert ran.code == 0
    header, *rows = ran.lines
    for column in ("name", "task", "parameters", "size", "licence", "weights"):
        assert column in header
    assert [row.split()[0] for row in rows] == list(PRESETS)
    lite, large = rows[0], rows[2]
    assert "bundled" in lite
    assert "341.8 M" in large
    assert "dpt pull" in large
    start = header.index("licence")
    assert {row[start : start + 3] for row in rows} == {"MIT", "CC-"}  # the columns line up


def test_models_as_json() -> None:
    ran = dpt("models", "--json")
    rows = json.loads("\n".join(ran.lines))
    assert [row["name"] for row in rows] == list(PRESETS)
    for row in rows:
        assert {"name", "task", "parameters", "license", "size", "weights"} <= set(row)
        assert row["size"] > row["parameters"]


def test_models_says_all_of_one(tmp_path: Path) -> None:
    """Of a run's file what a user must know before using its numbers: unit, range, input, licence; or its classes."""
    spec = replace(PRESETS["dpt-hybrid-kitti"].spec, name="mine", license="CC-BY-4.0", trained_on="my street")
    write_tensors(tmp_path / "mine.safetensors", {"nothing": torch.zeros(1)}, spec)
    ran = dpt("models", tmp_path / "mine.safetensors")
    assert ran.code == 0
    lines = {line[:12].strip(): line[12:] for line in ran.lines}
    assert (lines["name"], lines["gives"], lines["licence"]) == ("mine", "metres, to 80", "CC-BY-4.0")
    assert lines["input"].startswith("352x1216 (height x width)")
    assert lines["trained on"] == "my street"
    street = json.loads("\n".join(dpt("models", "dpt-lite-street", "--json").lines))
    assert (street["classes"][0], street["license"]) == ("sky", "CC-BY-NC-4.0")
    torch.save({"a": torch.zeros(1)}, tmp_path / "bare.pt")
    for model, said in (("bare.pt", "carries no specification"), ("nowhere.pt", "no such model file")):
        failed = dpt("models", tmp_path / model)
        assert failed.code in (1, 2)
        assert said in failed.errors[0]


def test_pull_fetches_once_and_models_shows_it(published: dict[str, Tensor], cache: Path) -> None:
    def state() -> str:
        rows = json.loads("\n".join(dpt("models", "--json").lines))
        return next(row["weights"] for row in rows if row["name"] == "dpt-hybrid")

    assert state() == "dpt pull"
    for _ in range(2):
        ran = dpt("pull", "dpt-hybrid", "dpt-lite")
        assert ran.code == 0
        assert ran.lines[0] == f"dpt-hybrid: {cache / FILENAME}"
        assert ran.lines[1].startswith("dpt-lite: ")
    assert state() == "in cache"
    assert not [name for name in files_below(cache) if name.endswith(".part")]
    assert_equal_to_the_bit(
        dict(load("dpt-hybrid", engine="torch", device="cpu").backend._network.state_dict()), published
    )  # type: ignore[attr-defined]


def test_pulled_weights_work_offline(
    published: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dpt("pull", "dpt-hybrid")
    monkeypatch.setenv("DPTKIT_OFFLINE", "1")
    path = save_picture(tmp_path / "a.png")
    ran = dpt("depth", path, "--model", "dpt-hybrid", "-o", tmp_path / "out", "--size", "32", "--device", "cpu")
    assert ran.code == 0


def test_weights_are_downloaded_when_first_needed(published: dict[str, Tensor], tmp_path: Path, cache: Path) -> None:
    path = save_picture(tmp_path / "a.png")
    options = ("--model", "dpt-hybrid", "-o", tmp_path / "out", "--size", "32", "--device", "cpu", "--json")
    ran = dpt("depth", path, *options)
    assert ran.code == 0
    assert len(ran.records) == 1  # what the download says is on standard error
    assert (cache / FILENAME).is_file()


@pytest.mark.usefixtures("published")
def test_a_download_of_other_bytes_is_refused(mirror: Path, cache: Path) -> None:
    (mirror / FILENAME).write_bytes(b"x" * 1000)
    ran = dpt("pull", "dpt-hybrid")
    assert ran.code == 1
    assert FILENAME in ran.errors[-1]
    assert FILENAME not in files_below(cache)


def test_pull_of_an_unknown_name_fetches_nothing(published: dict[str, Tensor], cache: Path) -> None:
    ran = dpt("pull", "dpt-hybrid", "dpt-larg")
    assert (ran.code, ran.errors) == (2, ["dpt: dpt-larg: no such model or file; did you mean dpt-large?"])
    assert not cache.exists()


def test_offline_and_by_hand_say_where_to_put_the_file(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setenv("DPTKIT_OFFLINE", "1")
    for name in ("dpt-large", "dpt-hybrid-nyu-new"):
        ran = dpt("pull", name)
        assert ran.code == 1
        assert len(ran.errors) == 1
        assert str(cache / PRESETS[name].sources[0].filename) in ran.errors[0]


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("layout", ["isl", "hf"])
@pytest.mark.parametrize("name", ["dpt-hybrid", "dpt-large", "dpt-large-ade20k", "dpt-hybrid-nyu"])
def test_convert_there_and_back_is_equal_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, layout: str, suffix: str
) -> None:
    spec, tensors = miniature_spec(name), build_miniature(name).state_dict()
    monkeypatch.setitem(PRESETS, name, Preset(spec, 0))
    mine, theirs, back = tmp_path / "mine.safetensors", tmp_path / f"theirs{suffix}", tmp_path / "back.safetensors"
    write_tensors(mine, tensors, spec)
    there = dpt("convert", mine, theirs, "--to", layout)
    assert (there.code, there.errors) == (0, [])
    assert set(read_tensors(theirs).tensors) != set(tensors)
    again = dpt("convert", theirs, back, "--to", "dptkit", "--model", name)
    assert (again.code, again.errors) == (0, [])
    found = read_tensors(back)
    assert found.spec == spec
    assert_equal_to_the_bit(found.tensors, tensors)


def test_convert_of_a_model_by_name(tmp_path: Path) -> None:
    assert dpt("convert", "dpt-lite", tmp_path / "lite.safetensors", "--to", "dptkit").code == 0
    found, wanted = load(tmp_path / "lite.safetensors", engine="torch").spec, PRESETS["dpt-lite"].spec
    assert found == wanted


def test_convert_finds_out_which_network_or_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("dpt-hybrid", "dpt-hybrid-nyu", "dpt-large"):
        monkeypatch.setitem(PRESETS, name, Preset(miniature_spec(name), 0))
    for name in ("dpt-hybrid", "dpt-large"):
        layout = convert_from_ours(build_miniature(name).state_dict(), miniature_spec(name).model, "isl")
        write_tensors(tmp_path / f"{name}.pt", layout)
    assert dpt("convert", tmp_path / "dpt-large.pt", tmp_path / "1.safetensors", "--to", "dptkit").code == 0
    assert read_tensors(tmp_path / "1.safetensors").spec == miniature_spec("dpt-large")
    ran = dpt("convert", tmp_path / "dpt-hybrid.pt", tmp_path / "2.safetensors", "--to", "dptkit")
    assert ran.code == 2
    assert "dpt-hybrid, dpt-hybrid-nyu" in ran.errors[0]
    assert "--model" in ran.errors[0]
    assert not (tmp_path / "2.safetensors").exists()


def test_convert_of_precision(tmp_path: Path) -> None:
    spec, tensors = miniature_spec("dpt-large"), build_miniature("dpt-large").state_dict()
    write_tensors(tmp_path / "a.safetensors", tensors, spec)
    halve = ("--to", "dptkit", "--precision", "float16")
    ran = dpt("convert", tmp_path / "a.safetensors", tmp_path / "b.safetensors", *halve)
    assert ran.code == 0
    halved = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    assert_equal_to_the_bit(read_tensors(tmp_path / "b.safetensors").tensors, halved)
    tensors["head.conv3.bias"].fill_(1e6)
    write_tensors(tmp_path / "huge.safetensors", tensors, spec)
    huge = dpt("convert", tmp_path / "huge.safetensors", tmp_path / "c.safetensors", *halve)
    assert huge.code == 1
    assert "too large for float16" in huge.errors[0]
    assert not (tmp_path / "c.safetensors").exists()


def test_convert_replaces_nothing_unless_forced(tmp_path: Path) -> None:
    target = tmp_path / "there.safetensors"
    target.write_text("mine")
    refused = dpt("convert", "dpt-lite", target, "--to", "dptkit")
    assert refused.code == 1
    assert "--force" in refused.errors[0]
    assert target.read_text() == "mine"
    assert dpt("convert", "dpt-lite", target, "--to", "dptkit", "--force").code == 0
    assert read_tensors(target).spec is not None


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["dpt-lite", "x.safetensors", "--to", "isl2"], 2, "did you mean isl?"),
        (["dpt-lite", "x.pt", "--to", "dptkit"], 2, "must end in .safetensors"),
        (["dpt-lite", "x.pt", "--to", "isl"], 1, "dpt-lite has no isl layout"),
        (["missing.pt", "x.safetensors", "--to", "dptkit"], 2, "missing.pt: no such model file"),
        (["dpt-lite", "x.safetensors", "--to", "dptkit", "--precision", "half"], 2, "--precision"),
        (["dpt-lite", "x.safetensors"], 2, "--to"),
        (["dpt-lite", "file/x.safetensors", "--to", "dptkit"], 1, "cannot write"),
    ],
)
def test_convert_that_cannot_be_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    ran = dpt("convert", *arguments)
    assert ran.code == code
    assert said in ran.errors[-1]
    assert files_below(tmp_path) == {"file"}


@pytest.mark.slow
def test_own_weights_in_the_real_architecture(tmp_path: Path) -> None:
    """dpt-hybrid at full size: the file is half a gigabyte."""
    spec = PRESETS["dpt-hybrid"].spec
    torch.manual_seed(0)
    network = build_model(spec.model)
    file = tmp_path / "mine.pt"
    write_tensors(file, convert_from_ours(network.state_dict(), spec.model, "isl"))
    path = save_picture(tmp_path / "a.png")
    options = ("--model", "dpt-hybrid", "--weights", file, "-o", tmp_path / "out", "--size", "64", "--device", "cpu")
    assert dpt("depth", path, *options).code == 0
    assert_equal_to_the_bit(
        dict(load("dpt-hybrid", weights=file, engine="torch", device="cpu").backend._network.state_dict()),  # type: ignore[attr-defined]
        network.state_dict(),
    )
