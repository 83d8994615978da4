"""What a remote gateway changes by itself: refunds that it decides or fails later, and holds that will end.

Its messages are hints, and make the next look come earlier. The answer to the look is the truth.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Protocol

from common.database.database import Database, Row, Transaction
from payments_service import books
from payments_service.gateways.seam import Inbox, InvalidMessage, No, Nothing, RemoteGateway
from payments_service.remote_statements import (
    ENDING_HOLDS,
    FAILED_REFUNDS,
    HOLD_OF,
    LOOK_LATER,
    LOOK_NO_MORE,
    LOOK_NOW,
    NOTE_FAILURES,
    TAKE_LOOKS,
)

LOOKS_AT_ONCE = 2  # with their answers within the 8 s that the caller waits
AT_ONCE = 100
WARN_EVERY_S = 60.0
log = logging.getLogger(__name__)


class Changes(Protocol):
    def since(self, noted: Sequence[str]) -> Row:
        """What the caller does not know yet.

        :param noted: ids of failed refunds that it knows by now
        """


class NoChanges:
    """Of a gateway that changes nothing by itself."""

    def since(self, _noted: Sequence[str]) -> Row:
        return {"failed_refunds": [], "decided_refunds": [], "ending_holds": [], "has_more": False}


class RemoteChanges:
    """Asks the gateway about refunds that have ended, and tells what has changed."""

    def __init__(self, database: Database, gateway: RemoteGateway) -> None:
        self._database, self._gateway = database, gateway

    def since(self, noted: Sequence[str]) -> Row:
        self._database.transact(lambda tx: tx.execute(NOTE_FAILURES, ids=list(noted)))
        looks = self._database.transact(lambda tx: tx.all(TAKE_LOOKS, limit=LOOKS_AT_ONCE))
        are_answered = [self._look(refund) for refund in looks]
        failed, ending = self._database.transact(_unnoted)
        return {
            "failed_refunds": failed,
            # Their sagas ask, and may do so now.
            "decided_refunds": [refund["idempotency_key"] for refund in looks if not refund["is_settled"]],
            "ending_holds": ending,
            "has_more": len(looks) == LOOKS_AT_ONCE and all(are_answered),
        }

    def _look(self, refund: Row) -> bool:
        """:returns: whether the gateway has answered"""
        has_failed = False
        if refund["is_settled"]:
            (hold,) = self._database.all(HOLD_OF, id=refund["authorization_id"])
            answer = self._gateway.refund_state(hold, refund)
            if isinstance(answer, Nothing):
                log.warning("the gateway gave no answer about refund %s: %s", refund["id"], answer.reason)
                return False
            has_failed = isinstance(answer, No)
        if self._database.transact(lambda tx: self._note(tx, refund, has_failed=has_failed)):
            log.error("the gateway has failed the refund %s, which had succeeded", refund["id"])
        return True

    def _note(self, tx: Transaction, refund: Row, *, has_failed: bool) -> bool:
        """:returns: whether it is news that the refund has failed"""
        if not has_failed:
            tx.execute(LOOK_LATER, id=refund["id"], taken=refund["look_at"])
            return False
        tx.execute(LOOK_NO_MORE, id=refund["id"])  # locked before the payment, as the refund's own call does
        return books.fail_refund(tx, refund, self._gateway.name)


class Messages:
    """Takes what a gateway sends by itself."""

    def __init__(self, database: Database, inbox: Inbox) -> None:
        self._database, self._inbox = database, inbox
        self._warn_at = 0.0

    def take(self, message: bytes, signature: str) -> bool:
        """:returns: whether it is a hint :raises InvalidMessage:"""
        try:
            hint = self._inbox.read(message, signature)
        except InvalidMessage as error:
            self._warn(error)
            raise
        if hint:
            ids = {"gateway_id": hint.gateway_id, "id": hint.refund_id}
            self._database.transact(lambda tx: tx.execute(LOOK_NOW, **ids))
        return hint is not None

    def _warn(self, error: InvalidMessage) -> None:
        """Tell an operator, at most once a minute: anyone can send anything."""
        if time.monotonic() >= self._warn_at:
            self._warn_at = time.monotonic() + WARN_EVERY_S
            log.warning("a message is refused (%s). If the gateway sent it, check the secret of its endpoint.", error)


def _unnoted(tx: Transaction) -> tuple[list[Row], list[Row]]:
    return tx.all(FAILED_REFUNDS, limit=AT_ONCE), tx.all(ENDING_HOLDS, limit=AT_ONCE)
