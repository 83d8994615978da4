"""The operations of the gateway. Each owns its transaction and locks the payment before it reads its state."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Any

from common.api.errors import ValidationFailed
from common.api.idempotency import Fingerprint, StoredResponse, once, with_defaults
from common.database.database import Database, Row, Transaction
from payments_service import gateway, schemas
from payments_service.domain import AUTHORIZED, CAPTURED, DECLINED, IDEMPOTENCY_TABLE, PENDING, REFUNDED, VOIDED
from payments_service.errors import (
    AlreadyCaptured,
    AlreadyVoided,
    AuthorizationNotFound,
    NothingToRefund,
    PaymentDeclined,
    RefundDeclined,
)

Body = dict[str, Any]

AUTHORIZATION_ID = re.compile(r"auth_[0-9A-Za-z]{24}")
CAPTURE_REFUSED = "capture_refused"
# What release 0.1 filled in before it took a fingerprint. Its stored fingerprints depend on it: never change it.
DEFAULTS_OF_0_1: dict[str, Body] = {
    "authorize": {},
    "capture": {"amount_cents": None},
    "void": {"reason": None},
    "void_by_key": {"reason": None},
    "refund": {"amount_cents": None, "reason": None},
}

# Times are clock_timestamp(), read under the row's lock. now() is the start of the transaction, maybe before a wait.

# Insert a hold, or a declined card. No row: the key or the id is taken.
INSERT_AUTHORIZATION = """
    INSERT INTO payment_authorizations
        (id, idempotency_key, user_id, amount_cents, currency, status, decline_code, refuses_capture, refuses_refund,
        delays_refund, created_at)
    VALUES (%(id)s, %(idempotency_key)s, %(user_id)s, %(amount_cents)s, %(currency)s, %(status)s, %(decline_code)s,
        %(refuses_capture)s, %(refuses_refund)s, %(delays_refund)s, clock_timestamp())
    ON CONFLICT DO NOTHING
    RETURNING *"""
# Take a key out of use before an authorize with it arrives. No row: the key is taken.
INSERT_TOMBSTONE = """
    INSERT INTO payment_authorizations (id, idempotency_key, status, void_reason, voided_at)
    VALUES (%(id)s, %(key)s, 'VOIDED', %(reason)s, clock_timestamp())
    ON CONFLICT (idempotency_key) DO NOTHING
    RETURNING NULL AS id, voided_at"""
# Take an id out of use. No client can send such a key: it is not ASCII.
INSERT_TOMBSTONE_OF_ID = """
    INSERT INTO payment_authorizations (id, idempotency_key, status, void_reason, voided_at)
    VALUES (%(id)s, %(key)s, 'VOIDED', %(reason)s, clock_timestamp())
    ON CONFLICT DO NOTHING"""
# Lock a payment. Declined ones and tombstones do not exist to callers.
LOCK_BY_ID = """
    SELECT * FROM payment_authorizations
    WHERE id = %(id)s AND status <> 'DECLINED' AND amount_cents IS NOT NULL FOR UPDATE"""
# Lock the row with the key of an authorize.
LOCK_BY_KEY = "SELECT * FROM payment_authorizations WHERE idempotency_key = %(key)s FOR UPDATE"
# Capture a hold.
CAPTURE = """
    UPDATE payment_authorizations SET status = 'CAPTURED', capture_id = %(capture_id)s,
        captured_amount_cents = %(amount_cents)s, captured_at = clock_timestamp()
    WHERE id = %(id)s RETURNING *"""
# Void a hold.
VOID = """
    UPDATE payment_authorizations SET status = 'VOIDED', void_reason = %(reason)s, voided_at = clock_timestamp()
    WHERE id = %(id)s RETURNING *"""
# Add to the refunded amount. The last cent makes the payment REFUNDED.
ADD_REFUNDED_AMOUNT = """
    UPDATE payment_authorizations SET refunded_amount_cents = refunded_amount_cents + %(amount_cents)s,
        status = CASE WHEN refunded_amount_cents + %(amount_cents)s = captured_amount_cents
            THEN 'REFUNDED' ELSE status END
    WHERE id = %(authorization_id)s"""
# Set an amount aside for a refund that the gateway has not settled.
ADD_PENDING_REFUND = """
    UPDATE payment_authorizations SET pending_refund_cents = pending_refund_cents + %(amount_cents)s
    WHERE id = %(authorization_id)s"""
# Record a refund.
INSERT_REFUND = """
    INSERT INTO payment_refunds (id, authorization_id, idempotency_key, amount_cents, reason, status, created_at)
    VALUES (%(id)s, %(authorization_id)s, %(key)s, %(amount_cents)s, %(reason)s, %(status)s, clock_timestamp())
    RETURNING *, CASE status WHEN 'REFUNDED' THEN created_at END AS refunded_at"""
# Settle the pending refunds. Payments are locked first, as every call locks them, in the order of their ids.
LOCK_PENDING = """
    SELECT id FROM payment_authorizations
    WHERE id IN (SELECT authorization_id FROM payment_refunds WHERE status = 'PENDING') ORDER BY id FOR UPDATE"""
SETTLE_REFUNDS = """
    UPDATE payment_refunds SET status = 'REFUNDED', settled_at = clock_timestamp()
    WHERE status = 'PENDING' AND authorization_id = ANY (%(ids)s)
    RETURNING *, settled_at AS refunded_at"""
SETTLE_PAYMENTS = """
    UPDATE payment_authorizations SET pending_refund_cents = 0,
        refunded_amount_cents = refunded_amount_cents + pending_refund_cents,
        status = CASE WHEN refunded_amount_cents + pending_refund_cents = captured_amount_cents
            THEN 'REFUNDED' ELSE status END
    WHERE id = ANY (%(ids)s)"""
# The stored answer of a refund that was pending becomes that of a settled one.
SETTLE_ANSWER = """
    UPDATE payment_idempotency_keys SET body = %(body)s
    WHERE scope = 'refund' AND key = %(key)s AND status IS NOT NULL"""
# Read a payment, once for each refund. One statement, so the sum and its parts are of the same moment.
SELECT_WITH_REFUNDS = """
    SELECT p.*, r.id AS refund_id, r.amount_cents AS refund_cents, r.status AS refund_status,
        COALESCE(r.settled_at, r.created_at) AS refund_at
    FROM payment_authorizations p LEFT JOIN payment_refunds r ON r.authorization_id = p.id
    WHERE p.id = %(id)s AND p.status <> 'DECLINED' AND p.amount_cents IS NOT NULL
    ORDER BY r.created_at, r.id"""


def authorize(database: Database, body: Body, sent: Body) -> StoredResponse:
    """Hold money. :raises AlreadyVoided: the key was voided before this request arrived"""
    return _once(database, "authorize", sent, lambda tx: _authorize(tx, body))


def capture(database: Database, authorization_id: str, body: Body, sent: Body) -> StoredResponse:
    """Capture a hold, in full or in part, once."""
    request = {**sent, "authorization_id": _checked(authorization_id)}
    return _once(database, "capture", request, lambda tx: _capture(tx, authorization_id, body["amount_cents"]))


def void(database: Database, authorization_id: str, body: Body, sent: Body) -> StoredResponse:
    """Void a hold."""
    request = {**sent, "authorization_id": _checked(authorization_id)}
    return _once(database, "void", request, lambda tx: _void_by_id(tx, authorization_id, body["reason"]))


def void_by_key(database: Database, body: Body, sent: Body) -> StoredResponse:
    """Void what an authorize with this key holds, or would hold if it arrives later."""
    return _once(database, "void_by_key", sent, lambda tx: _void_by_key(tx, body["authorization_key"], body["reason"]))


def refund(database: Database, authorization_id: str, body: Body, sent: Body) -> StoredResponse:
    """Refund captured money: all that is left, or a part of it."""
    request = {**sent, "authorization_id": _checked(authorization_id)}
    return _once(database, "refund", request, lambda tx: _refund(tx, authorization_id, body))


def settle_refunds(database: Database) -> Row:
    """Settle every pending refund, as a gateway does by itself after some days."""
    return {"settled_count": database.transact(_settle_refunds)}


def show(database: Database, authorization_id: str) -> Row:
    """A payment's state and its movements. :raises AuthorizationNotFound:"""
    rows = database.all(SELECT_WITH_REFUNDS, id=_checked(authorization_id))
    if not rows:
        raise AuthorizationNotFound()
    captured = rows[0]["captured_amount_cents"] or 0
    return {**rows[0], "captured_amount_cents": captured, "movements": _movements(rows)}


def _once(
    database: Database, verb: str, request: Body, work: Callable[[Transaction], StoredResponse]
) -> StoredResponse:
    key = request["idempotency_key"]
    fingerprint = Fingerprint(request, lambda: with_defaults(request, DEFAULTS_OF_0_1[verb], ids=("user_id",)))
    return database.transact(lambda tx: once(tx, IDEMPOTENCY_TABLE, verb, key, fingerprint, lambda: work(tx)))


def _authorize(tx: Transaction, body: Body) -> StoredResponse:
    content = dict(body)
    token = content.pop("payment_token")  # from here on no statement and no answer can contain it
    declined = gateway.decline_code(token)
    row = tx.one(
        INSERT_AUTHORIZATION,
        **content,
        id=_new_id("auth"),
        status=DECLINED if declined else AUTHORIZED,
        decline_code=declined,
        refuses_capture=gateway.refuses_capture(token),
        refuses_refund=gateway.refuses_refund(token),
        delays_refund=gateway.delays_refund(token),
    )
    if row is None:
        # It is a tombstone. An authorization and its stored answer have the same commit, so the answer would have been
        # replayed. (Stored answers of authorize must therefore not be pruned before their authorizations.)
        raise AlreadyVoided()
    if declined:
        raise PaymentDeclined(declined)
    return StoredResponse.dumped(200, schemas.Authorization, row)


def _capture(tx: Transaction, authorization_id: str, amount_cents: int | None) -> StoredResponse:
    payment = _lock(tx, authorization_id)
    if payment["status"] == VOIDED:
        raise AlreadyVoided()
    if payment["capture_id"]:
        raise AlreadyCaptured(capture_id=payment["capture_id"])
    amount = _at_most(payment["amount_cents"], amount_cents)
    if payment["refuses_capture"]:
        raise PaymentDeclined(CAPTURE_REFUSED)
    row = tx.one(CAPTURE, id=authorization_id, capture_id=_new_id("cap"), amount_cents=amount)
    return StoredResponse.dumped(200, schemas.Capture, row)


def _void_by_id(tx: Transaction, authorization_id: str, reason: str | None) -> StoredResponse:
    """Void a hold. An unknown id is refused and gets a tombstone, so that no authorization can appear under it."""
    payment = tx.one(LOCK_BY_ID, id=authorization_id)
    if payment is None:
        tx.execute(INSERT_TOMBSTONE_OF_ID, id=authorization_id, key=f"† {authorization_id}", reason=reason)
        return StoredResponse.refusal(AuthorizationNotFound())
    return StoredResponse.dumped(200, schemas.Void, _void(tx, payment, reason))


def _void_by_key(tx: Transaction, key: str, reason: str | None) -> StoredResponse:
    row = tx.one(INSERT_TOMBSTONE, id=_new_id("auth"), key=key, reason=reason)
    if row is None:
        row = _void_found(tx, key, reason)
    return StoredResponse.dumped(200, schemas.VoidByKey, row)


def _void_found(tx: Transaction, key: str, reason: str | None) -> Row:
    (found,) = tx.all(LOCK_BY_KEY, key=key)  # no code deletes rows of this table
    if found["status"] == DECLINED:
        return {"id": None, "voided_at": found["created_at"]}  # nothing was ever held
    if found["amount_cents"] is None:
        return {**found, "id": None}  # a tombstone
    return _void(tx, found, reason)


def _void(tx: Transaction, payment: Row, reason: str | None) -> Row:
    if payment["capture_id"]:
        raise AlreadyCaptured(capture_id=payment["capture_id"])
    if payment["status"] == VOIDED:
        return payment
    (voided,) = tx.all(VOID, id=payment["id"], reason=reason)
    return voided


def _refund(tx: Transaction, authorization_id: str, body: Body) -> StoredResponse:
    payment = _lock(tx, authorization_id)
    if payment["status"] == VOIDED:
        raise AlreadyVoided()
    left = (payment["captured_amount_cents"] or 0) - payment["refunded_amount_cents"] - payment["pending_refund_cents"]
    if not left:
        raise NothingToRefund(payment["status"])
    amount = _at_most(left, body["amount_cents"])
    if payment["refuses_refund"]:
        raise RefundDeclined()
    is_pending = payment["delays_refund"]
    add = ADD_PENDING_REFUND if is_pending else ADD_REFUNDED_AMOUNT
    tx.execute(add, authorization_id=authorization_id, amount_cents=amount)
    row = tx.one(
        INSERT_REFUND,
        id=_new_id("re"),
        authorization_id=authorization_id,
        key=body["idempotency_key"],
        amount_cents=amount,
        reason=body["reason"],
        status=PENDING if is_pending else REFUNDED,
    )
    return StoredResponse.dumped(200, schemas.Refund, row)


def _settle_refunds(tx: Transaction) -> int:
    ids = [payment["id"] for payment in tx.all(LOCK_PENDING)]
    settled = tx.all(SETTLE_REFUNDS, ids=ids)
    tx.execute(SETTLE_PAYMENTS, ids=ids)
    for refund in settled:
        answer = StoredResponse.dumped(200, schemas.Refund, refund)
        tx.execute(SETTLE_ANSWER, key=refund["idempotency_key"], body=answer.body)
    return len(settled)


def _lock(tx: Transaction, authorization_id: str) -> Row:
    payment = tx.one(LOCK_BY_ID, id=authorization_id)
    if payment is None:
        raise AuthorizationNotFound()
    return payment


def _at_most(available: int, asked: int | None) -> int:
    """The amount asked for, or all that is available."""
    if asked is not None and asked > available:
        raise ValidationFailed(amount_cents=[f"Must be at most {available}."])
    return available if asked is None else asked


def _movements(rows: list[Row]) -> list[Row]:
    payment = rows[0]
    held = {"id": payment["id"], "amount_cents": payment["amount_cents"]}
    movements = [{"type": "authorize", "status": AUTHORIZED, **held, "at": payment["created_at"]}]
    if payment["capture_id"]:
        taken = {"id": payment["capture_id"], "amount_cents": payment["captured_amount_cents"]}
        movements.append({"type": "capture", "status": CAPTURED, **taken, "at": payment["captured_at"]})
    if payment["voided_at"]:
        movements.append({"type": "void", "status": VOIDED, **held, "at": payment["voided_at"]})
    movements += [
        {
            "type": "refund",
            "status": row["refund_status"],
            "id": row["refund_id"],
            "amount_cents": row["refund_cents"],
            "at": row["refund_at"],
        }
        for row in rows
        if row["refund_id"]
    ]
    return movements


def _checked(authorization_id: str) -> str:
    """Keep malformed ids away from the database. :raises AuthorizationNotFound:"""
    if not AUTHORIZATION_ID.fullmatch(authorization_id):
        raise AuthorizationNotFound()
    return authorization_id


def _new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(12)}"  # 24 letters or digits
