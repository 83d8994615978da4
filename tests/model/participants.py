"""Models of the orders, inventory and payments services: books, and what a request does to them.

`tests/model/test_participants.py` sends every request in every state to the real services and compares the answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from common.api.errors import ApiError, IdempotencyKeyReused, ValidationFailed
from domain.ids import order_id_for
from inventory_service.errors import InsufficientStock, ReservationReleased
from orders_service.errors import InvalidStatusTransition, OrderNotFound
from payments_service import gateway
from payments_service.errors import (
    AlreadyCaptured,
    AlreadyVoided,
    AuthorizationNotFound,
    NothingToRefund,
    PaymentDeclined,
)
from payments_service.operations import CAPTURE_REFUSED
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


class Reply(NamedTuple):
    """The stored answer to an idempotency key of the payments service."""

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


Handled = tuple[Books, Response]
Handler = Callable[[Books, Request], Handled]
Row = TypeVar("Row", bound=tuple[Any, ...])


def find(rows: tuple[Row, ...], key: str) -> Row | None:
    """The row with this first column."""
    return next((row for row in rows if row[0] == key), None)


def put(rows: tuple[Row, ...], row: Row) -> tuple[Row, ...]:
    """Insert a row, or replace the one with the same first column."""
    return tuple(sorted((*(other for other in rows if other[0] != row[0]), row)))


def orders(books: Books, request: Request) -> Handled:
    if request.method == "POST":
        return _create(books, request.body)
    order_id, verb = request.path.split("/")[2:]
    return _cancel(books, order_id) if verb == "cancel" else _confirm(books, order_id)


def _create(books: Books, body: str) -> Handled:
    order_id = order_id_for(json.loads(body)["order_ledger_id"])
    order = find(books.orders, order_id)
    if order is None:
        order = Order(order_id, "CREATED", body)
        return books._replace(orders=put(books.orders, order)), _show(order, 201)
    if order.sent not in ("", body):
        raise IdempotencyKeyReused(order_id=order_id)
    if order.status == "CANCELLED":
        raise InvalidStatusTransition("CANCELLED", "CREATED")
    return books, _show(order, 200)


def _cancel(books: Books, order_id: str) -> Handled:
    order = find(books.orders, order_id)
    if order is None or not order.sent:
        return books._replace(orders=put(books.orders, Order(order_id, "CANCELLED"))), refused(OrderNotFound(order_id))
    return _end(books, order, "CANCELLED")


def _confirm(books: Books, order_id: str) -> Handled:
    order = find(books.orders, order_id)
    if order is None or not order.sent:
        raise OrderNotFound(order_id)
    return _end(books, order, "CONFIRMED")


def _end(books: Books, order: Order, status: str) -> Handled:
    if order.status not in ("CREATED", status):
        raise InvalidStatusTransition(order.status, status)
    order = order._replace(status=status)
    return books._replace(orders=put(books.orders, order)), _show(order, 200)


def _show(order: Order, status: int) -> Response:
    body = json.loads(order.sent)
    return _answer(status, id=order.id, order_ledger_id=body["order_ledger_id"], status=order.status)


def inventory(books: Books, request: Request) -> Handled:
    if request.method == "POST":
        return _reserve(books, request.body)
    return _release(books, request.path.split("/")[3])


def _reserve(books: Books, body: str) -> Handled:
    sent = json.loads(body)
    order_id, (item,) = sent["order_id"], sent["items"]
    known, quantity = find(books.reservations, order_id), item["quantity"]
    if known and known.status == "RELEASED":
        raise ReservationReleased(order_id=order_id)
    if known and known.sent != body:
        raise IdempotencyKeyReused()
    if not known:
        if quantity > books.stock:
            raise InsufficientStock(item["product_id"], "sku", requested=quantity, available=books.stock)
        rows = put(books.reservations, Reservation(order_id, "RESERVED", body, quantity))
        books = books._replace(stock=books.stock - quantity, reservations=rows)
    return books, _answer(201, order_id=order_id, total_quantity_reserved=quantity)


def _release(books: Books, order_id: str) -> Handled:
    known = find(books.reservations, order_id) or Reservation(order_id, "RELEASED")
    restored = known.quantity if known.status == "RESERVED" else 0
    rows = put(books.reservations, known._replace(status="RELEASED"))
    return (
        books._replace(stock=books.stock + restored, reservations=rows),
        _answer(200, order_id=order_id, total_quantity_restored=restored),
    )


def payments(books: Books, request: Request) -> Handled:
    verb, *ids = request.path.split("/")[2:]
    return _once(books, request, verb if ids or verb == "authorize" else "void_by_key", *ids)


def _once(books: Books, request: Request, verb: str, *ids: str) -> Handled:
    """Answer a key once, and then replay the answer."""
    body = json.loads(request.body)
    key, sent = f"{verb} {body['idempotency_key']}", request.path + request.body
    if known := find(books.replies, key):
        if known.sent != sent:
            raise IdempotencyKeyReused()
        return books, known.response
    try:
        books, response = _PAYMENT_VERBS[verb](books, body, *ids)
    except ApiError as refusal:
        if not refusal.is_final:
            raise
        response = refused(refusal)
    return books._replace(replies=put(books.replies, Reply(key, sent, response))), response


def _authorize(books: Books, body: dict[str, Any]) -> Handled:
    if any(payment.key == body["idempotency_key"] for payment in books.payments):
        raise AlreadyVoided()  # by a tombstone: an authorization has a stored answer
    payment, token = _new_payment(books, body["idempotency_key"]), body["payment_token"]
    if code := gateway.decline_code(token):
        payment = payment._replace(status="DECLINED", amount=body["amount_cents"])
        return _declined(books, payment, code)
    payment = payment._replace(
        status="AUTHORIZED", amount=body["amount_cents"], refuses_capture=gateway.refuses_capture(token)
    )
    return _changed(books, payment, amount_cents=payment.amount, currency=body["currency"])


def _declined(books: Books, payment: Payment, code: str) -> Handled:
    """The real service also writes the declined payment down, in the transaction of the answer."""
    return books._replace(payments=put(books.payments, payment)), refused(PaymentDeclined(code))


def _new_payment(books: Books, key: str) -> Payment:
    return Payment(f"auth_{len(books.payments) + 1:024}", key, "VOIDED")


def _capture(books: Books, body: dict[str, Any], id_: str) -> Handled:
    payment = _payment(books, id_)
    if payment.status == "VOIDED":
        raise AlreadyVoided()
    if payment.captured:
        raise AlreadyCaptured(capture_id="cap")
    if body["amount_cents"] > payment.amount:
        raise ValidationFailed()
    if payment.refuses_capture:
        raise PaymentDeclined(CAPTURE_REFUSED)
    captured = body["amount_cents"]
    return _changed(books, payment._replace(status="CAPTURED", captured=captured), amount_cents=captured)


def _void(books: Books, body: dict[str, Any], id_: str) -> Handled:
    return _changed(books, _voided(_payment(books, id_)))


def _void_by_key(books: Books, body: dict[str, Any]) -> Handled:
    key = body["authorization_key"]
    found = next((payment for payment in books.payments if payment.key == key), None)
    payment = found or _new_payment(books, key)
    if payment.status != "DECLINED":  # then nothing was ever held
        payment = _voided(payment)
    is_hold = payment.amount and payment.status != "DECLINED"
    id_ = payment.id if is_hold else None
    return books._replace(payments=put(books.payments, payment)), _answer(200, authorization_id=id_, status="VOIDED")


def _voided(payment: Payment) -> Payment:
    if payment.captured:
        raise AlreadyCaptured(capture_id="cap")
    return payment._replace(status="VOIDED")


def _refund(books: Books, body: dict[str, Any], id_: str) -> Handled:
    payment = _payment(books, id_)
    if payment.status == "VOIDED":
        raise AlreadyVoided()
    left = payment.captured - payment.refunded
    if not left:
        raise NothingToRefund(payment.status)
    return _changed(books, payment._replace(status="REFUNDED", refunded=payment.captured), amount_cents=left)


_PAYMENT_VERBS: dict[str, Callable[..., Handled]] = {
    "authorize": _authorize,
    "capture": _capture,
    "void": _void,
    "void_by_key": _void_by_key,
    "refund": _refund,
}


def _payment(books: Books, id_: str) -> Payment:
    payment = find(books.payments, id_)
    if payment is None or payment.status == "DECLINED" or not payment.amount:
        raise AuthorizationNotFound()
    return payment


def _changed(books: Books, payment: Payment, **more: Any) -> Handled:
    response = _answer(200, authorization_id=payment.id, status=payment.status, **more)
    return books._replace(payments=put(books.payments, payment)), response


def _answer(status: int, /, **body: Any) -> Response:
    return Response(status, json.dumps(body))


def refused(refusal: ApiError) -> Response:
    return _answer(refusal.status, error=refusal.code, message=refusal.message, details=refusal.details)


SERVICES: dict[str, Handler] = {"orders": orders, "inventory": inventory, "payments": payments}


def handle(books: Books, request: Request) -> Handled:
    """The books after a request, and its response."""
    try:
        return SERVICES[request.service](books, request)
    except ApiError as refusal:
        return books, refused(refusal)
