"""A client's connection as the worker sees it, and how an answer is put on it."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from http import HTTPStatus

from gunicorn import util
from gunicorn.http import wsgi
from gunicorn.workers.gthread import TConn

from common.api.errors import ApiError
from common.server.framing import MOST_BYTES, waits_for_leave

USUAL_BYTES = 8 * 1024  # of a request; the largest valid order has 5 KB
LEAVE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(TConn):  # type: ignore[misc]  # gunicorn has no types
    """One thread at a time has to do with it: whom the poller told of it, until it is given back to the poller.

    `timeout`, on the monotonic clock in seconds, is when it is cut, whatever it is at.
    """

    is_in_hand = False  # its request is being answered
    is_answered = False  # for the last time: only its end is awaited
    is_overdue = False
    refusal: Exception | None = None  # of a request that is no HTTP
    _seen = 0  # bytes of a request that is not there in whole
    _has_leave = False

    def read_ahead(self) -> bytes:
        """What was read along with the last request."""
        return self.parser.unreader.buf.getvalue() if self.parser else b""

    def peek(self) -> bytes | None:
        """What has arrived and was not read; None: nothing yet; empty: the client has closed."""
        how = socket.MSG_PEEK | socket.MSG_DONTWAIT
        try:
            arrived: bytes = self.sock.recv(USUAL_BYTES, how)
            return arrived if len(arrived) < USUAL_BYTES else self.sock.recv(MOST_BYTES, how)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def may_send_more(self, arrived: bytes | None) -> bool:
        return arrived is None or len(arrived) > self._seen

    def is_begun(self) -> bool:
        return self._seen > 0

    def wait_for_more_than(self, arrived: int, request: bytes) -> None:
        """Be silent until there is more than has been seen, or the client has hung up: the kernel sees to that."""
        if waits_for_leave(request) and not self._has_leave:
            self._has_leave = True
            with suppress(OSError):  # it has gone, which the poller will tell
                util.write_nonblock(self.sock, LEAVE)
        self._seen = arrived
        if arrived:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, arrived + 1)

    def begin(self, until: float) -> None:
        """Its request is there in whole, and is to be answered until then."""
        if self._seen:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        self._seen, self._has_leave, self.data_ready = 0, False, True
        self.timeout, self.is_in_hand = until, True

    def cut(self, is_in_hand: bool) -> None:
        """It has taken too long. What is in hand is cut off; otherwise nothing more is read.

        The poller tells a thread, so that a request which has come at the last moment is still answered.
        """
        self.is_overdue = True
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR if is_in_hand else socket.SHUT_RD)


class Answer(wsgi.Response):  # type: ignore[misc]
    """Its head waits for the first piece of the body: one call of the kernel, and one packet, instead of two."""

    head = b""
    headers_sent: bool

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
        if head or data:
            self.sock.sendall(head + data)


def as_http(error: ApiError) -> bytes:
    """A whole answer, after which the connection is closed."""
    body = error.body()
    text = json.dumps(body).encode()
    head = (
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\nX-Request-ID: {body['request_id']}\r\n\r\n"
    )
    return head.encode() + text
