"""Where a model's weights are and what they are, without torch: the same answers as reading the tensors gives."""

from __future__ import annotations

import hashlib
import os
import struct
import time
from pathlib import Path

import pytest

from dptkit.errors import UnknownModelError, WeightsError
from dptkit.presets import PRESETS, Preset
from dptkit.source import WeightSource
from dptkit.weights import cache, locate
from dptkit.weights.load import load_model
from dptkit.weights.locate import locate_model, read_spec, remembered_sha256
from dptkit.weights.tensor_file import write_tensors
from miniatures import build_miniature, miniature_spec


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    write_tensors(path, build_miniature("dpt-hybrid").state_dict(), miniature_spec("dpt-hybrid"))
    return path


@pytest.mark.parametrize("name", ["dpt-lite", "dpt-lite-street"])
def test_a_bundled_model(name: str) -> None:
    located, loaded = locate_model(name), load_model(name)
    assert located is not None
    assert (located.spec, located.sha256) == (loaded.spec, loaded.sha256)


def test_a_model_file(model: Path) -> None:
    for given in (model, str(model)):
        located, loaded = locate_model(given), load_model(given)
        assert located is not None
        assert (located.spec, located.sha256) == (loaded.spec, loaded.sha256)


def test_weights_for_an_architecture(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = model.with_name("bare.pt")
    write_tensors(bare, build_miniature("dpt-hybrid").state_dict())
    monkeypatch.setitem(PRESETS, "dpt-hybrid", PRESETS["dpt-hybrid"].__class__(miniature_spec("dpt-hybrid"), 0))
    for file in (bare, model):
        located, loaded = locate_model("dpt-hybrid", file), load_model("dpt-hybrid", file)
        assert located is not None
        assert (located.spec, located.sha256) == (loaded.spec, loaded.sha256)


def test_what_only_the_tensors_can_tell_is_left_to_them(model: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.safetensors"
    write_tensors(bare, build_miniature("dpt-hybrid").state_dict())
    assert locate_model(bare) is None  # does not say which network it is for
    assert locate_model(model, bare) is None  # a model and weights
    assert locate_model("dpt-large", model) is None  # another network
    assert locate_model("dpt-large", tmp_path / "missing.pt") is None
    with pytest.raises(UnknownModelError, match="did you mean dpt-large"):
        locate_model("dpt-lagre")
    with pytest.raises(UnknownModelError, match="no such model file"):
        locate_model(tmp_path / "missing.safetensors")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"junk",
        struct.pack("<Q", 1 << 62),
        struct.pack("<Q", 5) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 20) + b'{"__metadata__":null}'[:20],
        struct.pack("<Q", 35) + b'{"__metadata__":{"dptkit":"no spec"}}'[:35],
        struct.pack("<Q", 37) + b'{"__metadata__":{"dptkit":"no spec"}}',
        struct.pack("<Q", 2) + b"\xff\xfe",
    ],
)
def test_a_broken_header_is_no_specification(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(data)
    assert read_spec(path) is None


def settled(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the file had been written long ago. Its inode's time cannot be set, so the wait is shortened instead."""
    os.utime(path, (1e9, 1e9))
    monkeypatch.setattr(locate, "_SETTLED_NS", 0)
    time.sleep(0.02)


def test_a_hash_is_remembered_and_forgotten_with_any_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, hashes = tmp_path / "net.pt", tmp_path / "hashes"
    path.write_bytes(b"first")
    settled(path, monkeypatch)
    first = hashlib.sha256(b"first").hexdigest()
    assert remembered_sha256(path, hashes) == first
    with monkeypatch.context() as patch:
        patch.setattr(locate, "sha256_of", lambda path: pytest.fail("hashed again"))
        assert remembered_sha256(path, hashes) == first
    path.write_bytes(b"other")  # as long
    os.utime(path, (1e9, 1e9))  # and as old
    assert remembered_sha256(path, hashes) == hashlib.sha256(b"other").hexdigest()
    replacement = tmp_path / "new.pt"
    replacement.write_bytes(b"third")
    os.utime(replacement, (1e9, 1e9))
    replacement.replace(path)
    assert remembered_sha256(path, hashes) == hashlib.sha256(b"third").hexdigest()


def test_a_file_just_written_is_not_remembered(tmp_path: Path) -> None:
    """Within the clock's resolution it could change and look the same."""
    path = tmp_path / "net.pt"
    path.write_bytes(b"first")
    remembered_sha256(path, tmp_path / "hashes")
    assert not (tmp_path / "hashes").exists()


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"file": 1, "sha256": 2}'])
def test_a_broken_memory_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    path, hashes = tmp_path / "net.pt", tmp_path / "hashes"
    path.write_bytes(b"first")
    settled(path, monkeypatch)
    wanted = remembered_sha256(path, hashes)
    (memory,) = hashes.iterdir()
    memory.write_bytes(content)
    assert remembered_sha256(path, hashes) == wanted


def test_no_place_to_remember_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, blocked = tmp_path / "net.pt", tmp_path / "file"
    path.write_bytes(b"first")
    blocked.touch()
    settled(path, monkeypatch)
    assert remembered_sha256(path, blocked / "hashes") == hashlib.sha256(b"first").hexdigest()
    with pytest.raises(WeightsError, match=r"missing\.pt: cannot be read"):
        remembered_sha256(tmp_path / "missing.pt", tmp_path)


def test_published_weights_are_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And again after any change: then the check of the cache speaks, as it does at every start without a memory."""
    monkeypatch.setenv("DPTKIT_CACHE", str(tmp_path))
    monkeypatch.setenv("DPTKIT_OFFLINE", "1")
    path, hashes = tmp_path / "net.pt", tmp_path / "hashes"
    path.write_bytes(b"published")
    settled(path, monkeypatch)
    source = WeightSource(
        "net.pt", "https://example.org/net.pt", "isl", sha256=hashlib.sha256(b"published").hexdigest()
    )
    monkeypatch.setitem(PRESETS, "dpt-hybrid", Preset(miniature_spec("dpt-hybrid"), 0, (source,)))
    first = locate_model("dpt-hybrid", hashes=hashes)
    assert first is not None
    assert (first.path, first.sha256) == (path, source.sha256)
    with monkeypatch.context() as patch:
        patch.setattr(cache, "sha256_of", lambda path: pytest.fail("hashed again"))
        patch.setattr(locate, "sha256_of", lambda path: pytest.fail("hashed again"))
        assert locate_model("dpt-hybrid", hashes=hashes) == first
    path.write_bytes(b"tampered!")  # as long
    os.utime(path, (1e9, 1e9))  # and as old
    with pytest.raises(WeightsError, match="SHA-256 should be"):
        locate_model("dpt-hybrid", hashes=hashes)
    # A remembered hash is no licence: a file that was remembered, but is not the published one, is refused.
    remembered_sha256(path, hashes)
    assert len(list(hashes.iterdir())) == 1
    with pytest.raises(WeightsError, match="SHA-256 should be"):
        locate_model("dpt-hybrid", hashes=hashes)
