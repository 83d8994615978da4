"""The operations with a gateway that has books of its own: note what will be asked, ask, and note the answer.

No transaction is open while the gateway is asked. A crash in between leaves a question without an answer, which the
next call with the same key asks again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar, overload

from common.api.errors import ApiError, IdempotencyKeyReused
from common.api.idempotency import Fingerprint, StoredResponse, once, stored
from common.database.database import Database, Row, Transaction
from payments_service import books, schemas
from payments_service.books import Body, checked, new_id
from payments_service.domain import AUTHORIZED, IDEMPOTENCY_TABLE, PENDING
from payments_service.errors import AlreadyCaptured, AlreadyVoided, GatewayError
from payments_service.gateways.seam import ANSWER_WITHIN_S, No, Nothing, Pending, RemoteGateway, Yes, within
from payments_service.operations import fingerprint
from payments_service.remote_statements import (
    CLOSE_HOLD,
    HOLD_OF,
    INSERT_ASKED_REFUND,
    INSERT_HOLD,
    LOCK_ASKED_REFUND,
    LOCK_HOLD,
    NOTE_HOLD,
    NOTE_REFUND,
)
from payments_service.statements import INSERT_TOMBSTONE, LOCK_BY_ID, LOCK_BY_KEY

A = TypeVar("A")
log = logging.getLogger(__name__)


class InSteps:
    """The verbs of the payments service with a remote gateway."""

    def __init__(self, database: Database, gateway: RemoteGateway) -> None:
        self._database, self._gateway = database, gateway

    @within(ANSWER_WITHIN_S)
    def authorize(self, body: Body, sent: Body) -> StoredResponse:
        """Hold money. :raises AlreadyVoided: the key was voided before the money was held"""
        held = dict(body)
        token = held.pop("payment_token")  # from here on only the gateway gets it
        call = _Call("authorize", sent)
        begun = self._begin(call, lambda tx: self._note_hold(tx, call, held))
        if isinstance(begun, StoredResponse):
            return begun
        answer = _answered(self._hold(begun, token))
        return self._end(call, lambda tx: books.add_authorization(tx, begun["authorization_id"], held, answer))

    @within(ANSWER_WITHIN_S)
    def capture(self, authorization_id: str, body: Body, sent: Body) -> StoredResponse:
        """Capture a hold, in full or in part, once."""
        call = _Call("capture", {**sent, "authorization_id": checked(authorization_id)})

        def check(tx: Transaction) -> tuple[Row, int]:
            return books.capturable(tx, authorization_id, body["amount_cents"], self._gateway.name)

        def begin(tx: Transaction) -> tuple[Row, int]:
            payment, amount = check(tx)
            return _hold_of(tx, payment), amount

        begun = self._begin(call, begin)
        if isinstance(begun, StoredResponse):
            return begun
        answer = _answered(self._gateway.capture(*begun))
        return self._end(call, lambda tx: books.capture(tx, *check(tx), answer))

    @within(ANSWER_WITHIN_S)
    def void(self, authorization_id: str, body: Body, sent: Body) -> StoredResponse:
        """Void a hold. An unknown id is refused and remembered."""
        call = _Call("void", {**sent, "authorization_id": checked(authorization_id)})
        begun = self._begin(call, lambda tx: self._to_void(tx, tx.one(LOCK_BY_ID, id=authorization_id)))
        if isinstance(begun, StoredResponse):
            return begun
        self._void(begun)
        return self._end(call, lambda tx: books.void_by_id(tx, authorization_id, body["reason"], self._gateway.name))

    @within(ANSWER_WITHIN_S)
    def void_by_key(self, body: Body, sent: Body) -> StoredResponse:
        """Void what an authorize with this key holds, or could still hold. Another one never leaves."""
        call, key, reason = _Call("void_by_key", sent), body["authorization_key"], body["reason"]
        begun = self._begin(call, lambda tx: self._close(tx, key, reason))
        if isinstance(begun, StoredResponse):
            return begun
        self._void(begun)
        return self._end(call, lambda tx: books.void_by_key(tx, key, reason, self._gateway.name))

    @within(ANSWER_WITHIN_S)
    def refund(self, authorization_id: str, body: Body, sent: Body) -> StoredResponse:
        """Refund captured money: all that is left, or a part of it."""
        call = _Call("refund", {**sent, "authorization_id": checked(authorization_id)})
        begun = self._begin(call, lambda tx: self._note_refund(tx, call, authorization_id, body["amount_cents"]))
        if isinstance(begun, StoredResponse):
            return begun
        hold, refund = begun
        answer = _answered(self._gateway.refund(hold, refund))
        if isinstance(answer, Pending):
            return self._still_pending(refund, answer)
        row = {name: refund[name] for name in ("id", "authorization_id", "amount_cents")}
        row |= {"key": call.key, "reason": body["reason"]}

        def work(tx: Transaction) -> StoredResponse:
            if isinstance(answer, Yes):
                tx.execute(NOTE_REFUND, id=refund["id"], gateway_id=answer.keeps["gateway_id"])
            books.lock(tx, authorization_id, self._gateway.name)
            return books.refund(tx, row, answer)

        return self._end(call, work)

    def _begin(self, call: _Call, note: Callable[[Transaction], A]) -> StoredResponse | A:
        """The first answer to this call, or what to ask the gateway about."""

        def begin(tx: Transaction) -> StoredResponse | A:
            if answer := _stored(tx, call):
                return answer
            try:
                return note(tx)
            except ApiError:
                # A repeat may have been answered since we looked. Its effect is what refuses this call.
                if answer := _stored(tx, call):
                    return answer
                raise

        return self._database.transact(begin)

    def _end(self, call: _Call, work: Callable[[Transaction], StoredResponse]) -> StoredResponse:
        """Write down what the gateway said, unless another process was faster with the same answer."""
        return self._database.transact(
            lambda tx: once(tx, IDEMPOTENCY_TABLE, call.verb, call.key, call.fingerprint, lambda: work(tx))
        )

    def _note_hold(self, tx: Transaction, call: _Call, held: Body) -> Row:
        hold = tx.one(
            INSERT_HOLD,
            key=call.key,
            id=new_id("auth"),
            gateway=self._gateway.name,
            amount_cents=held["amount_cents"],
            currency=held["currency"],
            fingerprint=call.fingerprint.value,
        )
        if hold is None:
            (hold,) = tx.all(LOCK_HOLD, key=call.key)
            _is_same_request(call, hold)
        # Nothing is stored under the key, so what is in the books is a tombstone.
        if hold["closed_at"] or tx.one(LOCK_BY_KEY, key=call.key):
            raise AlreadyVoided()
        books.of_gateway(hold, self._gateway.name)
        return hold

    def _hold(self, hold: Row, token: str) -> Yes | No | Nothing:
        if hold["gateway_id"] is None:
            opened = self._gateway.open(hold)
            if not isinstance(opened, Yes):
                return opened
            key, id_ = hold["authorization_key"], opened.keeps["gateway_id"]
            noted = self._database.transact(lambda tx: tx.one(NOTE_HOLD, key=key, gateway_id=id_))
            if noted is None:
                raise AlreadyVoided()
            hold = noted
        answer = self._gateway.authorize(hold, token)
        return Yes({**answer.keeps, "gateway": self._gateway.name}) if isinstance(answer, Yes) else answer

    def _close(self, tx: Transaction, key: str, reason: str | None) -> Row | None:
        """Take the key out of use. :returns: what the gateway is to void, if there is anything"""
        (hold,) = tx.all(CLOSE_HOLD, key=key, id=new_id("auth"), gateway=self._gateway.name)
        if tx.one(INSERT_TOMBSTONE, id=new_id("auth"), key=key, reason=reason):
            return hold if hold["gateway_id"] else None
        payment = tx.one(LOCK_BY_KEY, key=key)
        if payment and payment["amount_cents"] is None:
            return hold if hold["gateway_id"] else None
        return self._to_void(tx, payment)

    def _to_void(self, tx: Transaction, payment: Row | None) -> Row | None:
        """The hold of a payment that the gateway is to void. :raises AlreadyCaptured:"""
        if payment and payment["capture_id"]:
            raise AlreadyCaptured(capture_id=payment["capture_id"])
        if payment is None or payment["status"] != AUTHORIZED:
            return None
        return _hold_of(tx, books.of_gateway(payment, self._gateway.name))

    def _void(self, hold: Row | None) -> None:
        """:raises AlreadyCaptured: by a capture whose answer was lost, and which is noted now"""
        if hold is None:
            return
        answer = _answered(self._gateway.void(hold))
        if isinstance(answer, No):
            raise self._database.transact(lambda tx: self._note_capture(tx, hold, answer.captured_cents))

    def _note_capture(self, tx: Transaction, hold: Row, amount_cents: int) -> AlreadyCaptured:
        payment = books.lock(tx, hold["authorization_id"], self._gateway.name)
        if not payment["capture_id"]:
            books.capture(tx, payment, amount_cents, Yes())
            payment = books.lock(tx, hold["authorization_id"], self._gateway.name)
        return AlreadyCaptured(capture_id=payment["capture_id"])

    def _note_refund(self, tx: Transaction, call: _Call, authorization_id: str, asked: int | None) -> tuple[Row, Row]:
        refund = tx.one(LOCK_ASKED_REFUND, key=call.key)
        if refund is None:
            payment, amount = books.refundable(tx, authorization_id, asked, self._gateway.name)
            refund = tx.one(
                INSERT_ASKED_REFUND,
                id=new_id("re"),
                authorization_id=payment["id"],
                key=call.key,
                fingerprint=call.fingerprint.value,
                amount_cents=amount,
            )
            if refund is None:  # by a call with the same key, a moment ago
                (refund,) = tx.all(LOCK_ASKED_REFUND, key=call.key)
        _is_same_request(call, refund)
        return _hold_of(tx, books.lock(tx, authorization_id, self._gateway.name)), refund

    def _still_pending(self, refund: Row, answer: Pending) -> StoredResponse:
        """The state of a refund for now. It is not stored: the same call asks the gateway again."""
        self._database.transact(lambda tx: tx.execute(NOTE_REFUND, id=refund["id"], gateway_id=answer.gateway_id))
        return StoredResponse.dumped(200, schemas.Refund, {**refund, "status": PENDING, "refunded_at": None})


class _Call:
    """A request with its key."""

    def __init__(self, verb: str, request: Body) -> None:
        self.verb, self.key = verb, request["idempotency_key"]
        self.fingerprint: Fingerprint = fingerprint(verb, request)


@overload
def _answered(answer: Yes | No | Nothing) -> Yes | No: ...
@overload
def _answered(answer: Yes | No | Pending | Nothing) -> Yes | No | Pending: ...
def _answered(answer: Yes | No | Pending | Nothing) -> Yes | No | Pending:
    """:raises GatewayError: nobody knows whether the money moved"""
    if isinstance(answer, Nothing):
        log.warning("the gateway gave no answer: %s", answer.reason)
        error = GatewayError()
        error.retry_after = answer.retry_after_s or GatewayError.retry_after
        raise error
    return answer


def _stored(tx: Transaction, call: _Call) -> StoredResponse | None:
    return stored(tx, IDEMPOTENCY_TABLE, call.verb, call.key, call.fingerprint)


def _is_same_request(call: _Call, noted: Row) -> None:
    """:raises IdempotencyKeyReused: the key was used for another request, which has no answer yet"""
    if noted["fingerprint"] is not None and not call.fingerprint.matches(noted["fingerprint"]):
        raise IdempotencyKeyReused()


def _hold_of(tx: Transaction, payment: Row) -> Row:
    """What the gateway was asked for this payment."""
    (hold,) = tx.all(HOLD_OF, id=payment["id"])
    return hold
