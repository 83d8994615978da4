"""Tells from its bytes whether an HTTP/1.1 request (RFC 9112) is complete, without parsing it."""

from __future__ import annotations

import re

from gunicorn.http import errors

from common.api.service import MAX_BODY_BYTES

MAX_BYTES = 80 * 1024  # buffered for one request: a body of 64 KB and its head; the service refuses larger bodies
MAX_SIZE_LINE = 8190  # bytes of a chunk's size and extensions; gunicorn refuses a longer line, too
MAX_DIGITS = 18  # of a length that is read; one with more digits is too large by its first ones

# No part of a pattern can match a byte of the part before it, so that the time grows with the length only.
REQUEST_LINE = re.compile(rb"[A-Z]+ \S+ HTTP/1\.[01]\r\n")
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)[ \t]*\r\n", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]+")
EXPECTS_CONTINUE = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n", re.IGNORECASE)


class Framing:
    """How far a request has arrived.

    Each method takes all of its bytes: the same as before, and what has come since. It looks at the new ones, so that
    a client that sends byte by byte costs little more than another one.
    """

    def __init__(self) -> None:
        self.expects_continue = False
        """Whether the client waits for a 100 response before it sends the body (RFC 9110, 10.1.1)."""
        self._is_http: bool | None = None  # None: the first line has not arrived
        self._searched = 0  # where the search for the end of the head, and then of the trailers, goes on
        self._body_at = 0  # 0: the head has not arrived
        self._length = 0
        self._is_chunked = False
        self._chunk_at = 0  # where the first chunk begins that has not arrived in full

    def is_complete(self, received: bytes) -> bool:
        """Whether a thread can respond, with a result or a refusal, without waiting for the client."""
        return self._is_too_large(received) or not self._may_be_http(received) or self._has_whole_body(received)

    def is_truncated(self, received: bytes) -> bool:
        """Whether the request is larger than what is buffered, so that the rest of it has yet to arrive."""
        return self._is_too_large(received) and not self._has_whole_body(received)

    def parse_error(self, received: bytes) -> Exception | None:
        """The error that gunicorn would raise, but only after reading to the end of a line that may never come."""
        if received and not self._may_be_http(received):
            return errors.InvalidRequestLine("")  # type: ignore[no-any-return]
        if len(received) >= MAX_BYTES and not self._has_head(received):
            return errors.LimitRequestHeaders("")  # type: ignore[no-any-return]
        return None

    def _is_too_large(self, received: bytes) -> bool:
        """Whether MAX_BYTES have arrived, or the head announces a body that the service refuses."""
        return len(received) >= MAX_BYTES or (self._has_head(received) and self._length > MAX_BODY_BYTES)

    def _may_be_http(self, received: bytes) -> bool:
        if self._is_http is None:
            end = received.find(b"\n") + 1
            if not end:
                return received[:1].isupper()
            self._is_http = bool(REQUEST_LINE.match(received[:end]))
        return self._is_http

    def _has_head(self, received: bytes) -> bool:
        if not self._body_at:
            end = received.find(b"\r\n\r\n", self._searched)
            self._searched = max(0, len(received) - 3)
            if end >= 0:
                self._read_head(received[: end + 2])
                self._body_at = self._chunk_at = end + 4
                self._searched = 0
        return bool(self._body_at)

    def _read_head(self, head: bytes) -> None:
        length = CONTENT_LENGTH.search(head)
        self._length = int(length[1].lstrip(b"0")[:MAX_DIGITS] or b"0") if length else 0
        self._is_chunked = bool(CHUNKED.search(head))
        self.expects_continue = bool(EXPECTS_CONTINUE.search(head))

    def _has_whole_body(self, received: bytes) -> bool:
        if not self._has_head(received):
            return False
        return self._has_last_chunk(received) if self._is_chunked else len(received) >= self._body_at + self._length

    def _has_last_chunk(self, received: bytes) -> bool:
        """Whether all chunks have arrived, with the trailers. An invalid size ends them: it is refused at once."""
        while (line_end := received.find(b"\r\n", self._chunk_at, self._chunk_at + MAX_SIZE_LINE)) >= 0:
            size = _chunk_size(received[self._chunk_at : line_end])
            if not size:
                return size is None or self._has_trailers(received, line_end)
            end = line_end + 2 + min(size, MAX_BYTES) + 2
            if end > len(received):
                return False
            self._chunk_at = end
        return len(received) >= self._chunk_at + MAX_SIZE_LINE

    def _has_trailers(self, received: bytes, line_end: int) -> bool:
        end = received.find(b"\r\n\r\n", max(line_end, self._searched))
        if end < 0:
            self._searched = len(received) - 3
        return end >= 0


def _chunk_size(line: bytes) -> int | None:
    """None: it is not valid."""
    size = line.partition(b";")[0].rstrip(b" \t")
    return int(size, 16) if CHUNK_SIZE.fullmatch(size) else None


def without_empty_lines(received: bytes) -> bytes:
    """Drop empty lines before the request line: a server should ignore at least one (RFC 9112, 2.2)."""
    return received.lstrip(b"\r\n")
