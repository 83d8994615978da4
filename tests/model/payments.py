"""A model of the payments service: holds, captures, voids, refunds, and one answer for each idempotency key."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from common.api.errors import ValidationFailed
from payments_service.errors import (
    AlreadyCaptured,
    AlreadyVoided,
    AuthorizationNotFound,
    NothingToRefund,
    PaymentDeclined,
    RefundDeclined,
)
from payments_service.gateways import simulated
from payments_service.operations import CAPTURE_REFUSED
from tests.model.books import Books, Handled, Movement, Payment, answer, find, once, put, refused
from tests.model.network import Request, Response

SETTLE = "/payments/simulate/settle_refunds"


def payments(books: Books, request: Request) -> Handled:
    if request.path == SETTLE:
        return settle(books), answer(200)
    verb, *ids = request.path.split("/")[2:]
    verb = verb if ids or verb == "authorize" else "void_by_key"
    body = json.loads(request.body)
    key, sent = f"{verb} {body['idempotency_key']}", request.path + request.body
    return once(books, key, sent, lambda: _PAYMENT_VERBS[verb](books, body, *ids))


def _authorize(books: Books, body: dict[str, Any]) -> Handled:
    if any(payment.key == body["idempotency_key"] for payment in books.payments):
        raise AlreadyVoided()  # by a tombstone: an authorization has a stored answer
    payment, token = _new_payment(books, body["idempotency_key"]), body["payment_token"]
    if code := simulated.decline_code(token):
        payment = payment._replace(status="DECLINED", amount=body["amount_cents"])
        return _declined(books, payment, code)
    payment = payment._replace(
        status="AUTHORIZED",
        amount=body["amount_cents"],
        refuses_capture=simulated.refuses_capture(token),
        refuses_refund=simulated.refuses_refund(token),
        delays_refund=simulated.delays_refund(token),
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
    return books._replace(payments=put(books.payments, payment)), answer(200, authorization_id=id_, status="VOIDED")


def _voided(payment: Payment) -> Payment:
    if payment.captured:
        raise AlreadyCaptured(capture_id="cap")
    return payment._replace(status="VOIDED")


def _refund(books: Books, body: dict[str, Any], id_: str) -> Handled:
    payment = _payment(books, id_)
    if payment.status == "VOIDED":
        raise AlreadyVoided()
    left = payment.captured - payment.refunded - payment.pending
    if not left:
        raise NothingToRefund(payment.status)
    amount = body.get("amount_cents", left)
    if amount > left:
        raise ValidationFailed()
    if payment.refuses_refund:
        raise RefundDeclined()
    status = "PENDING" if payment.delays_refund else "REFUNDED"
    movement = Movement(body["idempotency_key"], id_, amount, status)
    payment = payment._replace(pending=payment.pending + amount) if payment.delays_refund else _less(payment, amount)
    movements = put(books.movements, movement)
    return books._replace(payments=put(books.payments, payment), movements=movements), _shown(movement)


def _less(payment: Payment, amount: int) -> Payment:
    refunded = payment.refunded + amount
    return payment._replace(refunded=refunded, status="REFUNDED" if refunded == payment.captured else payment.status)


def _shown(movement: Movement) -> Response:
    return answer(200, authorization_id=movement.payment, status=movement.status, amount_cents=movement.amount)


def settle(books: Books) -> Books:
    """The gateway settles every pending refund. The stored answers become those of settled ones."""
    for movement in books.movements:
        if movement.status == "PENDING":
            books = _settled(books, movement._replace(status="REFUNDED"))
    return books


def _settled(books: Books, movement: Movement) -> Books:
    payment, reply = find(books.payments, movement.payment), find(books.replies, f"refund {movement.key}")
    assert payment
    assert reply
    less = _less(payment, movement.amount)._replace(pending=payment.pending - movement.amount)
    return books._replace(
        payments=put(books.payments, less),
        movements=put(books.movements, movement),
        replies=put(books.replies, reply._replace(response=_shown(movement))),
    )


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
    response = answer(200, authorization_id=payment.id, status=payment.status, **more)
    return books._replace(payments=put(books.payments, payment)), response
