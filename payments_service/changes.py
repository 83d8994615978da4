"""What a remote gateway changes by itself: refunds that it decides or fails later, and holds that will end.

Its messages are hints, and make the next look come earlier. The answer to the look is the truth.
"""

from __future__ import annotations

import logging
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
log = logging.getLogger(__name__)


class Changes(Protocol):
    def since(self, noted: Sequence[str]) -> Row:
        """What the caller does not know yet.

        :param noted: ids of failed refunds that it knows by now
        """

    def hear(self, message: bytes, signature: str) -> bool:
        """Take a message from the gateway. :returns: whether it is a hint :raises InvalidMessage:"""


class NoChanges:
    """Of a gateway that changes nothing by itself."""

    def since(self, _noted: Sequence[str]) -> Row:
        return {"failed_refunds": [], "decided_refunds": [], "ending_holds": [], "has_more": False}

    def hear(self, _message: bytes, _signature: str) -> bool:
        raise InvalidMessage("this gateway sends none")


class RemoteChanges:
    """Asks the gateway about refunds that have ended, and tells what has changed."""

    def __init__(self, database: Database, gateway: RemoteGateway, inbox: Inbox | None) -> None:
        self._database, self._gateway, self._inbox = database, gateway, inbox

    def hear(self, message: bytes, signature: str) -> bool:
        if self._inbox is None:
            raise InvalidMessage("there is no secret to verify it with")
        hint = self._inbox.read(message, signature)
        if hint:
            ids = {"gateway_id": hint.gateway_id, "id": hint.refund_id}
            self._database.transact(lambda tx: tx.execute(LOOK_NOW, **ids))
        return hint is not None

    def since(self, noted: Sequence[str]) -> Row:
        self._database.transact(lambda tx: tx.execute(NOTE_FAILURES, ids=list(noted)))
        looks = self._database.transact(lambda tx: tx.all(TAKE_LOOKS, limit=LOOKS_AT_ONCE))
        for refund in looks:
            if refund["is_settled"]:
                self._look(refund)
            else:  # its saga asks, and may do so now
                self._database.transact(lambda tx, id_=refund["id"]: tx.execute(LOOK_NO_MORE, id=id_))
        failed, ending = self._database.transact(_unnoted)
        return {
            "failed_refunds": failed,
            "decided_refunds": [refund["idempotency_key"] for refund in looks if not refund["is_settled"]],
            "ending_holds": ending,
            "has_more": len(looks) == LOOKS_AT_ONCE or len(failed) == AT_ONCE,
        }

    def _look(self, refund: Row) -> None:
        (hold,) = self._database.all(HOLD_OF, id=refund["authorization_id"])
        answer = self._gateway.refund(hold, refund)
        if isinstance(answer, Nothing):
            log.warning("the gateway gave no answer about refund %s: %s", refund["id"], answer.reason)
            return
        self._database.transact(lambda tx: self._note(tx, refund, has_failed=isinstance(answer, No)))

    def _note(self, tx: Transaction, refund: Row, *, has_failed: bool) -> None:
        if not has_failed:
            tx.execute(LOOK_LATER, id=refund["id"], gateway_id=None)
            return
        log.error("the gateway has failed the refund %s, which had succeeded", refund["id"])
        books.fail_refund(tx, refund, self._gateway.name)
        tx.execute(LOOK_NO_MORE, id=refund["id"])


def _unnoted(tx: Transaction) -> tuple[list[Row], list[Row]]:
    return tx.all(FAILED_REFUNDS, limit=AT_ONCE), tx.all(ENDING_HOLDS, limit=AT_ONCE)
