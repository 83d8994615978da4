"""A client's connection as the worker sees it."""

from __future__ import annotations

import enum
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from gunicorn.http import RequestParser

from common.api.errors import PayloadTooLarge
from common.server.framing import MAX_BYTES, Framing, without_empty_lines

RECEIVE_BYTES = 16 * 1024  # the largest valid order has 5 KB
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class State(enum.Enum):
    READING = "no complete request has arrived"
    QUEUED = "a complete request waits for a slot"
    WORKING = "a thread is responding"
    PARKED = "the request waits for something and has no thread"
    SENDING = "the client has yet to receive the rest of the response"
    CLOSING = "the last response was sent, and the client has yet to close"


class Connection:
    """Used by one thread at a time: the one that the poller or a slot gave it to."""

    def __init__(self, sock: socket.socket, client: Any, server: Any, cfg: Any, deadline: float) -> None:
        """:param deadline: when the connection is cut, whatever its state; on the monotonic clock, in seconds"""
        self.sock, self.client, self.server, self.deadline = sock, client, server, deadline
        self.fd = sock.fileno()
        self.state = State.READING
        self.received = b""
        """Bytes that the parser has not taken."""
        self.framing = Framing()
        """Of the request in `received`."""
        self.unsent: list[memoryview] = []
        """The rest of a response that the client receives slowly."""
        self.keeps_alive = True
        self.is_overdue = False
        self.parse_error: Exception | None = None
        self.is_truncated = False
        self.parked_request: Any = None
        self.is_resumed = False
        self.cancel_wait: Callable[[], None] = lambda: None
        self.parser = RequestParser(cfg, self._chunks(), client)
        self._continue_sent = False

    def _chunks(self) -> Iterator[bytes]:
        """The parser's source. No thread waits for more than what has arrived.

        :raises PayloadTooLarge: the request is larger than what is buffered
        """
        while self.received:
            received, self.received = self.received, b""
            yield received
        if self.is_truncated:
            raise PayloadTooLarge()
        raise ConnectionAbortedError("the parser takes the request for longer than framing.py does")

    def receive(self) -> bool:
        """Take what has arrived. :returns: False where the client has closed the connection"""
        is_open = True
        try:
            while len(self.received) < MAX_BYTES:
                data = self.sock.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)
                is_open = bool(data)
                self.received += data
                if len(data) < RECEIVE_BYTES:
                    break
        except BlockingIOError:
            pass
        except OSError:
            return False
        self.received = without_empty_lines(self.received)
        return is_open

    def take_back_surplus(self) -> None:
        """Return to `received` what the parser read beyond its request."""
        self.received = without_empty_lines(self.parser.unreader.take_buffered() + self.received)

    def send_continue(self) -> None:
        """Tell a client to send the body if it waits for that, once for each request."""
        if not self._continue_sent and self.framing.expects_continue:
            self._continue_sent = True
            with suppress(OSError):  # the poller reports a client that has gone
                self.sock.send(CONTINUE, socket.MSG_DONTWAIT)

    def begin(self, deadline: float) -> None:
        """A thread starts to respond."""
        self.state, self.deadline, self._continue_sent = State.WORKING, deadline, False
        self.framing = Framing()

    def send_rest(self) -> None:
        """Send as much as the client accepts now. :raises OSError: it has gone"""
        self.unsent = send_now(self.sock, self.unsent)

    def cut(self) -> None:
        """End a connection that has taken too long. The poller then reports it to a thread, which closes it.

        Where no response is under way, only reading ends: a request that arrived in the last moment is still answered.
        """
        self.is_overdue = True
        is_reading = self.state in (State.READING, State.CLOSING)
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RD if is_reading else socket.SHUT_RDWR)


def send_now(sock: socket.socket, pieces: list[memoryview]) -> list[memoryview]:
    """Send without waiting. :returns: what the kernel did not take :raises OSError: the client has gone"""
    for number, piece in enumerate(pieces):
        try:
            sent = sock.send(piece, socket.MSG_DONTWAIT)
        except BlockingIOError:
            sent = 0
        if sent < len(piece):
            return [piece[sent:], *pieces[number + 1 :]]
    return []


def has_gone(sock: socket.socket) -> bool:
    """Whether the client has closed its end, even where bytes that it sent before are still unread."""
    poll = select.poll()
    poll.register(sock, getattr(select, "POLLRDHUP", 0))  # macOS reports POLLHUP only
    return bool(poll.poll(0))
