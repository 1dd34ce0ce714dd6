"""Where weights lie, and that only the expected file counts as one."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from dptkit.errors import WeightsError
from dptkit.source import WeightSource
from dptkit.weights import cache

DATA = b"weights" * 1000
DIGEST = hashlib.sha256(DATA).hexdigest()


def a_source(sha256: str | None = DIGEST, **fields: object) -> WeightSource:
    return WeightSource(
        **{"filename": "net.bin", "url": "https://host/net.bin", "layout": "isl"} | {"sha256": sha256} | fields
    )


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DPTKIT_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("DPTKIT_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/ada")
    return Path("/home/ada")


def test_cache_directory_of_each_platform(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache.cache_directory() == home / ".cache/dptkit"
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/xdg")
    assert cache.cache_directory() == Path("/var/xdg/dptkit")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache.cache_directory() == home / ".cache/dptkit"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache.cache_directory() == home / "Library/Caches/dptkit"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/appdata")
    assert cache.cache_directory() == Path("/appdata/dptkit/Cache")


def test_the_environment_decides_first_and_is_read_each_time(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPTKIT_CACHE", "~/mine")
    assert cache.cache_directory() == home / "mine"
    monkeypatch.setenv("DPTKIT_CACHE", "here")
    assert cache.cache_directory() == Path.cwd() / "here"


def test_is_cached_is_about_the_final_name_only(folder: Path) -> None:
    assert not cache.is_cached(a_source())
    (folder / "net.bin.part").write_bytes(DATA)
    assert not cache.is_cached(a_source())
    (folder / "net.bin").mkdir()
    assert not cache.is_cached(a_source())
    (folder / "net.bin").rmdir()
    (folder / "net.bin").write_bytes(DATA)
    assert cache.is_cached(a_source())
    assert cache.cached_path(a_source()) == folder / "net.bin"


def test_sha256_of_reports_its_progress(folder: Path) -> None:
    big = bytes(range(256)) * 10000
    (folder / "f").write_bytes(big)
    calls: list[tuple[int, int | None]] = []
    assert (
        cache.sha256_of(folder / "f", lambda done, total: calls.append((done, total)))
        == hashlib.sha256(big).hexdigest()
    )
    assert len(calls) == 3
    assert calls[-1] == (2560000, 2560000)


def test_an_unreadable_file_is_one_line(folder: Path) -> None:
    with pytest.raises(WeightsError, match=r"absent: cannot be read: No such file"):
        cache.sha256_of(folder / "absent")


@pytest.mark.parametrize("digits", [8, 13, 64])
def test_verify_takes_the_published_prefix_or_the_whole(folder: Path, digits: int) -> None:
    path = folder / "net.bin"
    path.write_bytes(DATA)
    assert cache.verify(path, a_source(DIGEST[:digits])) == DIGEST
    path.write_bytes(DATA[:-1])
    found = hashlib.sha256(DATA[:-1]).hexdigest()
    with pytest.raises(WeightsError) as caught:
        cache.verify(path, a_source(DIGEST[:digits]))
    assert all(text in str(caught.value) for text in (str(path), DIGEST[:digits], found))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("published", [None, DIGEST[:8]])
def test_a_recorded_hash_guards_what_publication_does_not(folder: Path, published: str | None) -> None:
    path, source = folder / "net.bin", a_source(published)
    path.write_bytes(DATA)
    cache.record(path, source, cache.verify(path, source))
    assert (folder / "net.bin.sha256").read_text() == f"{DIGEST}  net.bin\n"
    assert cache.verify(path, source) == DIGEST
    # A forged file with the same published prefix cannot be made here, so the record is changed instead of the file.
    other = DIGEST[:-1] + ("0" if DIGEST[-1] != "0" else "1")
    (folder / "net.bin.sha256").write_text(f"{other}  net.bin\n")
    with pytest.raises(WeightsError, match=r"net\.bin\.sha256.*delete that"):
        cache.verify(path, source)


def test_no_record_where_the_full_hash_is_published(folder: Path) -> None:
    (folder / "net.bin").write_bytes(DATA)
    cache.record(folder / "net.bin", a_source(), DIGEST)
    assert [file.name for file in folder.iterdir()] == ["net.bin"]


def test_a_record_of_another_release_is_out_of_date(folder: Path) -> None:
    path = folder / "net.bin"
    path.write_bytes(DATA)
    (folder / "net.bin.sha256").write_text("0" * 64 + "  net.bin\n")
    assert cache.verify(path, a_source(DIGEST[:8])) == DIGEST


@pytest.mark.parametrize("text", ["", "abc  net.bin\n", "\xff" * 70])
def test_an_unreadable_record_is_no_licence(folder: Path, text: str) -> None:
    (folder / "net.bin").write_bytes(DATA)
    (folder / "net.bin.sha256").write_text(text, "latin-1")
    with pytest.raises(WeightsError, match=r"net\.bin\.sha256: holds no SHA-256; delete it"):
        cache.verify(folder / "net.bin", a_source(None))


@pytest.mark.parametrize(
    "fields",
    [
        *(
            {"filename": name}
            for name in ("", "a/b", "..", "../a", "a\\b", ".hidden", "a b", "C:x", "net.part", "n.LOCK")
        ),
        *({"url": url} for url in ("file:///etc/passwd", "ftp://h/f", "https:///f", "https://u:p@h/f", "https://h")),
        {"url": None},
        *({"sha256": digits} for digits in ("", "1234567", "g" * 8, "A" * 8, "0" * 65)),
        {"layout": "other"},
        {"size": 0},
    ],
)
def test_a_source_that_cannot_be_meant_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(WeightsError):
        a_source(**fields)
