"""A model of the payments service: holds, captures, voids, refunds, and one answer for each idempotency key."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from common.api.errors import ApiError, IdempotencyKeyReused, ValidationFailed
from payments_service import gateway
from payments_service.errors import (
    AlreadyCaptured,
    AlreadyVoided,
    AuthorizationNotFound,
    NothingToRefund,
    PaymentDeclined,
)
from payments_service.operations import CAPTURE_REFUSED
from tests.model.books import Books, Handled, Payment, Reply, answer, find, put, refused
from tests.model.network import Request


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
    return books._replace(payments=put(books.payments, payment)), answer(200, authorization_id=id_, status="VOIDED")


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
    response = answer(200, authorization_id=payment.id, status=payment.status, **more)
    return books._replace(payments=put(books.payments, payment)), response
