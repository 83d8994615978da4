"""The operations with a gateway that answers within the transaction of our books. Each owns its transaction."""

from __future__ import annotations

from collections.abc import Callable

from common.api.idempotency import Fingerprint, StoredResponse, once, with_defaults
from common.database.database import Database, Row, Transaction
from payments_service import books, schemas
from payments_service.books import CAPTURE_REFUSED, Body, checked, new_id
from payments_service.domain import IDEMPOTENCY_TABLE
from payments_service.errors import AuthorizationNotFound
from payments_service.gateways.simulated import SimulatedGateway
from payments_service.statements import (
    LOCK_PENDING,
    SELECT_WITH_REFUNDS,
    SETTLE_ANSWER,
    SETTLE_PAYMENTS,
    SETTLE_REFUNDS,
)

__all__ = ["CAPTURE_REFUSED", "AtOnce", "fingerprint", "settle_refunds", "show"]

# What release 0.1 filled in before it took a fingerprint. Its stored fingerprints depend on it: never change it.
DEFAULTS_OF_0_1: dict[str, Body] = {
    "authorize": {},
    "capture": {"amount_cents": None},
    "void": {"reason": None},
    "void_by_key": {"reason": None},
    "refund": {"amount_cents": None, "reason": None},
}


class AtOnce:
    """Checks, asks the gateway and writes in one transaction."""

    def __init__(self, database: Database, gateway: SimulatedGateway) -> None:
        self._database, self._gateway = database, gateway

    def authorize(self, body: Body, sent: Body) -> StoredResponse:
        """Hold money. :raises AlreadyVoided: the key was voided before this request arrived"""
        held = dict(body)
        token = held.pop("payment_token")  # from here on no statement and no answer can contain it
        answer = self._gateway.authorize(held, token)
        return self._once("authorize", sent, lambda tx: books.add_authorization(tx, new_id("auth"), held, answer))

    def capture(self, authorization_id: str, body: Body, sent: Body) -> StoredResponse:
        """Capture a hold, in full or in part, once."""

        def work(tx: Transaction) -> StoredResponse:
            payment, amount = books.capturable(tx, authorization_id, body["amount_cents"])
            return books.capture(tx, payment, amount, self._gateway.capture(payment, amount))

        return self._once("capture", _of(authorization_id, sent), work)

    def void(self, authorization_id: str, body: Body, sent: Body) -> StoredResponse:
        """Void a hold."""
        request = _of(authorization_id, sent)
        return self._once("void", request, lambda tx: books.void_by_id(tx, authorization_id, body["reason"]))

    def void_by_key(self, body: Body, sent: Body) -> StoredResponse:
        """Void what an authorize with this key holds, or would hold if it arrives later."""
        return self._once(
            "void_by_key", sent, lambda tx: books.void_by_key(tx, body["authorization_key"], body["reason"])
        )

    def refund(self, authorization_id: str, body: Body, sent: Body) -> StoredResponse:
        """Refund captured money: all that is left, or a part of it."""

        def work(tx: Transaction) -> StoredResponse:
            payment, amount = books.refundable(tx, authorization_id, body["amount_cents"])
            refund = {"authorization_id": authorization_id, "amount_cents": amount, "reason": body["reason"]}
            refund |= {"id": new_id("re"), "key": body["idempotency_key"]}
            return books.refund(tx, refund, self._gateway.refund(payment, refund))

        return self._once("refund", _of(authorization_id, sent), work)

    def _once(self, verb: str, request: Body, work: Callable[[Transaction], StoredResponse]) -> StoredResponse:
        key, digest = request["idempotency_key"], fingerprint(verb, request)
        return self._gateway.call(
            lambda: self._database.transact(lambda tx: once(tx, IDEMPOTENCY_TABLE, verb, key, digest, lambda: work(tx)))
        )


def fingerprint(verb: str, request: Body) -> Fingerprint:
    return Fingerprint(request, lambda: with_defaults(request, DEFAULTS_OF_0_1[verb], ids=("user_id",)))


def _of(authorization_id: str, sent: Body) -> Body:
    """The request with the id from its path. :raises AuthorizationNotFound:"""
    return {**sent, "authorization_id": checked(authorization_id)}


def settle_refunds(database: Database) -> Row:
    """Settle every pending refund, as a gateway does by itself after some days."""
    return {"settled_count": database.transact(_settle_refunds)}


def _settle_refunds(tx: Transaction) -> int:
    ids = [payment["id"] for payment in tx.all(LOCK_PENDING)]
    settled = tx.all(SETTLE_REFUNDS, ids=ids)
    tx.execute(SETTLE_PAYMENTS, ids=ids)
    for refund in settled:
        answer = StoredResponse.dumped(200, schemas.Refund, refund)
        tx.execute(SETTLE_ANSWER, key=refund["idempotency_key"], body=answer.body)
    return len(settled)


def show(database: Database, authorization_id: str) -> Row:
    """A payment's state and its movements. :raises AuthorizationNotFound:"""
    rows = database.all(SELECT_WITH_REFUNDS, id=checked(authorization_id))
    if not rows:
        raise AuthorizationNotFound()
    captured = rows[0]["captured_amount_cents"] or 0
    return {**rows[0], "captured_amount_cents": captured, "movements": books.movements(rows)}
