"""Tells from its bytes whether an HTTP/1.1 request (RFC 9112) is complete, without parsing it."""

from __future__ import annotations

import re

from gunicorn.http import errors

from common.api.service import MAX_BODY_BYTES

MAX_BYTES = 80 * 1024  # buffered for one request: a body of 64 KB and its head; the service refuses larger bodies

REQUEST_LINE = re.compile(rb"[A-Z]+ \S+ HTTP/1\.[01]\r\n")
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*0*(\d{1,18})\d*[ \t]*\r\n", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]+)[ \t]*(?:;[^\r\n]*)?\r\n")
EXPECTS_CONTINUE = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n", re.IGNORECASE)


def is_complete(received: bytes, chunk_at: int = 0) -> bool:
    """Whether a thread can respond, with a result or a refusal, without waiting for the client.

    :param chunk_at: where `next_chunk` found that it has to go on
    """
    return _is_too_large(received) or not may_be_http(received) or _has_whole_body(received, chunk_at)


def next_chunk(received: bytes, at: int = 0) -> int:
    """Where the first chunk begins that has not arrived in full. 0: the head has not, or the body has no chunks.

    :param at: the last result for this request, so that not every byte of a slow client costs a scan of all before it
    """
    if not at:
        head, end_of_head, _ = received.partition(b"\r\n\r\n")
        if not end_of_head or not CHUNKED.search(head + b"\r\n"):
            return 0
        at = len(head) + len(end_of_head)
    while (size := CHUNK_SIZE.match(received, at)) and int(size[1], 16):
        end = size.end() + min(int(size[1], 16), MAX_BYTES) + 2
        if end > len(received):
            break
        at = end
    return at


def is_truncated(received: bytes) -> bool:
    """Whether the request is larger than what is buffered, so that the rest of it has yet to arrive."""
    return _is_too_large(received) and not _has_whole_body(received)


def _is_too_large(received: bytes) -> bool:
    """Whether more than MAX_BYTES have arrived, or the head announces a body that the service refuses."""
    head, end_of_head, _ = received.partition(b"\r\n\r\n")
    length = CONTENT_LENGTH.search(head + b"\r\n") if end_of_head else None
    return len(received) >= MAX_BYTES or (length is not None and int(length[1]) > MAX_BODY_BYTES)


def _has_whole_body(received: bytes, chunk_at: int = 0) -> bool:
    if at := next_chunk(received, chunk_at):
        return _has_last_chunk(received, at)
    head, end_of_head, body = received.partition(b"\r\n\r\n")
    if not end_of_head:
        return False
    length = CONTENT_LENGTH.search(head + b"\r\n")
    return length is None or len(body) >= int(length[1])


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
    """Whether the chunk at `at` is the last one, with its trailers. An invalid size counts: it is refused at once."""
    if size := CHUNK_SIZE.match(received, at):
        return int(size[1], 16) == 0 and received.find(b"\r\n\r\n", size.end() - 2) >= 0
    return b"\r\n" in received[at:]
