"""The cache of compiled models: what is damaged, old or another's is never used, and it stays within its size."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dptkit.runtime.compiled_cache import CompiledCache

FACTS = {"weights": "a" * 64, "engine": "fake", "version": "1", "precision": "float32"}
CONTENT = bytes(range(256)) * 40


def write(folder: Path) -> None:
    (folder / "model.blob").write_bytes(CONTENT)
    (folder / "stride.json").write_text("32")


@pytest.fixture
def cache(tmp_path: Path) -> CompiledCache:
    return CompiledCache(tmp_path / "models")


def names(cache: CompiledCache) -> list[str]:
    return sorted(path.name for path in cache.folder.iterdir()) if cache.folder.exists() else []


def test_what_was_stored_is_found(cache: CompiledCache) -> None:
    assert cache.find(FACTS) is None
    entry = cache.store(FACTS, write)
    assert entry is not None
    assert cache.find(FACTS) == entry
    assert (entry / "model.blob").read_bytes() == CONTENT
    assert names(cache) == [entry.name], "drafts are gone"


@pytest.mark.parametrize("fact", FACTS)
def test_any_other_fact_is_another_entry(cache: CompiledCache, fact: str) -> None:
    cache.store(FACTS, write)
    assert cache.find({**FACTS, fact: "other"}) is None
    assert cache.find(FACTS) is not None


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def edit(path: Path, change: Callable[[dict[str, dict[str, str]]], object]) -> None:
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


FAULTS: dict[str, Callable[[Path], object]] = {
    "one bit": lambda entry: flip(entry / "model.blob"),
    "truncated": lambda entry: os.truncate(entry / "model.blob", len(CONTENT) - 1),
    "empty": lambda entry: os.truncate(entry / "model.blob", 0),
    "longer": lambda entry: (entry / "model.blob").write_bytes(CONTENT + b"x"),
    "part missing": lambda entry: (entry / "stride.json").unlink(),
    "part added": lambda entry: (entry / "more.bin").write_bytes(b""),
    "small part": lambda entry: (entry / "stride.json").write_text("16"),
    "no record": lambda entry: (entry / "entry.json").unlink(),
    "half a record": lambda entry: os.truncate(entry / "entry.json", 40),
    "record is a list": lambda entry: (entry / "entry.json").write_text("[]"),
    "record is binary": lambda entry: (entry / "entry.json").write_bytes(b"\xff\xfe\x00"),
    "parts are numbers": lambda entry: edit(entry / "entry.json", lambda record: record.update(parts=3)),
    "no hash": lambda entry: edit(entry / "entry.json", lambda record: record["parts"]["model.blob"].pop("sha256")),
    "other version": lambda entry: edit(entry / "entry.json", lambda record: record["facts"].update(version="0")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_entry_is_removed_and_said(
    cache: CompiledCache, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    entry = cache.store(FACTS, write)
    assert entry is not None
    FAULTS[fault](entry)
    with caplog.at_level(logging.WARNING, "dptkit"):
        assert cache.find(FACTS) is None
    assert "making it anew" in caplog.text
    assert names(cache) == []
    assert cache.store(FACTS, write) == entry
    assert cache.find(FACTS) == entry


def test_a_writer_that_fails_leaves_nothing(cache: CompiledCache) -> None:
    def fail(folder: Path) -> None:
        write(folder)
        raise ValueError("cannot convert")

    with pytest.raises(ValueError, match="cannot convert"):
        cache.store(FACTS, fail)
    assert names(cache) == []


def test_a_disk_that_refuses_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = CompiledCache(tmp_path / "file" / "models")
    assert cache.store(FACTS, write) is None
    assert cache.find(FACTS) is None


def test_the_entry_used_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = CompiledCache(tmp_path, limit=int(2.6 * len(CONTENT)))
    facts = [{**FACTS, "version": str(number)} for number in range(3)]
    for number in (0, 1):
        entry = cache.store(facts[number], write)
        assert entry is not None
        os.utime(entry / "entry.json", (time.time() - 100 + number,) * 2)
    assert cache.find(facts[0]) is not None  # used just now, and so newer than 1
    cache.store(facts[2], write)
    assert [cache.find(one) is not None for one in facts] == [True, False, True]


def test_an_entry_above_the_size_is_not_kept_and_throws_nobody_out(tmp_path: Path) -> None:
    cache = CompiledCache(tmp_path, limit=2 * len(CONTENT))
    cache.store(FACTS, write)
    assert cache.store({**FACTS, "version": "2"}, lambda folder: (folder / "x").write_bytes(3 * CONTENT)) is None  # type: ignore[arg-type,return-value]
    assert cache.find(FACTS) is not None
    assert len(names(cache)) == 1


def test_what_a_killed_process_left_is_removed_later(cache: CompiledCache) -> None:
    cache.store(FACTS, write)
    old, young = cache.folder / ".old.1-aa", cache.folder / ".young.2-bb"
    for draft in (old, young):
        draft.mkdir()
        write(draft)
    os.utime(old, (time.time() - 2 * 3600,) * 2)
    cache.store({**FACTS, "version": "2"}, write)
    assert not old.exists()
    assert young.exists(), "somebody may be writing it"


def test_writers_at_once_leave_one_whole_entry(cache: CompiledCache) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: cache.store(FACTS, write), range(24)))
    assert cache.find(FACTS) is not None
    assert len(names(cache)) == 1
