"""What the participants have in their tables, and what their answers look like."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from common.api.errors import ApiError, IdempotencyKeyReused
from tests.model.network import Request, Response


class Order(NamedTuple):
    id: str
    status: str
    sent: str = ""
    """The body of its create. Empty: the tombstone of a cancel that came first."""


class Reservation(NamedTuple):
    order_id: str
    status: str
    sent: str = ""
    quantity: int = 0


class Payment(NamedTuple):
    id: str
    key: str
    status: str
    amount: int = 0
    """0: the tombstone of a void that came first."""
    captured: int = 0
    refunded: int = 0
    refuses_capture: bool = False
    refuses_refund: bool = False
    delays_refund: bool = False
    pending: int = 0
    """Cents of refunds that the gateway has not settled."""


class Movement(NamedTuple):
    """A refund in the books of the payments service."""

    key: str
    payment: str
    amount: int
    status: str


class Returned(NamedTuple):
    """The pieces that went back into stock for a refund: the sum of the adjustments with this reference."""

    reference: str
    quantity: int


class Reply(NamedTuple):
    """The stored answer to an idempotency key of the payments or the inventory service."""

    key: str
    sent: str
    response: Response


class Books(NamedTuple):
    """What the participants have in their tables."""

    received: int
    """Pieces of the one product: the sum of its adjustments."""
    stock: int
    orders: tuple[Order, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    payments: tuple[Payment, ...] = ()
    replies: tuple[Reply, ...] = ()
    movements: tuple[Movement, ...] = ()
    returned: tuple[Returned, ...] = ()
    is_gone: bool = False
    """Whether the product has been deleted."""


Handled = tuple[Books, Response]
Handler = Callable[[Books, Request], Handled]
Row = TypeVar("Row", bound=tuple[Any, ...])


def find(rows: tuple[Row, ...], key: str) -> Row | None:
    """The row with this first column."""
    return next((row for row in rows if row[0] == key), None)


def put(rows: tuple[Row, ...], row: Row) -> tuple[Row, ...]:
    """Insert a row, or replace the one with the same first column."""
    return tuple(sorted((*(other for other in rows if other[0] != row[0]), row)))


def answer(status: int, /, **body: Any) -> Response:
    """A response with this body."""
    return Response(status, json.dumps(body))


def once(books: Books, key: str, sent: str, work: Callable[[], Handled]) -> Handled:
    """Answer a key once, and then replay the answer. Of the refusals only final ones are stored."""
    if known := find(books.replies, key):
        if known.sent != sent:
            raise IdempotencyKeyReused()
        return books, known.response
    try:
        books, response = work()
    except ApiError as refusal:
        if not refusal.is_final:
            raise
        response = refused(refusal)
    return books._replace(replies=put(books.replies, Reply(key, sent, response))), response


def refused(refusal: ApiError) -> Response:
    """The response of a refusal."""
    return answer(refusal.status, error=refusal.code, message=refusal.message, details=refusal.details)
