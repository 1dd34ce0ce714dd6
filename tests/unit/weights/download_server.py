"""A real HTTP server that serves one file well or badly, as told, and writes down what it was asked."""

from __future__ import annotations

import hashlib
import re
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Fault:
    """How one request goes wrong. Offsets count in the whole file."""

    status: int | None = None  # answer this, with no body
    headers: dict[str, str] = field(default_factory=dict)  # added to the usual ones, or in their place
    stop_at: int | None = None  # close the connection when the body has come this far
    reset: bool = False  # close it with a TCP reset
    hold: threading.Event | None = None  # before closing, wait for this
    corrupt: bool = False  # flip a byte
    ignore_range: bool = False  # 200 and the whole file
    ignore_if_range: bool = False  # continue although the file is another one
    chunked: bool = False
    no_length: bool = False  # neither length nor chunks: the end is where the connection closes


@dataclass(frozen=True)
class Seen:
    path: str
    headers: dict[str, str]
    status: int
    sent: int


class Server:
    """`payload` and `etag` may be exchanged between requests; `faults` are used up, one a request."""

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.etag: str | None = '"v1"'
        self.last_modified: str | None = None
        self.faults: deque[Fault] = deque()
        self._seen: list[Seen] = []
        self._answering = 0
        self._settled = threading.Condition()
        self.half_sent = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.port = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/models/net.bin"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.payload).hexdigest()

    @property
    def seen(self) -> list[Seen]:
        """What was asked. A client may have all bytes before the server notes how many it sent: that is waited for."""
        with self._settled:
            self._settled.wait_for(lambda: self._answering == 0, timeout=5)
        return self._seen

    @contextmanager
    def noting(self, path: str, headers: dict[str, str]) -> Iterator[list[int]]:
        """One request while it is answered; the status and the bytes sent are put into the list."""
        answer = [0, 0]
        with self._settled:
            self._answering += 1
            position = len(self._seen)
            self._seen.append(Seen(path, headers, 0, 0))
        try:
            yield answer
        finally:
            with self._settled:
                self._seen[position] = Seen(path, headers, *answer)
                self._answering -= 1
                self._settled.notify_all()

    @property
    def ranges(self) -> list[str | None]:
        return [seen.headers.get("range") for seen in self.seen]

    @contextmanager
    def running(self) -> Iterator[Server]:
        self._thread.start()
        try:
            yield self
        finally:
            self._http.shutdown()
            self._http.server_close()
            self._thread.join(timeout=10)


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self.close_connection = True
            fault = server.faults.popleft() if server.faults else Fault()
            asked = {name.lower(): value for name, value in self.headers.items()}
            with server.noting(self.path, asked) as answer:
                answer[:] = self.answer(fault)

        def answer(self, fault: Fault) -> tuple[int, int]:
            if fault.status is not None:
                self.reply(fault.status, {"Content-Length": "0"} | fault.headers)
                return fault.status, 0
            payload = server.payload
            if fault.corrupt:
                payload = payload[:-7] + bytes([payload[-7] ^ 1]) + payload[-6:]
            start = self.start(fault)
            if start is not None and start >= len(payload):
                self.reply(416, {"Content-Length": "0", "Content-Range": f"bytes */{len(payload)}"})
                return 416, 0
            headers = {"Content-Length": str(len(payload) - (start or 0))}
            if start is not None:
                headers["Content-Range"] = f"bytes {start}-{len(payload) - 1}/{len(payload)}"
            for name, value in (("ETag", server.etag), ("Last-Modified", server.last_modified)):
                if value is not None:
                    headers[name] = value
            if fault.chunked or fault.no_length:
                del headers["Content-Length"]
            if fault.chunked:
                headers["Transfer-Encoding"] = "chunked"
            status = 200 if start is None else 206
            self.reply(status, headers | fault.headers)
            return status, self.body(payload, start or 0, fault)

        def start(self, fault: Fault) -> int | None:
            match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            wanted = self.headers.get("If-Range")
            current = (server.etag, server.last_modified)
            if match is None or fault.ignore_range:
                return None
            if wanted is not None and wanted not in current and not fault.ignore_if_range:
                return None
            return int(match[1])

        def reply(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()

        def body(self, payload: bytes, start: int, fault: Fault) -> int:
            data = payload[start : fault.stop_at]
            if fault.chunked:
                self.wfile.write(b"%x\r\n" % len(data) + data + b"\r\n")
                if fault.stop_at is None:
                    self.wfile.write(b"0\r\n\r\n")
            else:
                self.wfile.write(data)
            self.wfile.flush()
            if fault.hold is not None:
                server.half_sent.set()
                fault.hold.wait(timeout=15)
            if fault.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # Not shut down in order, which would send a FIN ahead of the reset.
                self.connection.close()
            return len(data)

    return Handler
