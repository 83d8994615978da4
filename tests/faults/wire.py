"""HTTP messages as they go over the wire, byte for byte.

They must have a Content-Length or no body, as all messages of our processes do.
"""

from __future__ import annotations

import json
import re
import select
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO


class ParticipantGone(OSError):
    """The participant cannot be reached, or closed the connection instead of answering."""


@dataclass(frozen=True)
class Message:
    """A request or an answer: the head with the empty line that ends it, and the body."""

    head: bytes
    body: bytes

    @property
    def raw(self) -> bytes:
        return self.head + self.body

    @property
    def first_line(self) -> list[str]:
        return self.head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)

    @property
    def status(self) -> int:
        return int(self.first_line[1])

    @property
    def error_code(self) -> str | None:
        if self.status < 400:
            return None
        with suppress(ValueError, AttributeError):
            return json.loads(self.body).get("error")
        return None

    def with_body(self, body: bytes) -> Message:
        return Message(re.sub(rb"(?i)(content-length: *)\d+", rb"\g<1>%d" % len(body), self.head), body)


class ParticipantConnection:
    """A caller's own connection to the participant, kept alive, and reopened after the participant closes it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._socket: socket.socket | None = None
        self._stream: BinaryIO | None = None

    def ask(self, request: Message) -> Message:
        if self._socket is None or select.select([self._socket], [], [], 0)[0]:  # readable: closed
            self._connect()
        assert self._socket
        assert self._stream
        self._socket.sendall(request.raw)
        answer = read_message(self._stream)
        if answer is None:
            raise ParticipantGone
        return answer

    def close(self) -> None:
        if self._socket and self._stream:
            self._stream.close()
            self._socket.close()
            self._socket = None

    def _connect(self) -> None:
        self.close()
        self._socket = socket.create_connection(self._address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream = self._socket.makefile("rb")


def read_message(stream: BinaryIO) -> Message | None:
    """Return the next message, or None if the other side has closed."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            return None
        head += line
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    assert not re.search(rb"(?i)\r\ntransfer-encoding:", head), "the proxy does not support chunks"
    size = int(length[1]) if length else 0
    body = stream.read(size)
    return Message(head, body) if len(body) == size else None
