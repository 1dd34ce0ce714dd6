"""Downloads against a real server that misbehaves: whatever happens, nothing wrong lies under the final name."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import random
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import namedtuple
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from email.utils import formatdate
from io import FileIO
from pathlib import Path
from urllib.error import URLError

import pytest
from download_server import Fault, Server

from dptkit.errors import DownloadError, WeightsError
from dptkit.source import WeightSource
from dptkit.weights import download_part
from dptkit.weights.download import RetryPolicy, fetch, hf_source
from dptkit.weights.download_http import network_errors

SIZE = 300_000
HALF = SIZE // 2
PAYLOAD = random.Random(0).randbytes(SIZE)
OTHER = random.Random(1).randbytes(SIZE)
UNREACHABLE = WeightSource("net.bin", "https://unreachable.invalid/net.bin", "isl", hashlib.sha256(PAYLOAD).hexdigest())


class Pauses(list[float]):
    """A sleep that only takes notes."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def retry(pauses: Pauses) -> RetryPolicy:
    return RetryPolicy(tries=3, timeout=5, sleep=pauses)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(PAYLOAD).running() as running:
        yield running


@pytest.fixture
def second_server() -> Iterator[Server]:
    with Server(PAYLOAD).running() as running:
        yield running


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("DPTKIT_OFFLINE", "DPTKIT_MIRROR", "HF_ENDPOINT", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("DPTKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def source(server: Server) -> WeightSource:
    return WeightSource("net.bin", server.url, "isl", sha256=server.sha256[:8])


def left(folder: Path) -> set[str]:
    """What lies in the cache, but for the lock, which may stay."""
    return {path.name for path in folder.iterdir()} - {"net.bin.lock"}


def failing(source: WeightSource, retry: RetryPolicy, folder: Path) -> str:
    """The one line that `fetch` fails with, having left nothing under the final name."""
    with pytest.raises(DownloadError) as caught:
        fetch(source, retry=retry)
    assert not (folder / source.filename).exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def interrupt_at_half(source: WeightSource, server: Server, folder: Path) -> None:
    """Leave half a part behind, as a process does that gives up."""
    server.faults.append(Fault(stop_at=HALF))
    with pytest.raises(DownloadError, match=r"ended at 0\.2 MB of 0\.3 MB .* is kept"):
        fetch(source, retry=RetryPolicy(tries=1))
    assert (folder / "net.bin.part").read_bytes() == PAYLOAD[:HALF]
    assert not (folder / "net.bin").exists()
    server.seen.clear()


def test_downloads_once_and_then_never_again(source: WeightSource, server: Server, folder: Path) -> None:
    calls: list[tuple[int, int | None]] = []
    path = fetch(source, progress=lambda done, total: calls.append((done, total)))
    assert path == folder / "net.bin"
    assert path.read_bytes() == PAYLOAD
    assert calls[0] == (0, SIZE)
    assert calls[-1] == (SIZE, SIZE)
    assert calls == sorted(calls)
    assert left(folder) == {"net.bin", "net.bin.sha256"}
    assert fetch(source) == path
    assert len(server.seen) == 1


@pytest.mark.parametrize("reset", [False, True])
def test_dropped_connections_resume(
    source: WeightSource, server: Server, retry: RetryPolicy, pauses: Pauses, reset: bool
) -> None:
    hold = threading.Event()
    server.faults.extend([Fault(stop_at=100_000, reset=reset, hold=hold if reset else None), Fault(stop_at=250_000)])

    def let_go(done: int, total: int | None) -> None:
        # A reset may overtake bytes that the client has not read yet, so it waits for them to be read.
        if done == 100_000:
            hold.set()

    assert fetch(source, progress=let_go, retry=retry).read_bytes() == PAYLOAD
    assert server.ranges == [None, "bytes=100000-", "bytes=250000-"]
    assert [seen.headers.get("if-range") for seen in server.seen] == [None, '"v1"', '"v1"']
    assert sum(seen.sent for seen in server.seen) == SIZE
    assert pauses == [1.0, 2.0]


def test_a_later_call_resumes_and_reports_from_there(source: WeightSource, server: Server, folder: Path) -> None:
    interrupt_at_half(source, server, folder)
    calls: list[int] = []
    assert fetch(source, progress=lambda done, total: calls.append(done)).read_bytes() == PAYLOAD
    assert server.ranges == [f"bytes={HALF}-"]
    assert server.seen[0].sent == SIZE - HALF
    assert calls[0] == HALF
    assert left(folder) == {"net.bin", "net.bin.sha256"}


def test_resumes_by_date_where_the_etag_is_weak(source: WeightSource, server: Server, folder: Path) -> None:
    server.etag, server.last_modified = 'W/"v1"', formatdate(1e9, usegmt=True)
    interrupt_at_half(source, server, folder)
    assert fetch(source).read_bytes() == PAYLOAD
    assert server.ranges == [f"bytes={HALF}-"]
    assert server.seen[0].headers["if-range"] == server.last_modified


def test_a_whole_part_needs_no_request(source: WeightSource, server: Server, folder: Path) -> None:
    interrupt_at_half(source, server, folder)
    (folder / "net.bin.part").write_bytes(PAYLOAD)
    assert fetch(source).read_bytes() == PAYLOAD
    assert server.seen == []


@pytest.mark.parametrize("note", [None, "", "[1]", '{"etag": 1, "last_modified": null, "total": null}'])
def test_a_part_without_a_readable_note_is_not_continued(
    source: WeightSource, server: Server, folder: Path, note: str | None
) -> None:
    interrupt_at_half(source, server, folder)
    (folder / "net.bin.part.json").unlink()
    if note is not None:
        (folder / "net.bin.part.json").write_text(note)
    assert fetch(source).read_bytes() == PAYLOAD
    assert server.ranges == [None]


@pytest.mark.parametrize(
    ("fault", "ranges"),
    [
        (Fault(ignore_range=True), [f"bytes={HALF}-"]),
        (Fault(status=416), [f"bytes={HALF}-", None]),
        (Fault(headers={"Content-Range": f"bytes {HALF - 1}-{SIZE - 1}/{SIZE}"}), [f"bytes={HALF}-", None]),
        (Fault(headers={"Content-Range": f"bytes {HALF}-{SIZE - 2}/{SIZE}"}), [f"bytes={HALF}-", None]),
        (Fault(headers={"Content-Range": f"bytes {HALF}-{SIZE}/{SIZE + 1}"}), [f"bytes={HALF}-", None]),
        (Fault(headers={"Content-Range": "nonsense"}), [f"bytes={HALF}-", None]),
        (Fault(headers={"Content-Length": "9"}), [f"bytes={HALF}-", None]),
    ],
    ids=["ignored", "416", "earlier start", "earlier end", "other total", "malformed", "other length"],
)
def test_a_range_that_does_not_fit_restarts(
    source: WeightSource, server: Server, folder: Path, retry: RetryPolicy, fault: Fault, ranges: list[str | None]
) -> None:
    interrupt_at_half(source, server, folder)
    server.faults.append(fault)
    assert fetch(source, retry=retry).read_bytes() == PAYLOAD
    assert server.ranges == ranges


@pytest.mark.parametrize(("heeds_if_range", "requests"), [(True, 1), (False, 2)])
def test_a_file_that_changed_meanwhile_restarts(
    source: WeightSource, server: Server, folder: Path, retry: RetryPolicy, heeds_if_range: bool, requests: int
) -> None:
    interrupt_at_half(source, server, folder)
    server.payload, server.etag = OTHER, '"v2"'
    server.faults.append(Fault(ignore_if_range=not heeds_if_range))
    path = fetch(replace(source, sha256=server.sha256), retry=retry)
    assert path.read_bytes() == OTHER
    assert len(server.seen) == requests


@pytest.mark.parametrize("longer", [b"", b"more"])
def test_two_versions_are_not_mixed_where_no_hash_would_tell(server: Server, retry: RetryPolicy, longer: bytes) -> None:
    def change(seconds: float) -> None:
        server.payload = OTHER + longer
        server.etag = server.etag and '"v2"'

    if longer:  # then only the length gives it away
        server.etag, server.last_modified = None, formatdate(1e9, usegmt=True)
    server.faults.extend([Fault(stop_at=HALF), Fault(ignore_if_range=True)])
    path = fetch(WeightSource("net.bin", server.url, "isl"), retry=replace(retry, sleep=change))
    assert path.read_bytes() == OTHER + longer
    assert server.ranges == [None, f"bytes={HALF}-", None]


def test_without_hash_and_version_nothing_is_continued(server: Server, retry: RetryPolicy) -> None:
    server.etag = None
    server.faults.append(Fault(stop_at=HALF))
    assert fetch(WeightSource("net.bin", server.url, "isl"), retry=retry).read_bytes() == PAYLOAD
    assert server.ranges == [None, None]


def test_a_part_longer_than_the_file_is_not_continued(source: WeightSource, server: Server, folder: Path) -> None:
    interrupt_at_half(source, server, folder)
    (folder / "net.bin.part").write_bytes(PAYLOAD + b"more")
    assert fetch(source).read_bytes() == PAYLOAD
    assert server.ranges == [None]


def test_a_restart_from_zero_counts_as_one_piece(
    source: WeightSource, server: Server, folder: Path, retry: RetryPolicy
) -> None:
    interrupt_at_half(source, server, folder)
    server.faults.extend([Fault(stop_at=HALF + 9), Fault(ignore_range=True, corrupt=True)])
    assert "SHA-256 should be" in failing(source, retry, folder)
    assert server.ranges == [f"bytes={HALF}-", f"bytes={HALF + 9}-"]


def test_an_endless_416_ends(source: WeightSource, server: Server, folder: Path, retry: RetryPolicy) -> None:
    server.faults.extend(Fault(status=416) for _ in range(9))
    assert "refused to continue the file (3 failed tries)" in failing(source, retry, folder)
    assert len(server.seen) == 3


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_busy_servers_are_asked_again(
    source: WeightSource, server: Server, retry: RetryPolicy, pauses: Pauses, status: int
) -> None:
    server.faults.extend([Fault(status=status), Fault(status=status, headers={"Retry-After": "7"})])
    assert fetch(source, retry=retry).read_bytes() == PAYLOAD
    assert pauses == [1.0, 7.0]


def test_retry_after_is_bounded_and_may_be_a_date_or_nonsense(
    source: WeightSource, server: Server, retry: RetryPolicy, pauses: Pauses
) -> None:
    asked = ["100000", formatdate(time.time() + 20, usegmt=True), formatdate(0, usegmt=True), "soon"]
    server.faults.extend(Fault(status=503, headers={"Retry-After": value}) for value in asked)
    assert fetch(source, retry=replace(retry, tries=5)).read_bytes() == PAYLOAD
    assert pauses[0] == 60
    assert 10 < pauses[1] <= 20
    assert pauses[2:] == [0, 8]


def test_tries_are_bounded_and_the_part_is_kept(
    source: WeightSource, server: Server, folder: Path, retry: RetryPolicy, pauses: Pauses
) -> None:
    server.faults.extend([Fault(stop_at=1000), *(Fault(status=503) for _ in range(9))])
    message = failing(source, retry, folder)
    assert server.url in message
    assert "503 (3 failed tries); what has arrived is kept" in message
    assert len(server.seen) == 3
    assert len(pauses) == 2
    assert (folder / "net.bin.part").read_bytes() == PAYLOAD[:1000]


def test_progress_starts_the_count_of_tries_again(source: WeightSource, server: Server, retry: RetryPolicy) -> None:
    server.faults.extend(Fault(stop_at=50_000 * count) for count in range(1, 6))
    assert fetch(source, retry=replace(retry, tries=2, worthwhile=50_000)).read_bytes() == PAYLOAD
    assert len(server.seen) == 6


def test_a_server_that_restarts_and_drops_forever_ends(
    source: WeightSource, server: Server, folder: Path, retry: RetryPolicy
) -> None:
    server.faults.extend(Fault(stop_at=HALF, ignore_range=True) for _ in range(20))
    assert "ended at 0.2 MB" in failing(source, replace(retry, worthwhile=50_000), folder)
    assert len(server.seen) < 8


@pytest.mark.parametrize("status", [401, 403, 404, 410, 400])
def test_refusals_are_final(
    source: WeightSource, server: Server, folder: Path, retry: RetryPolicy, pauses: Pauses, status: int
) -> None:
    server.faults.append(Fault(status=status))
    message = failing(source, retry, folder)
    assert server.url in message
    assert str(status) in message
    assert len(server.seen) == 1
    assert pauses == []
    assert left(folder) == set()


def test_a_silent_server_times_out(source: WeightSource, server: Server, folder: Path, retry: RetryPolicy) -> None:
    hold = threading.Event()
    server.faults.extend(Fault(stop_at=HALF, hold=hold) for _ in range(2))
    try:
        assert "no answer in time" in failing(source, replace(retry, tries=2, timeout=0.2), folder)
    finally:
        hold.set()


def test_nobody_listening(source: WeightSource, folder: Path, retry: RetryPolicy, pauses: Pauses) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/net.bin"
        assert f"{url}: Connection refused (3 failed tries)" in failing(replace(source, url=url), retry, folder)
    assert len(pauses) == 2


@pytest.mark.parametrize("sha256", ["prefix", "full", None])
def test_a_corrupt_download_is_not_kept(
    source: WeightSource, server: Server, folder: Path, retry: RetryPolicy, sha256: str | None
) -> None:
    if sha256 is None:  # nothing published: then what was recorded counts
        path = fetch(replace(source, sha256=None))
        path.unlink()
        server.seen.clear()
    expected = server.sha256[:8] if sha256 == "prefix" else server.sha256
    source = replace(source, sha256=expected if sha256 else None)
    server.faults.append(Fault(corrupt=True))
    message = failing(source, retry, folder)
    assert f"SHA-256 should be {expected} " in message
    assert len(message.split(" but is ")[1].split(";")[0]) == 64
    assert left(folder) == (set() if sha256 else {"net.bin.sha256"})
    assert len(server.seen) == 1
    assert fetch(source).read_bytes() == PAYLOAD


def test_a_tampered_part_is_fetched_from_zero_once(
    source: WeightSource, server: Server, folder: Path, retry: RetryPolicy
) -> None:
    interrupt_at_half(source, server, folder)
    (folder / "net.bin.part").write_bytes(OTHER[:HALF])
    assert fetch(source, retry=retry).read_bytes() == PAYLOAD
    assert server.ranges == [f"bytes={HALF}-", None]


def test_a_second_mismatch_is_the_last(source: WeightSource, server: Server, folder: Path, retry: RetryPolicy) -> None:
    server.payload = OTHER
    server.faults.extend(Fault(stop_at=HALF) if count % 2 == 0 else Fault() for count in range(20))
    assert "SHA-256 should be" in failing(source, retry, folder)
    assert server.ranges == [None, f"bytes={HALF}-"] * 2
    assert left(folder) == set()


def test_without_any_hash_only_this_process_may_continue(server: Server, folder: Path, retry: RetryPolicy) -> None:
    source = WeightSource("net.bin", server.url, "isl")
    server.faults.append(Fault(stop_at=HALF))
    assert fetch(source, retry=retry).read_bytes() == PAYLOAD
    assert server.ranges == [None, f"bytes={HALF}-"]
    (folder / "net.bin").unlink()
    (folder / "net.bin.sha256").unlink()
    interrupt_at_half(source, server, folder)
    (folder / "net.bin.part").write_bytes(OTHER[:HALF])
    assert fetch(source, retry=retry).read_bytes() == PAYLOAD
    assert server.ranges == [f"bytes={HALF}-", None]


@pytest.mark.parametrize(("change", "found"), [(-1, SIZE), (1, SIZE)])
def test_another_size_than_published_is_refused_at_once(
    source: WeightSource, server: Server, folder: Path, retry: RetryPolicy, change: int, found: int
) -> None:
    source = replace(source, size=SIZE + change)
    assert f"should have {SIZE + change} bytes but has {found}" in failing(source, retry, folder)
    assert left(folder) == set()


@pytest.mark.parametrize(
    ("fault", "size", "text"),
    [
        (Fault(headers={"Content-Length": str(SIZE - 10)}), None, "SHA-256 should be"),
        (Fault(headers={"Content-Length": str(SIZE + 10)}), None, "refused to continue|ended at"),
        (Fault(headers={"Content-Length": "many"}), None, "no number"),
        (Fault(chunked=True), SIZE - 1, "has more"),
        (Fault(chunked=True), SIZE + 1, "ended at"),
        (Fault(headers={"Content-Encoding": "gzip"}), None, "compressed"),
        (Fault(headers={"Content-Type": "text/html; charset=utf-8"}), None, "web page"),
    ],
    ids=["too short", "too long", "no number", "over", "under", "compressed", "web page"],
)
def test_lies_about_the_content(
    source: WeightSource, server: Server, folder: Path, retry: RetryPolicy, fault: Fault, size: int | None, text: str
) -> None:
    server.faults.extend(replace(fault, ignore_range=True) for _ in range(9))
    assert re.search(text, failing(replace(source, size=size), retry, folder))
    assert len(server.seen) <= 3


def test_an_empty_file_is_no_file(server: Server, folder: Path, retry: RetryPolicy) -> None:
    server.payload = b""
    source = WeightSource("net.bin", server.url, "isl")
    assert "longer than 0 bytes but has 0" in failing(source, retry, folder)
    server.faults.append(Fault(chunked=True))
    assert "is empty" in failing(source, retry, folder)


def test_chunked_transfer_and_its_early_end(source: WeightSource, server: Server, retry: RetryPolicy) -> None:
    server.faults.extend([Fault(chunked=True, stop_at=HALF), Fault(chunked=True)])
    assert fetch(replace(source, sha256=None), retry=retry).read_bytes() == PAYLOAD
    assert server.ranges == [None, f"bytes={HALF}-"]


def test_an_unmarked_end_needs_a_hash(source: WeightSource, server: Server, folder: Path, retry: RetryPolicy) -> None:
    server.faults.extend(Fault(no_length=True, stop_at=HALF) for _ in range(2))
    assert "without length and hash" in failing(replace(source, sha256=None), retry, folder)
    assert "SHA-256 should be" in failing(source, retry, folder)
    server.faults.append(Fault(no_length=True))
    assert fetch(source).read_bytes() == PAYLOAD


def test_redirects_keep_the_range(
    source: WeightSource, server: Server, second_server: Server, folder: Path, retry: RetryPolicy
) -> None:
    interrupt_at_half(source, server, folder)
    target = second_server.url.replace("net.bin", "a b.bin?signature=secret")
    server.faults.extend([Fault(status=302, headers={"Location": "/elsewhere"})])
    server.faults.extend([Fault(status=307, headers={"Location": target})])
    assert fetch(source, retry=retry).read_bytes() == PAYLOAD
    assert [seen.path for seen in server.seen] == ["/models/net.bin", "/elsewhere"]
    assert [seen.path for seen in second_server.seen] == ["/models/a%20b.bin?signature=secret"]
    assert second_server.ranges == [f"bytes={HALF}-"]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/f", "http://[/", None, "/models/net.bin"])
def test_bad_redirects_are_final(
    source: WeightSource, server: Server, folder: Path, retry: RetryPolicy, target: str | None
) -> None:
    server.faults.extend(Fault(status=302, headers={"Location": target} if target else {}) for _ in range(20))
    assert "redirect" in failing(source, retry, folder)
    assert len(server.seen) == (6 if target == "/models/net.bin" else 1)


def test_https_is_not_left_for_http() -> None:
    from dptkit.weights.download_http import _next_hop

    assert _next_hop("https://a/b", "https://c/d") == "https://c/d"
    with pytest.raises(DownloadError, match="from https to http"):
        _next_hop("https://a/b?secret", "http://c/d")


@pytest.fixture
def hub(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """`server` in the place of the Hugging Face hub, with a user logged in."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.port}")
    return server


def tokens(server: Server) -> list[str | None]:
    return [seen.headers.get("authorization") for seen in server.seen]


def test_the_token_stays_with_the_hub(hub: Server, second_server: Server, retry: RetryPolicy) -> None:
    elsewhere = second_server.url.replace("127.0.0.1", "localhost")
    hub.faults.extend([Fault(status=307, headers={"Location": "/renamed"})])
    hub.faults.extend([Fault(status=302, headers={"Location": elsewhere})])
    # From there back to the hub: another host's redirect does not get the token sent.
    second_server.faults.append(Fault(status=302, headers={"Location": f"http://localhost:{hub.port}/back"}))
    assert fetch(hf_source("Intel/dpt-large"), retry=retry).read_bytes() == PAYLOAD
    assert [seen.path for seen in hub.seen] == ["/Intel/dpt-large/resolve/main/model.safetensors", "/renamed", "/back"]
    assert tokens(hub) == ["Bearer hf_secret", "Bearer hf_secret", None]
    assert tokens(second_server) == [None]


def test_the_user_may_forbid_the_token(hub: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    assert fetch(hf_source("Intel/dpt-large")).read_bytes() == PAYLOAD
    assert tokens(hub) == [None]


def test_a_failing_login_is_one_line(
    hub: Server, folder: Path, retry: RetryPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> str:
        raise RuntimeError("no exchange")

    monkeypatch.setattr("huggingface_hub.get_token", fail)
    assert "login failed: RuntimeError" in failing(hf_source("Intel/dpt-large"), retry, folder)
    assert hub.seen == []


def test_the_token_stays_with_the_port(hub: Server, second_server: Server, retry: RetryPolicy) -> None:
    hub.faults.append(Fault(status=302, headers={"Location": second_server.url}))
    assert fetch(hf_source("Intel/dpt-large"), retry=retry).read_bytes() == PAYLOAD
    assert tokens(hub) == ["Bearer hf_secret"]
    assert tokens(second_server) == [None]


def test_neither_mirrors_nor_other_hosts_get_the_token(
    source: WeightSource, server: Server, second_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch(source)
    monkeypatch.setenv("DPTKIT_MIRROR", f"http://127.0.0.1:{second_server.port}/mirror/")
    fetch(hf_source("Intel/dpt-large", "sub dir/net.bin", "refs/pr/1"))
    assert [seen.path for seen in second_server.seen] == [
        "/mirror/Intel/dpt-large/resolve/refs%2Fpr%2F1/sub%20dir/net.bin"
    ]
    assert tokens(server) + tokens(second_server) == [None, None]


def test_a_token_that_cannot_be_sent_is_not_printed(
    hub: Server, folder: Path, retry: RetryPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_sec\u20acret")
    message = failing(hf_source("Intel/dpt-large"), retry, folder)
    assert "check the address and the token" in message
    assert "hf_sec" not in message
    assert hub.seen == []


def test_a_gated_file_says_how_to_get_in(hub: Server, folder: Path, retry: RetryPolicy) -> None:
    hub.faults.append(Fault(status=401))
    assert "hf auth login" in failing(hf_source("Intel/dpt-large"), retry, folder)


def test_the_hash_that_the_hub_names_is_checked(
    hub: Server, second_server: Server, folder: Path, retry: RetryPolicy
) -> None:
    source = hf_source("Intel/dpt-large")
    link = {"Location": second_server.url, "X-Linked-ETag": f'"{hub.sha256}"'}
    hub.faults.extend(Fault(status=302, headers=link) for _ in range(2))
    second_server.payload = OTHER
    assert f"should be {hub.sha256} (named by the hub)" in failing(source, retry, folder)
    assert left(folder) == {f"{source.filename}.lock"}
    assert "the hub has" in failing(replace(source, sha256="0" * 64), retry, folder)
    assert left(folder) == {f"{source.filename}.lock"}


def test_other_hosts_name_no_hash(source: WeightSource, server: Server, hub: Server, second_server: Server) -> None:
    link = {"Location": server.url, "X-Linked-ETag": '"' + "0" * 64 + '"'}
    second_server.faults.append(Fault(status=302, headers=link))
    assert fetch(replace(source, url=second_server.url)).read_bytes() == PAYLOAD
    assert len(second_server.seen) == 1
    assert tokens(second_server) + tokens(server) == [None, None]


def test_a_mirror_keeps_path_and_query(
    server: Server, second_server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = WeightSource("net.bin", "https://unreachable.invalid/a/b.pt?x=1", "isl", sha256=server.sha256)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{second_server.port}")
    monkeypatch.setenv("DPTKIT_MIRROR", f"http://127.0.0.1:{server.port}/prefix/")
    assert fetch(source).read_bytes() == PAYLOAD
    assert [seen.path for seen in server.seen] == ["/prefix/a/b.pt?x=1"]
    assert second_server.seen == []


@pytest.mark.parametrize(
    "mirror", ["file:///tmp", "ftp://h", "host/prefix", "https://", "https://u:pw@h", "https://h/?q"]
)
def test_a_malformed_mirror(
    source: WeightSource, folder: Path, retry: RetryPolicy, monkeypatch: pytest.MonkeyPatch, mirror: str
) -> None:
    monkeypatch.setenv("DPTKIT_MIRROR", mirror)
    message = failing(source, retry, folder)
    assert message.startswith("DPTKIT_MIRROR must be")
    assert "pw" not in message


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_the_socket_guard_works(source: WeightSource, no_sockets: None, retry: RetryPolicy) -> None:
    with pytest.raises(AssertionError, match="a socket was opened"):
        fetch(source, retry=retry)


@pytest.mark.parametrize("value", ["1", "true", "YES", "on", "indeed"])
@pytest.mark.usefixtures("no_sockets")
def test_offline_says_what_to_put_where(
    folder: Path, retry: RetryPolicy, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("DPTKIT_OFFLINE", value)
    source = UNREACHABLE
    message = failing(source, retry, folder)
    assert source.url is not None
    assert source.sha256 is not None
    assert all(text in message for text in ("net.bin:", source.url, source.sha256, str(folder / "net.bin")))
    assert not folder.exists()


@pytest.mark.parametrize("value", ["", "0", "false", "No", "off"])
def test_online_by_any_no(source: WeightSource, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("DPTKIT_OFFLINE", value)
    assert fetch(source).read_bytes() == PAYLOAD


@pytest.mark.usefixtures("no_sockets")
def test_offline_uses_a_good_file_and_refuses_a_bad_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPTKIT_OFFLINE", "1")
    source = UNREACHABLE
    folder.mkdir()
    (folder / "net.bin").write_bytes(PAYLOAD)
    assert fetch(source) == folder / "net.bin"
    (folder / "net.bin").write_bytes(PAYLOAD[:-1])
    with pytest.raises(WeightsError, match=r"SHA-256 should be .* DPTKIT_OFFLINE is set"):
        fetch(source)
    assert (folder / "net.bin").read_bytes() == PAYLOAD[:-1]


@pytest.mark.usefixtures("no_sockets")
def test_a_file_to_be_fetched_by_hand(folder: Path, retry: RetryPolicy) -> None:
    source = WeightSource("net.bin", None, "isl", manual="Get it from the drive.")
    message = failing(source, retry, folder)
    assert message.endswith(f"Get it from the drive. Put it at {folder / 'net.bin'}")
    folder.mkdir()
    (folder / "net.bin").write_bytes(PAYLOAD)
    assert fetch(source) == folder / "net.bin"
    (folder / "net.bin").write_bytes(OTHER)
    with pytest.raises(WeightsError, match=r"SHA-256 should be .* Get it from the drive\."):
        fetch(source)


@pytest.mark.parametrize("published", [True, False])
def test_a_broken_cached_file_is_replaced(
    source: WeightSource, server: Server, folder: Path, caplog: pytest.LogCaptureFixture, published: bool
) -> None:
    source = source if published else replace(source, sha256=None)
    path = fetch(source)
    path.write_bytes(PAYLOAD[:-1])
    with caplog.at_level(logging.WARNING, "dptkit"):
        assert fetch(source).read_bytes() == PAYLOAD
    assert [record.message for record in caplog.records if "downloading it again" in record.message]
    assert len(server.seen) == 2
    assert left(folder) == {"net.bin", "net.bin.sha256"}


def test_a_broken_cached_file_does_not_stay_if_it_cannot_be_replaced(
    source: WeightSource, server: Server, folder: Path, retry: RetryPolicy
) -> None:
    folder.mkdir()
    (folder / "net.bin").write_bytes(OTHER)
    server.faults.append(Fault(status=404))
    failing(source, retry, folder)
    assert (folder / "net.bin.broken").read_bytes() == OTHER
    assert fetch(source).read_bytes() == PAYLOAD
    assert left(folder) == {"net.bin", "net.bin.sha256"}


def test_an_unreadable_record_is_not_downloaded_over(source: WeightSource, server: Server, folder: Path) -> None:
    path = fetch(source)
    (folder / "net.bin.sha256").write_text("?")
    with pytest.raises(WeightsError, match="holds no SHA-256"):
        fetch(source)
    assert path.read_bytes() == PAYLOAD
    assert len(server.seen) == 1


def test_what_cannot_be_read_is_not_called_broken(source: WeightSource, server: Server, folder: Path) -> None:
    (folder / "net.bin").mkdir(parents=True)
    with pytest.raises(WeightsError, match="cannot be read"):
        fetch(source)
    assert left(folder) == {"net.bin"}
    assert server.seen == []


def test_a_cache_that_cannot_be_made(source: WeightSource, folder: Path, retry: RetryPolicy) -> None:
    folder.write_text("a file")
    with pytest.raises(DownloadError, match="cache"):
        fetch(source, retry=retry)


@pytest.mark.parametrize("known", [True, False])
def test_too_little_room_is_noticed_first(
    source: WeightSource, server: Server, folder: Path, retry: RetryPolicy, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(download_part.shutil, "disk_usage", lambda path: usage(1, 1, SIZE - 1))
    message = failing(replace(source, size=SIZE if known else None), retry, folder)
    assert "needs 0.3 MB, 0.3 MB free" in message
    assert not (folder / "net.bin.part").exists()
    assert len(server.seen) == (0 if known else 1)


def test_a_resumed_download_needs_less_room(
    source: WeightSource, server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_at_half(source, server, folder)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(download_part.shutil, "disk_usage", lambda path: usage(1, 1, SIZE - HALF))
    assert fetch(replace(source, size=SIZE)).read_bytes() == PAYLOAD
    assert server.ranges == [f"bytes={HALF}-"]


def test_a_disk_that_fills_up_midway_keeps_the_part(
    source: WeightSource, server: Server, folder: Path, retry: RetryPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Filling(FileIO):
        def write(self, data: memoryview) -> int:  # type: ignore[override]
            room = HALF - self.tell()
            if room <= 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data[:room])

    open_as_usual = Path.open

    def open_limited(path: Path, mode: str = "r", *args: object, **kwargs: object) -> object:
        return Filling(path, mode) if mode == "ab" else open_as_usual(path, mode, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_limited)
        assert "the disk is full; what has arrived is kept" in failing(source, retry, folder)
    assert (folder / "net.bin.part").read_bytes() == PAYLOAD[:HALF]
    assert fetch(source, retry=retry).read_bytes() == PAYLOAD
    assert server.ranges == [None, f"bytes={HALF}-"]


def test_control_c_keeps_the_part_and_frees_the_lock(source: WeightSource, server: Server, folder: Path) -> None:
    hold = threading.Event()
    server.faults.append(Fault(stop_at=HALF, hold=hold))

    def interrupt(done: int, total: int | None) -> None:
        if done == HALF:
            raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            fetch(source, progress=interrupt)
    finally:
        hold.set()
    assert left(folder) == {"net.bin.part", "net.bin.part.json"}
    assert json.loads((folder / "net.bin.part.json").read_text())["total"] == SIZE
    assert fetch(source).read_bytes() == PAYLOAD
    assert server.ranges == [None, f"bytes={HALF}-"]


def test_threads_share_one_download(source: WeightSource, server: Server) -> None:
    hold = threading.Event()
    server.faults.append(Fault(hold=hold))
    paths: list[Path] = []
    threads = [threading.Thread(target=lambda: paths.append(fetch(source))) for _ in range(4)]
    for thread in threads:
        thread.start()
    server.half_sent.wait(5)
    time.sleep(0.1)
    hold.set()
    for thread in threads:
        thread.join(10)
    assert len(paths) == 4
    assert {path.read_bytes() for path in paths} == {PAYLOAD}
    assert len(server.seen) == 1


FETCH = """
import logging, sys
from dptkit.source import WeightSource
from dptkit.weights.download import fetch
from dptkit.weights.download_http import network_errors
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
print(fetch(WeightSource("net.bin", sys.argv[1], "isl", sha256=sys.argv[2])), flush=True)
"""


def wait_until(condition: object, seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_a_killed_process_leaves_its_part_to_the_one_that_waits(
    source: WeightSource, server: Server, folder: Path
) -> None:
    hold = threading.Event()
    server.faults.append(Fault(stop_at=HALF, hold=hold))
    part = folder / "net.bin.part"
    command = [sys.executable, "-W", "error", "-c", FETCH, server.url, server.sha256]
    with ExitStack() as stack:
        stack.callback(hold.set)
        first = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
        stack.callback(first.kill)
        wait_until(lambda: part.exists() and part.stat().st_size == HALF)
        second = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        stack.callback(second.kill)
        assert second.stdout is not None
        assert "waiting" in second.stdout.readline()
        assert len(server.seen) == 1
        os.kill(first.pid, signal.SIGKILL)
        assert first.wait(10) == -signal.SIGKILL
        assert second.stdout.readline().strip() == str(folder / "net.bin")
        assert second.wait(10) == 0
    assert (folder / "net.bin").read_bytes() == PAYLOAD
    assert server.ranges == [None, f"bytes={HALF}-"]
    assert not part.exists()


def test_hub_names_do_not_collide() -> None:
    sources = [
        hf_source("a/b"),
        hf_source("a/b", "model-2.safetensors"),
        hf_source("a/b", revision="v1"),
        hf_source("a/b", "x/y.bin"),
        hf_source("a/b", "x--y.bin"),
        hf_source("a/b", "x y.bin"),
        hf_source("a/b", "x-y.bin"),
        hf_source("a/b", "é.bin"),
        hf_source("gpt2", "config.json"),
    ]
    assert len({source.filename for source in sources}) == len(sources)
    assert sources[0] == WeightSource(
        "a--b--main--model.safetensors", "https://huggingface.co/a/b/resolve/main/model.safetensors", "hf"
    )
    assert sources[7].url == "https://huggingface.co/a/b/resolve/main/%C3%A9.bin"


@pytest.mark.parametrize(
    ("repo", "filename", "revision"),
    [("", "f", "main"), ("../x", "f", "main"), ("a/b/c", "f", "main"), ("a/b", "../f", "main"), ("a/b", "f", ".."),
     ("a/b", "", "main"), ("a/b", "f", ""), ("a b", "f", "main"), ("a/..", "f", "main")],
)  # fmt: skip
def test_hub_names_that_lead_elsewhere(repo: str, filename: str, revision: str) -> None:
    with pytest.raises(WeightsError):
        hf_source(repo, filename, revision)


def test_a_heavy_library_is_not_imported() -> None:
    code = """
import sys
import dptkit.weights.download
print([name for name in ("torch", "huggingface_hub", "rich") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"


def test_an_untrusted_certificate_is_final() -> None:
    refused = ssl.SSLCertVerificationError(1, "certificate verify failed")
    refused.verify_message = "self-signed certificate"
    with pytest.raises(DownloadError, match="https://h/f: certificate not trusted: self-signed"):  # noqa: SIM117
        with network_errors("https://h/f?secret"):
            raise URLError(refused)
