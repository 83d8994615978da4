"""How much of an HTTP/1.1 request has arrived (RFC 9112), told from its bytes without taking them."""

from __future__ import annotations

import re

from gunicorn.http import errors

MOST_BYTES = 80 * 1024  # that are looked at: a body of 64 KB and its head. What is longer is refused by the service.

REQUEST_LINE = re.compile(rb"[A-Z]+ \S+ HTTP/1\.[01]\r\n")
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,15})[^\r\n]*\r\n")
WAITS_FOR_LEAVE = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n", re.IGNORECASE)


def is_whole(arrived: bytes) -> bool:
    """Whether a thread can answer without having to wait for the client: with what was asked, or with a refusal."""
    if len(arrived) >= MOST_BYTES or not may_become_http(arrived):
        return True
    end_of_head = arrived.find(b"\r\n\r\n")
    if end_of_head < 0:
        return False
    head, body_from = arrived[: end_of_head + 2], end_of_head + 4
    if CHUNKED.search(head):
        return _has_last_chunk(arrived, body_from)
    length = CONTENT_LENGTH.search(head)
    return length is None or len(arrived) >= body_from + int(length[1])


def waits_for_leave(arrived: bytes) -> bool:
    """Whether the client sends its body only when it has been told to (RFC 9110, 10.1.1)."""
    head, end_of_head, _ = arrived.partition(b"\r\n\r\n")
    return bool(end_of_head and WAITS_FOR_LEAVE.search(head + b"\r\n"))


def unreadable(arrived: bytes) -> Exception | None:
    """What gunicorn would refuse too, but only once it has read to the end of a line or a head that may never come."""
    if arrived and not may_become_http(arrived):
        return errors.InvalidRequestLine("")  # type: ignore[no-any-return]
    if len(arrived) >= MOST_BYTES and b"\r\n\r\n" not in arrived:
        return errors.LimitRequestHeaders("")  # type: ignore[no-any-return]
    return None


def may_become_http(arrived: bytes) -> bool:
    first, separator, _ = arrived.partition(b"\n")
    return arrived[:1].isupper() and (not separator or bool(REQUEST_LINE.match(first + separator)))


def _has_last_chunk(arrived: bytes, at: int) -> bool:
    """Whether the chunk of size 0 and what may stand behind it has come; a size that is none is refused at once."""
    while size := CHUNK_SIZE.match(arrived, at):
        if int(size[1], 16) == 0:
            return arrived.find(b"\r\n\r\n", size.end() - 2) >= 0
        at = size.end() + int(size[1], 16) + 2
    return b"\n" in arrived[at : at + 100]
