"""Writes a response without waiting for a client that receives slowly."""

from __future__ import annotations

from typing import Any

from gunicorn.http import wsgi

from common.server.connection import send_now

JOIN_BYTES = 64 * 1024  # a body up to this size is copied behind its head: one system call, one packet


class BufferedResponse(wsgi.Response):  # type: ignore[misc]  # gunicorn has no types
    """Sends the head together with the first piece of the body, and keeps what the client does not accept at once.

    The services build each body in memory anyway, so what is kept here is bounded by what they respond with.
    """

    headers_sent: bool

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.head = b""
        self.unsent: list[memoryview] = []

    @property
    def has_started(self) -> bool:
        """Whether a part of it has left, so that it cannot become another response."""
        return bool(self.headers_sent and not self.head)

    def send_all_of(self, body: Any) -> None:
        try:
            for piece in body:
                self.write(piece)
            self.close()
        finally:
            if hasattr(body, "close"):
                body.close()

    def should_close(self) -> bool:
        """Also after a body that could not be parsed: the start of the next request is unknown."""
        return bool(super().should_close() or getattr(self.req.body, "failed", False))

    def send_headers(self) -> None:
        if not self.headers_sent:
            lines = [*self.default_headers(), *(f"{name}: {value}\r\n" for name, value in self.headers), "\r\n"]
            self.head = "".join(lines).encode("latin-1")
            self.headers_sent = True

    def close(self) -> None:
        self.send_headers()
        self._send(b"0\r\n\r\n" if self.chunked else b"")

    def _emit_body(self, data: bytes) -> None:
        self._send(b"%X\r\n%s\r\n" % (len(data), data) if self.chunked else data)

    def _send(self, data: bytes) -> None:
        head, self.head = self.head, b""
        pieces = [head + data] if len(data) <= JOIN_BYTES else [head, data]
        new = [memoryview(piece) for piece in pieces if piece]
        if new:
            self.unsent = [*self.unsent, *new] if self.unsent else send_now(self.sock, new)
