"""Write to the ledger what the payment gateway changes by itself: refunds that fail after they had succeeded, refunds
that it has decided, and holds that it is about to end.

The payments service tells of a failed refund until it is noted here, so nothing is lost if this process dies.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from common.calls.client import ServiceClient, Yes
from common.database import entry_errors
from common.database.database import Database, Transaction
from common.database.errors import TransientDatabaseError
from common.process.progress import Progress
from domain.refunds import FAILED_LATER, refund_of_payment_key
from domain.states import HOLD_ENDS
from orchestrator import gateway_statements as sql

FAILED_MESSAGE = "The payment gateway reported the refund as done, and has failed it later. The money is with the shop."
FAILED_REFUND, ENDING_HOLD = ("refund_id", "idempotency_key"), ("authorization_id", "capture_before")
ENDED = ("FAILED", "AUTHORIZATION_FAILED")
log = logging.getLogger(__name__)


class GatewayChanges:
    """Asks every `every_s`. One process is enough; several do no harm."""

    def __init__(
        self,
        payments: ServiceClient,
        database: Database,
        wake: Callable[[], None],
        stopping: threading.Event,
        every_s: float,
    ) -> None:
        """:param wake: tells that orders or refunds have come due"""
        self._payments, self._database, self._wake, self._stopping = payments, database, wake, stopping
        self._every_s = every_s
        self._noted: list[str] = []
        self.progress = Progress(every_s)

    def run(self) -> None:
        """Ask until stopped."""
        while not self._stopping.wait(self._every_s):
            try:
                while self.run_once() and not self._stopping.is_set():
                    pass
            except TransientDatabaseError as error:
                log.warning("cannot note what the gateway has changed, will retry: %s", error)

    def run_once(self) -> bool:
        """Ask once, and note the answer in the ledger. :returns: whether there is more to ask for"""
        self.progress.mark()
        answer = self._payments.ask(
            "POST", "/payments/changes", {"noted": self._noted}, refusals=frozenset(), is_yes=_is_complete
        )
        if not isinstance(answer, Yes):
            log.warning("cannot ask what the gateway has changed, will retry: %s", answer)
            return False
        told = answer.body
        self._noted = [
            each["refund_id"] for each in told["failed_refunds"] if self._each(_fail, each["idempotency_key"])
        ]
        decided = [id_ for key in told["decided_refunds"] if (id_ := refund_of_payment_key(key))]
        if decided and self._database.all(sql.ASK_NOW, ids=decided):
            self._wake()
        for hold in told["ending_holds"]:
            self._each(_mark_ending, hold)
        return told["has_more"] is True

    def _each(self, note: Callable[[Transaction, Any], bool], change: Any) -> bool:
        """Note one change. One that the database refuses to write stops no other, and is told again."""
        try:
            return self._database.transact(lambda tx: note(tx, change))
        except Exception as error:  # re-raised unless one change may be the cause
            if not entry_errors.may_be_one_entry(error):
                raise
            log.error("cannot note what the gateway has changed: %s", entry_errors.reason(error), exc_info=error)
            return False


def _fail(tx: Transaction, key: str) -> bool:
    """:returns: whether the ledger knows of the failure. It cannot yet while the refund's saga goes on"""
    id_ = refund_of_payment_key(key)
    if id_ is None:
        log.error("the gateway has failed a refund that is not ours: %s", key)
        return True
    if tx.one(sql.FAIL_LATER, id=id_, code=FAILED_LATER, message=FAILED_MESSAGE):
        log.error("needs attention: %s", FAILED_MESSAGE, extra={"refund_id": id_})
        return True
    if tx.one(sql.MARK_UNDONE, id=id_, message=FAILED_MESSAGE):
        log.error("needs attention: %s", FAILED_MESSAGE, extra={"order_ledger_id": id_})
        return True
    saga = tx.one(sql.STATUS, id=id_)
    return saga is None or saga["status"] in ENDED


def _mark_ending(tx: Transaction, hold: dict[str, str]) -> bool:
    reason = f"{HOLD_ENDS} {hold['capture_before']}"
    for order in tx.all(sql.MARK_ENDING, id=hold["authorization_id"], reason=reason):
        log.error("needs attention: %s", reason, extra={"order_ledger_id": order["id"]})
    return True


def _is_complete(changes: dict[str, Any]) -> bool:
    return (
        isinstance(changes["has_more"], bool)
        and all(isinstance(key, str) for key in changes["decided_refunds"])
        and all(isinstance(failed[name], str) for failed in changes["failed_refunds"] for name in FAILED_REFUND)
        and all(isinstance(hold[name], str) for hold in changes["ending_holds"] for name in ENDING_HOLD)
    )
