"""Tells from its bytes whether an HTTP/1.1 request (RFC 9112) is complete, without parsing it."""

from __future__ import annotations

import re

from gunicorn.http import errors

from common.api.service import MAX_BODY_BYTES

MAX_BYTES = 80 * 1024  # buffered for one request: a body of 64 KB and its head; the service refuses larger bodies

REQUEST_LINE = re.compile(rb"[A-Z]+ \S+ HTTP/1\.[01]\r\n")
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,15})[^\r\n]*\r\n")
EXPECTS_CONTINUE = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n", re.IGNORECASE)


def is_complete(received: bytes) -> bool:
    """Whether a thread can respond, with a result or a refusal, without waiting for the client."""
    return _is_too_large(received) or not may_be_http(received) or _has_whole_body(received)


def is_truncated(received: bytes) -> bool:
    """Whether the request is larger than what is buffered, so that the rest of it has yet to arrive."""
    return _is_too_large(received) and not _has_whole_body(received)


def _is_too_large(received: bytes) -> bool:
    """Whether more than MAX_BYTES have arrived, or the head announces a body that the service refuses."""
    head, end_of_head, _ = received.partition(b"\r\n\r\n")
    length = CONTENT_LENGTH.search(head + b"\r\n") if end_of_head else None
    return len(received) >= MAX_BYTES or (length is not None and int(length[1]) > MAX_BODY_BYTES)


def _has_whole_body(received: bytes) -> bool:
    end_of_head = received.find(b"\r\n\r\n")
    if end_of_head < 0:
        return False
    head, body_from = received[: end_of_head + 2], end_of_head + 4
    if CHUNKED.search(head):
        return _has_last_chunk(received, body_from)
    length = CONTENT_LENGTH.search(head)
    return length is None or len(received) >= body_from + int(length[1])


def expects_continue(received: bytes) -> bool:
    """Whether the client waits for a 100 response before it sends the body (RFC 9110, 10.1.1)."""
    head, end_of_head, _ = received.partition(b"\r\n\r\n")
    return bool(end_of_head and EXPECTS_CONTINUE.search(head + b"\r\n"))


def parse_error(received: bytes) -> Exception | None:
    """The error that gunicorn would raise, but only after reading to the end of a line that may never come."""
    if received and not may_be_http(received):
        return errors.InvalidRequestLine("")  # type: ignore[no-any-return]
    if len(received) >= MAX_BYTES and b"\r\n\r\n" not in received:
        return errors.LimitRequestHeaders("")  # type: ignore[no-any-return]
    return None


def without_empty_lines(received: bytes) -> bytes:
    """Drop empty lines before the request line: a server should ignore at least one (RFC 9112, 2.2)."""
    return received.lstrip(b"\r\n")


def may_be_http(received: bytes) -> bool:
    first, separator, _ = received.partition(b"\n")
    return received[:1].isupper() and (not separator or bool(REQUEST_LINE.match(first + separator)))


def _has_last_chunk(received: bytes, at: int) -> bool:
    """Whether the last chunk and its trailers have arrived. An invalid size counts: it is refused at once."""
    while size := CHUNK_SIZE.match(received, at):
        if int(size[1], 16) == 0:
            return received.find(b"\r\n\r\n", size.end() - 2) >= 0
        at = size.end() + int(size[1], 16) + 2
    return b"\n" in received[at : at + 100]
