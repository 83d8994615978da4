"""A receiver of webhooks that a test can make fail, hang or answer anything."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self


class Received(NamedTuple):
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        return json.loads(self.body)


class Receiver(ThreadingHTTPServer):
    """`answer` decides on each request: a status, or None to close the connection without an answer."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.heard: list[Received] = []
        self.answered: list[Received] = []
        self.answer: Callable[[Received], int | None] = lambda _: 204
        self.headers: dict[str, str] = {}
        self.text = b""
        self.go = threading.Event()
        """Requests to /hang wait for it."""
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.go.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """A connection that the other side has closed."""


class _Handler(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        received = Received(self.path, self.headers, body)
        self.server.heard.append(received)
        if self.path.startswith("/hang"):
            self.server.go.wait(60)
        status = self.server.answer(received)
        if status is None:
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(self.server.text)))
        self.end_headers()
        self.wfile.write(self.server.text)
        self.server.answered.append(received)

    def log_message(self, *_: object) -> None:
        pass
