"""What each verb checks and writes, within a transaction. In between, the gateway is asked.

Each check locks the payment before it reads its state.
"""

from __future__ import annotations

import re
import secrets
from typing import Any

from common.api.errors import ValidationFailed
from common.api.idempotency import StoredResponse
from common.database.database import Row, Transaction
from payments_service import schemas
from payments_service.domain import AUTHORIZED, CAPTURED, DECLINED, PENDING, REFUNDED, VOIDED
from payments_service.errors import (
    AlreadyCaptured,
    AlreadyVoided,
    AuthorizationNotFound,
    NothingToRefund,
    OtherGateway,
    PaymentDeclined,
    RefundDeclined,
)
from payments_service.gateways.seam import No, Pending, Yes
from payments_service.statements import (
    ADD_PENDING_REFUND,
    ADD_REFUNDED_AMOUNT,
    CAPTURE,
    FAIL_REFUND,
    INSERT_AUTHORIZATION,
    INSERT_REFUND,
    INSERT_TOMBSTONE,
    INSERT_TOMBSTONE_OF_ID,
    LOCK_BY_ID,
    LOCK_BY_KEY,
    REFUSE_ANSWER,
    TAKE_BACK_REFUNDED_AMOUNT,
    VOID,
)

Body = dict[str, Any]

AUTHORIZATION_ID = re.compile(r"auth_[0-9A-Za-z]{24}")
CAPTURE_REFUSED = "capture_refused"
"""The decline code of a capture that the gateway refuses without saying why."""
KEPT = {
    "refuses_capture": False, "refuses_refund": False, "delays_refund": False, "gateway": None, "capture_before": None
}  # fmt: skip
"""The columns that a gateway may keep with a payment, as they are without its word."""


def add_authorization(tx: Transaction, id_: str, held: Body, answer: Yes | No) -> StoredResponse:
    """Note a hold, or a declined card. :raises AlreadyVoided: the key was voided before this request arrived"""
    declined = answer.code if isinstance(answer, No) else None
    row = tx.one(
        INSERT_AUTHORIZATION,
        **held,
        **KEPT | (dict(answer.keeps) if isinstance(answer, Yes) else {}),
        id=id_,
        status=DECLINED if declined else AUTHORIZED,
        decline_code=declined,
    )
    if row is None:
        # It is a tombstone. An authorization and its stored answer have the same commit, so the answer would have been
        # replayed. (Stored answers of authorize must therefore not be pruned before their authorizations.)
        raise AlreadyVoided()
    if declined:
        raise PaymentDeclined(declined)
    return StoredResponse.dumped(200, schemas.Authorization, row)


def capturable(
    tx: Transaction, authorization_id: str, asked: int | None, gateway: str | None = None
) -> tuple[Row, int]:
    """Lock a hold. :returns: the payment, and the amount to capture"""
    payment = lock(tx, authorization_id, gateway)
    if payment["status"] == VOIDED:
        raise AlreadyVoided()
    if payment["capture_id"]:
        raise AlreadyCaptured(capture_id=payment["capture_id"])
    return payment, _at_most(payment["amount_cents"], asked)


def capture(tx: Transaction, payment: Row, amount_cents: int, answer: Yes | No) -> StoredResponse:
    if isinstance(answer, No):
        raise PaymentDeclined(answer.code or CAPTURE_REFUSED)
    row = tx.one(CAPTURE, id=payment["id"], capture_id=new_id("cap"), amount_cents=amount_cents)
    return StoredResponse.dumped(200, schemas.Capture, row)


def void_by_id(
    tx: Transaction, authorization_id: str, reason: str | None, gateway: str | None = None
) -> StoredResponse:
    """Void a hold. An unknown id is refused and gets a tombstone, so that no authorization can appear under it."""
    payment = tx.one(LOCK_BY_ID, id=authorization_id)
    if payment is None:
        tx.execute(INSERT_TOMBSTONE_OF_ID, id=authorization_id, key=f"† {authorization_id}", reason=reason)
        return StoredResponse.refusal(AuthorizationNotFound())
    return StoredResponse.dumped(200, schemas.Void, _void(tx, payment, reason, gateway))


def void_by_key(tx: Transaction, key: str, reason: str | None, gateway: str | None = None) -> StoredResponse:
    row = tx.one(INSERT_TOMBSTONE, id=new_id("auth"), key=key, reason=reason)
    if row is None:
        row = _void_found(tx, key, reason, gateway)
    return StoredResponse.dumped(200, schemas.VoidByKey, row)


def _void_found(tx: Transaction, key: str, reason: str | None, gateway: str | None) -> Row:
    (found,) = tx.all(LOCK_BY_KEY, key=key)  # no code deletes rows of this table
    if found["status"] == DECLINED:
        return {"id": None, "voided_at": found["created_at"]}  # nothing was ever held
    if found["amount_cents"] is None:
        return {**found, "id": None}  # a tombstone
    return _void(tx, found, reason, gateway)


def _void(tx: Transaction, payment: Row, reason: str | None, gateway: str | None) -> Row:
    if payment["capture_id"]:
        raise AlreadyCaptured(capture_id=payment["capture_id"])
    if payment["status"] == VOIDED:
        return payment
    of_gateway(payment, gateway)
    (voided,) = tx.all(VOID, id=payment["id"], reason=reason)
    return voided


def refundable(
    tx: Transaction, authorization_id: str, asked: int | None, gateway: str | None = None
) -> tuple[Row, int]:
    """Lock captured money. :returns: the payment, and the amount to refund"""
    payment = lock(tx, authorization_id, gateway)
    if payment["status"] == VOIDED:
        raise AlreadyVoided()
    left = (payment["captured_amount_cents"] or 0) - payment["refunded_amount_cents"] - payment["pending_refund_cents"]
    if not left:
        raise NothingToRefund(payment["status"])
    return payment, _at_most(left, asked)


def refund(tx: Transaction, refund: Row, answer: Yes | No | Pending) -> StoredResponse:
    """:param refund: `id`, `authorization_id`, `key`, `amount_cents`, `reason`"""
    if isinstance(answer, No):
        raise RefundDeclined()
    is_pending = isinstance(answer, Pending)
    add = ADD_PENDING_REFUND if is_pending else ADD_REFUNDED_AMOUNT
    tx.execute(add, authorization_id=refund["authorization_id"], amount_cents=refund["amount_cents"])
    row = tx.one(INSERT_REFUND, **refund, status=PENDING if is_pending else REFUNDED)
    return StoredResponse.dumped(200, schemas.Refund, row)


def fail_refund(tx: Transaction, refund: Row, gateway: str) -> bool:
    """Note that the gateway has failed a refund that it had reported as done. A repeat changes nothing.

    :param refund: `id`, `authorization_id`, `amount_cents`
    :returns: whether it was noted now
    """
    lock(tx, refund["authorization_id"], gateway)
    failed = tx.one(FAIL_REFUND, id=refund["id"])
    if failed:
        tx.execute(
            TAKE_BACK_REFUNDED_AMOUNT,
            authorization_id=refund["authorization_id"],
            amount_cents=refund["amount_cents"],
        )
        refusal = StoredResponse.refusal(RefundDeclined())
        tx.execute(REFUSE_ANSWER, key=failed["idempotency_key"], answer_status=refusal.status, body=refusal.body)
    return failed is not None


def lock(tx: Transaction, authorization_id: str, gateway: str | None) -> Row:
    payment = tx.one(LOCK_BY_ID, id=authorization_id)
    if payment is None:
        raise AuthorizationNotFound()
    return of_gateway(payment, gateway)


def of_gateway(payment: Row, gateway: str | None) -> Row:
    """The payment, if it belongs to this gateway. None: the simulated one. :raises OtherGateway:"""
    if payment["gateway"] != gateway:
        raise OtherGateway(payment["gateway"] or "simulated")
    return payment


def _at_most(available: int, asked: int | None) -> int:
    """The amount asked for, or all that is available."""
    if asked is not None and asked > available:
        raise ValidationFailed(amount_cents=[f"Must be at most {available}."])
    return available if asked is None else asked


def movements(rows: list[Row]) -> list[Row]:
    payment = rows[0]
    held = {"id": payment["id"], "amount_cents": payment["amount_cents"]}
    found = [{"type": "authorize", "status": AUTHORIZED, **held, "at": payment["created_at"]}]
    if payment["capture_id"]:
        taken = {"id": payment["capture_id"], "amount_cents": payment["captured_amount_cents"]}
        found.append({"type": "capture", "status": CAPTURED, **taken, "at": payment["captured_at"]})
    if payment["voided_at"]:
        found.append({"type": "void", "status": VOIDED, **held, "at": payment["voided_at"]})
    found += [
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
    return found


def checked(authorization_id: str) -> str:
    """Keep malformed ids away from the database. :raises AuthorizationNotFound:"""
    if not AUTHORIZATION_ID.fullmatch(authorization_id):
        raise AuthorizationNotFound()
    return authorization_id


def new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(12)}"  # 24 letters or digits
