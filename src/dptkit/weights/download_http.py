"""One HTTP request: which address, which token, which redirects. Knows nothing of files on disk.

urllib carries it, from the standard library: one small path that resumes and verifies the same way for every host.
Hugging Face's own client does so for its host only, and keeps its files in a layout of its own.
"""

from __future__ import annotations

import http.client
import os
import re
import ssl
import string
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPResponse
from time import time
from urllib.error import URLError
from urllib.parse import quote, urljoin, urlsplit, urlunsplit
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request, UnknownHandler

from dptkit.errors import DownloadError

HUB = "https://huggingface.co"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HOPS = 6


class TransientError(Exception):
    """A failure worth another try. `wait`: seconds the server asked for. `discard`: what has arrived is of no use."""

    def __init__(self, message: str, *, wait: float | None = None, discard: bool = False) -> None:
        super().__init__(message)
        self.wait = wait
        self.discard = discard


@dataclass(frozen=True)
class Answer:
    """A response that is no redirect. `linked_sha256`: the file's hash as the hub named it on its redirect."""

    response: HTTPResponse
    linked_sha256: str | None

    def header(self, name: str) -> str | None:
        value = self.response.headers.get(name)
        return None if value is None else str(value).strip()

    def retry_after(self) -> float | None:
        """Seconds that the server asks to wait, given either as a number or as a date; None if neither."""
        value = self.header("Retry-After")
        if value is None:
            return None
        if re.fullmatch(r"[0-9]{1,9}", value):
            return float(value)
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - time())
        except (ValueError, OverflowError):
            return None


def shown(url: str) -> str:
    """The URL as messages print it: without query, which may hold a signature or a password."""
    return re.sub(r"//[^/@]*@", "//", re.split(r"[?#]", url, maxsplit=1)[0], count=1)


def effective_url(url: str) -> str:
    """The address to ask, after DPTKIT_MIRROR and HF_ENDPOINT.

    DPTKIT_MIRROR=https://host/prefix takes the place of scheme and host of every URL; the path (and query) of the
    original follows the prefix: https://github.com/a/b.pt becomes https://host/prefix/a/b.pt. Without it,
    HF_ENDPOINT does the same for URLs on huggingface.co. Raises DownloadError if the one that applies is malformed.
    """
    for name, applies in (("DPTKIT_MIRROR", True), ("HF_ENDPOINT", _origin(url) == _origin(HUB))):
        mirror = os.environ.get(name, "").strip()
        if not mirror or not applies:
            continue
        if not re.fullmatch(r"https?://[^/?#@\s]+(/[^?#\s]*)?", mirror):
            raise DownloadError(f"{name} must be http(s)://host or http(s)://host/prefix")
        parts = urlsplit(url)
        return mirror.rstrip("/") + urlunsplit(("", "", parts.path, parts.query, ""))
    return url


def is_hub(url: str) -> bool:
    """Whether the URL is on the Hugging Face hub, or on what HF_ENDPOINT puts in its place."""
    endpoint = os.environ.get("HF_ENDPOINT", "").strip()
    return _origin(url) in {_origin(HUB), _origin(endpoint or HUB)}


@contextmanager
def open_url(url: str, headers: dict[str, str], timeout: float) -> Iterator[Answer]:
    """Ask for `url` and follow redirects; closed on leaving.

    The login token goes to the host first asked, if that is the hub (or HF_ENDPOINT), and to no other. Raises
    TransientError for network trouble, DownloadError where another try would end alike.
    """
    first, linked = _origin(url), None
    token = _token_header(url)
    for _ in range(_HOPS):
        same = _origin(url) == first
        response = _send(Request(url, headers={**headers, **(token if same else {})}), timeout)
        with response:
            if response.status not in _REDIRECTS:
                yield Answer(response, linked)
                return
            if same and is_hub(url):
                linked = linked or _linked_hash(response)
            url = _next_hop(url, response.headers.get("Location"))
    raise DownloadError(f"{shown(url)}: redirected more than {_HOPS - 1} times")


@contextmanager
def network_errors(url: str) -> Iterator[None]:
    """Sort what urllib, http.client and sockets raise into TransientError and DownloadError."""
    try:
        yield
    except (http.client.InvalidURL, ValueError):
        # Not the original text: it quotes headers, and so could quote the token.
        raise DownloadError(f"{shown(url)}: not a request that can be sent; check the address and the token") from None
    except http.client.IncompleteRead:
        raise TransientError("the connection ended early") from None
    except (http.client.HTTPException, OSError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise DownloadError(f"{shown(url)}: certificate not trusted: {reason.verify_message}") from None
        if isinstance(reason, TimeoutError):
            raise TransientError("no answer in time") from None
        text = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
        raise TransientError(text.splitlines()[0] if text else type(reason).__name__) from None


def _send(request: Request, timeout: float) -> HTTPResponse:
    # Handlers for http and https only: a redirect must not reach file:// or ftp://. None of them interprets the
    # status, so that redirects and errors are decided in this package alone.
    opener = OpenerDirector()
    for handler in (ProxyHandler(), UnknownHandler(), HTTPHandler(), HTTPSHandler()):
        opener.add_handler(handler)
    with network_errors(request.full_url):
        response = opener.open(request, timeout=timeout)
    if not isinstance(response, HTTPResponse):  # pragma: no cover - no other handler is installed
        raise DownloadError(f"{shown(request.full_url)}: not answered over HTTP")
    return response


def _next_hop(url: str, location: str | None) -> str:
    if not location:
        raise DownloadError(f"{shown(url)}: a redirect without an address")
    # Servers send blanks and non-ASCII letters unquoted, which http.client refuses.
    try:
        target = urljoin(url, quote(location, encoding="iso-8859-1", safe=string.punctuation))
    except ValueError:
        target = ""
    if not re.match(r"https?://[^/?#@\s]+", target):
        raise DownloadError(f"{shown(url)}: redirected to something that is not http(s)://host")
    if url.startswith("https:") and not target.startswith("https:"):
        raise DownloadError(f"{shown(url)}: redirected from https to http, which is not safe")
    return target


def _origin(url: str) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        raise DownloadError(f"{shown(url)}: host or port is malformed") from None
    return parts.scheme, parts.hostname, port


def _linked_hash(response: HTTPResponse) -> str | None:
    """The SHA-256 that the hub names when it redirects to its storage, so that storage need not be trusted."""
    etag = str(response.headers.get("X-Linked-ETag") or "").strip().removeprefix("W/").strip('"').lower()
    return etag if re.fullmatch(r"[0-9a-f]{64}", etag) else None


def _token_header(url: str) -> dict[str, str]:
    if not is_hub(url):
        return {}
    # Not build_hf_headers: for its user agent, newer versions ask the hub a question of their own.
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        return {}
    try:
        token = get_token()
    except Exception as error:  # a chosen log-in exchange fails in as many ways as there are services
        raise DownloadError(f"{shown(url)}: the Hugging Face login failed: {type(error).__name__}") from error
    return {} if token is None else {"Authorization": f"Bearer {token}"}
