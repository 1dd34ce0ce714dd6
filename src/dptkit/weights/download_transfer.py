"""Bytes from a URL into a part file: as many tries as it takes, each going on where the last one stopped."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO

from dptkit.errors import DownloadError
from dptkit.weights.cache import Progress
from dptkit.weights.download_http import Answer, TransientError, is_hub, network_errors, open_url, shown
from dptkit.weights.download_part import PartFile, Version, megabytes, require_space

_log = logging.getLogger("dptkit")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class RetryPolicy:
    """How patiently to download; all times in seconds.

    tries: how often in a row a try may fail. A try that gets `worthwhile` bytes further starts the count again, so
        that a long download over a bad line comes to its end.
    first_delay, longest_delay: the pause before the second try; it doubles up to the longest.
    longest_retry_after: how much of a server's Retry-After is honoured.
    timeout: of every single network operation.
    sleep: how to pause.
    """

    tries: int = 5
    first_delay: float = 1.0
    longest_delay: float = 30.0
    longest_retry_after: float = 60.0
    timeout: float = 30.0
    worthwhile: int = 8 << 20
    sleep: Callable[[float], None] = time.sleep

    def delay(self, failures: int, wait: float | None) -> float:
        """The pause after so many failures in a row; `wait` is what the server asked for."""
        if wait is not None:
            return min(wait, self.longest_retry_after)
        return min(self.first_delay * 2.0 ** (failures - 1), self.longest_delay)


@dataclass
class Transfer:
    """One file on its way. `expected`: hashes known beforehand; `size`: bytes, if known."""

    url: str
    part: PartFile
    expected: list[str]
    size: int | None
    retry: RetryPolicy
    progress: Progress | None = None
    linked_sha256: str | None = None
    resumed: bool = False
    _begun_here: bool = False

    def run(self) -> None:
        """Fill the part file. `resumed` then says whether it came in pieces, `linked_sha256` what the hub named.

        Raises DownloadError when the tries are used up or another one would end alike.
        """
        failures, reached = 0, self.part.size()
        while not self._complete():
            try:
                self._once()
                return
            except TransientError as trouble:
                if self.part.size() >= reached + self.retry.worthwhile:
                    failures, reached = 0, self.part.size()
                failures += 1
                if trouble.discard:
                    self.part.discard()
                if failures >= self.retry.tries:
                    kept = "; what has arrived is kept, try again to go on" if self.part.size() else ""
                    raise DownloadError(f"{shown(self.url)}: {trouble} ({failures} failed tries){kept}") from None
                delay = self.retry.delay(failures, trouble.wait)
                _log.info("%s: %s; trying again in %.1f s", shown(self.url), trouble, delay)
                self.retry.sleep(delay)

    def _complete(self) -> bool:
        """Whether an earlier process got everything and stopped before the check."""
        version, size = self.part.version(), self.part.size()
        whole = bool(self.expected) and version is not None and version.total == size > 0
        self.resumed = self.resumed or whole
        return whole

    def _once(self) -> None:
        offset, version = self.part.size(), self.part.version()
        if not self._may_continue(offset, version):
            self.part.discard()
            offset, version = 0, None
        headers = {"User-Agent": "dptkit", "Accept-Encoding": "identity"}
        if version is not None:
            headers["Range"] = f"bytes={offset}-"
            if version.if_range is not None:
                headers["If-Range"] = version.if_range
        with open_url(self.url, headers, self.retry.timeout) as answer:
            self._check_status(answer)
            self._check_identity(answer)
            if answer.response.status == 206:
                total: int | None = self._check_continuation(answer, offset, version)
                self.resumed = True
            else:
                offset, total = 0, self._begin(answer)
            if total is not None:
                require_space(self.part.final.parent, total - offset)
            with self.part.appending() as file:
                self._receive(answer, file, offset, total)

    def _may_continue(self, offset: int, version: Version | None) -> bool:
        if version is None or offset == 0 or (version.total is not None and offset >= version.total):
            return False
        return version.if_range is not None or bool(self.expected)

    def _check_status(self, answer: Answer) -> None:
        status, url = answer.response.status, shown(self.url)
        if status in (200, 206):
            return
        if status == 416:
            raise TransientError("the server refused to continue the file", wait=0.0, discard=True)
        if status in (408, 425, 429) or status >= 500:
            raise TransientError(f"the server answered {status}", wait=answer.retry_after())
        if status in (401, 403) and is_hub(self.url):
            raise DownloadError(f"{url}: {status}, private, gated or absent; accept its terms, then `hf auth login`")
        if status in (401, 403):
            raise DownloadError(f"{url}: {status}, access refused; fetch it by hand and put it at {self.part.final}")
        if status in (404, 410):
            raise DownloadError(f"{url}: {status}, not there; check the name, or put the file at {self.part.final}")
        raise DownloadError(f"{url}: unexpected answer {status}")

    def _check_identity(self, answer: Answer) -> None:
        """Refuse what cannot be the file before a gigabyte of it has come."""
        url = shown(self.url)
        if (answer.header("Content-Encoding") or "identity").lower() != "identity":
            raise DownloadError(f"{url}: sent compressed although asked not to; a proxy on the way may change it")
        if (answer.header("Content-Type") or "").lower().startswith("text/html"):
            raise DownloadError(f"{url}: a web page came instead of the file; a log-in page may be in the way")
        if answer.linked_sha256 is not None:
            self.linked_sha256 = answer.linked_sha256
            for digits in self.expected:
                if not answer.linked_sha256.startswith(digits):
                    raise DownloadError(f"{url}: SHA-256 should be {digits} but the hub has {answer.linked_sha256}")

    def _check_continuation(self, answer: Answer, offset: int, version: Version | None) -> int:
        """The total that a 206 states, once it is sure that its bytes follow ours."""
        stated = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.header("Content-Range") or "")
        if version is None or stated is None:
            raise TransientError("a part of the file came that was not asked for", discard=True)
        first, last, total = (int(number) for number in stated.groups())
        length = self._length(answer)
        if first != offset or last != total - 1 or length not in (None, total - offset):
            raise TransientError("the server continued at the wrong place", discard=True)
        # Some servers heed Range and overlook If-Range.
        etag = answer.header("ETag")
        if (version.etag and etag and etag != version.etag) or version.total not in (None, total):
            raise TransientError("the file changed at its source", wait=0.0, discard=True)
        if not (self._begun_here or self.expected or self.linked_sha256):
            # Nothing would show that the part was altered on our disk, and its hash would be trusted ever after.
            raise TransientError("no hash to check an earlier process's part against", wait=0.0, discard=True)
        return self._check_total(total)

    def _begin(self, answer: Answer) -> int | None:
        length = self._length(answer)
        if length is not None:
            self._check_total(length)
        elif not (answer.response.chunked or self.expected or self.linked_sha256 or self.size):
            raise DownloadError(f"{shown(self.url)}: comes without length and hash, so its end could be missing")
        self.part.begin(Version(answer.header("ETag"), answer.header("Last-Modified"), length))
        self._begun_here, self.resumed = True, False
        return length

    def _length(self, answer: Answer) -> int | None:
        value = answer.header("Content-Length")
        if value is None or answer.response.chunked:
            return None
        if not re.fullmatch(r"\d{1,18}", value):
            raise TransientError("the server stated a length that is no number")
        return int(value)

    def _check_total(self, total: int) -> int:
        if total == 0 or self.size not in (None, total):
            wanted = "be longer than 0" if self.size is None else f"have {self.size}"
            raise DownloadError(f"{shown(self.url)}: should {wanted} bytes but has {total}")
        return total

    def _receive(self, answer: Answer, file: FileIO, done: int, total: int | None) -> None:
        # The end is counted here: http.client says nothing when a connection closes before the stated length.
        while total is None or done < total:
            self._report(done, total)
            with network_errors(self.url):
                # read1, so that bytes which came before a reset are on disk when it is raised.
                chunk = answer.response.read1(_CHUNK if total is None else min(_CHUNK, total - done))
            if not chunk:
                break
            self.part.append(file, chunk)
            done += len(chunk)
            if total is None and self.size is not None and done > self.size:
                self.part.discard()
                raise DownloadError(f"{shown(self.url)}: should have {self.size} bytes but has more")
        self._report(done, total)
        wanted = self.size if total is None else total
        if wanted is not None and done < wanted:
            raise TransientError(f"the connection ended at {megabytes(done)} of {megabytes(wanted)}")
        if done == 0:
            raise DownloadError(f"{shown(self.url)}: is empty")

    def _report(self, done: int, total: int | None) -> None:
        if self.progress is not None:
            self.progress(done, total)
