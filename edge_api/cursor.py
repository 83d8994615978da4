"""The place in a list of orders where the next page begins, as a text that only this service reads.

It has the time and the id of the last order that its reader has seen, and a check sum against typing mistakes.
"""

from __future__ import annotations

import binascii
import re
import struct
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple

from marshmallow import ValidationError, fields

from common.database.database import Row

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
FORM = struct.Struct(">q16s")  # microseconds since 1970, id
CHECK_BYTES = 4
TEXT = re.compile("[A-Za-z0-9_-]{38}", re.ASCII)  # 28 bytes in base64, without its padding


class Position(NamedTuple):
    created_at: datetime
    id: str


def cursor_of(position: Position) -> str:
    """The position as a text of letters, digits, `-` and `_`."""
    microseconds = (position.created_at - EPOCH) // MICROSECOND
    raw = FORM.pack(microseconds, uuid.UUID(position.id).bytes)
    return urlsafe_b64encode(raw + _check(raw)).decode().rstrip("=")


def page_of(found: list[Row], limit: int, at: str = "created_at", id_: str = "id") -> tuple[list[Row], str | None]:
    """One page, and the cursor of the next one: None at the end.

    :param found: the rows of the page, and one more if there is another page
    :param at, id_: the columns that make the position of a row
    """
    page = found[:limit]
    if len(found) <= limit:
        return page, None
    return page, cursor_of(Position(page[-1][at], page[-1][id_]))


def position_of(cursor: str) -> Position:
    """:raises ValueError: `cursor_of` did not make this text"""
    if not TEXT.fullmatch(cursor):
        raise ValueError("not a cursor")
    try:
        raw = urlsafe_b64decode(f"{cursor}==")[:-CHECK_BYTES]
        microseconds, id_ = FORM.unpack(raw)
        position = Position(EPOCH + microseconds * MICROSECOND, str(uuid.UUID(bytes=id_)))
    except (binascii.Error, struct.error, OverflowError) as error:
        raise ValueError("not a cursor") from error
    if cursor_of(position) != cursor:
        raise ValueError("not a cursor")
    return position


class Cursor(fields.String):
    """`next_cursor` of the page before. Loaded as a Position."""

    def __init__(self, **options: Any) -> None:
        super().__init__(metadata={"pattern": f"^{TEXT.pattern}$", "description": "`next_cursor` of the page before"})

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> Position:  # type: ignore[override]
        try:
            return position_of(value)
        except ValueError:
            raise ValidationError("Not a cursor of this list. Take `next_cursor` of the page before.") from None


def _check(raw: bytes) -> bytes:
    return sha256(raw).digest()[:CHECK_BYTES]
