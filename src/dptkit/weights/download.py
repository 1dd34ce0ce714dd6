"""Fetch published weights into the cache: resumed where it stopped, checked before it is used, once per machine.

Environment: DPTKIT_OFFLINE (anything but empty, 0, false, no, off) forbids the network; DPTKIT_MIRROR and HF_ENDPOINT
replace the host, see `dptkit.weights.download_http.effective_url`; DPTKIT_CACHE moves the cache.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock, Timeout

from dptkit.errors import DownloadError, WeightsError
from dptkit.source import Layout, WeightSource
from dptkit.weights.cache import (
    Progress,
    cached_path,
    expected_hashes,
    record,
    recorded_hash,
    sha256_of,
    verify,
)
from dptkit.weights.download_http import HUB, effective_url, shown
from dptkit.weights.download_part import PartFile, disk_errors, require_space
from dptkit.weights.download_transfer import RetryPolicy, Transfer

__all__ = ["Progress", "RetryPolicy", "fetch", "hf_source", "is_offline"]

_log = logging.getLogger("dptkit")
_PATIENT = RetryPolicy()


def fetch(source: WeightSource, *, progress: Progress | None = None, retry: RetryPolicy = _PATIENT) -> Path:
    """The path of the file in the cache, verified; downloaded first if it is absent or fails its check.

    Safe to call from several threads and processes at once: one downloads, the others wait for it. An interrupted
    download is continued by the next call. `progress` is told of downloaded bytes, and not called if none are needed.

    Raises DownloadError if the file cannot be had, or is not as published; nothing then lies under the final name.
    Raises WeightsError for a cached file that fails its check and cannot be replaced, or an unreadable hash record.
    """
    path = cached_path(source)
    recorded_hash(path)  # an unreadable record is the user's to judge: no reason to replace the file
    # First without the lock: a cache that is complete may be read-only.
    if _fault(path, source) is None:
        return path
    url = _reachable_url(source, path)
    with disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        fault = _fault(path, source)
        if fault is None:
            return path
        broken = path.with_name(path.name + ".broken")
        if path.is_file():
            _log.warning("%s; moved to %s and downloading it again", fault, broken.name)
            with disk_errors(path):
                path.replace(broken)
        _download(source, url, path, progress, retry)
        with disk_errors(broken):
            broken.unlink(missing_ok=True)
    return path


def hf_source(
    repo_id: str, filename: str = "model.safetensors", revision: str = "main", *, layout: Layout = "hf"
) -> WeightSource:
    """Any file on the Hugging Face hub, as a source for `fetch`.

    Private and gated files work once logged in (`hf auth login` or HF_TOKEN). Raises WeightsError for a malformed name.
    """
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", repo_id, re.ASCII):
        raise WeightsError(f"{repo_id!r}: not the name of a Hugging Face repository, as in Intel/dpt-large")
    parts = filename.split("/")
    if not revision or any(part in ("", ".", "..") for part in [*parts, *revision.split("/")]):
        raise WeightsError(f"{repo_id}: {filename!r} at {revision!r} is not a file in a repository")
    wanted = "--".join([*repo_id.split("/"), revision, *parts])
    name = re.sub(r"[^A-Za-z0-9._-]", "-", wanted)
    if name != wanted or "--" in revision + filename or len(name) > 150:
        # Two files could get the same plain name, so a digest of the real one tells them apart.
        name = f"{hashlib.sha256('/'.join((repo_id, revision, filename)).encode()).hexdigest()[:12]}-{name[-130:]}"
    url = f"{HUB}/{repo_id}/resolve/{quote(revision, safe='')}/{quote(filename)}"
    return WeightSource(filename=name.lstrip("-."), url=url, layout=layout)


def is_offline() -> bool:
    """Whether DPTKIT_OFFLINE forbids the network. A value that nobody defined counts as yes, the safe reading."""
    return os.environ.get("DPTKIT_OFFLINE", "").strip().lower() not in ("", "0", "false", "no", "off")


def _fault(path: Path, source: WeightSource) -> str | None:
    """Why the cached file cannot be used: absent, or not the expected one. None if it can; it is then on record.

    Raises WeightsError if it cannot be read, which says nothing about what it holds, or cannot be replaced.
    """
    with disk_errors(path):
        if not path.exists():
            return "absent"
    try:
        found = verify(path, source)
    except WeightsError as error:
        if isinstance(error.__cause__, OSError):
            raise
        if source.url is None:
            raise WeightsError(f"{error}. {source.manual}") from None
        if is_offline():
            raise WeightsError(f"{error}; DPTKIT_OFFLINE is set, so it is not downloaded again") from None
        return str(error)
    try:
        record(path, source, found)
    except OSError as error:
        _log.warning("%s: its hash cannot be recorded (%s), so later changes go unnoticed", path, error.strerror)
    return None


def _reachable_url(source: WeightSource, path: Path) -> str:
    if source.url is None:
        raise DownloadError(f"{source.filename}: cannot be fetched automatically. {source.manual} Put it at {path}")
    if is_offline():
        digits = f", SHA-256 {source.sha256}" if source.sha256 else ""
        raise DownloadError(f"{source.filename}: DPTKIT_OFFLINE is set; put {source.url}{digits} at {path}")
    return effective_url(source.url)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    # The system's own lock: it ends with its process, so a killed one leaves nothing behind but an empty file.
    lock = FileLock(path.with_name(path.name + ".lock"))
    with disk_errors(path.with_name(path.name + ".lock")):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            _log.info("%s: another process or thread is downloading it; waiting", path.name)
            lock.acquire()
        except NotImplementedError:
            raise DownloadError(f"{path.parent}: cannot lock files here; set DPTKIT_CACHE to another disk") from None
    try:
        yield
    finally:
        lock.release()


def _download(source: WeightSource, url: str, path: Path, progress: Progress | None, retry: RetryPolicy) -> None:
    part = PartFile(path)
    expected = expected_hashes(path, source)
    if source.size is not None:
        require_space(path.parent, source.size - part.size())
    for last in (False, True):
        transfer = Transfer(url, part, [digits for _, digits in expected], source.size, retry, progress)
        transfer.run()
        claims = list(expected)
        if transfer.linked_sha256 is not None:
            claims.append(("named by the hub", transfer.linked_sha256))
        found = sha256_of(part.path)
        wrong = next(((origin, digits) for origin, digits in claims if not found.startswith(digits)), None)
        if wrong is None:
            break
        part.discard()
        if last or not transfer.resumed:
            origin, digits = wrong
            raise DownloadError(f"{shown(url)}: SHA-256 should be {digits} ({origin}) but is {found}; nothing was kept")
        # A piece from an earlier process may be at fault, and not the source: once more from zero.
        _log.warning("%s: the continued download is not as expected; starting from zero", path.name)
    with disk_errors(path):
        # The record comes first, so that no moment leaves a file that would be trusted anew.
        record(path, source, found)
    part.finish()
