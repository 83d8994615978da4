"""Calls with an Idempotency-Key that change something in the ledger, other than POST /orders.

The response is stored in the transaction of the effect. A client has one set of keys for all of these calls: the same
key for another call, or for another order, is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg2

from common.api.idempotency import Fingerprint, StoredResponse, once
from common.database.database import Database, Transaction
from edge_api.notifier import Notifier

TABLE = "edge_idempotency_keys"


@dataclass(frozen=True)
class Command:
    """One call: its client, its key, what it is for, and its body as it was sent."""

    client: str
    key: str
    call: str
    """Such as `refund`."""
    order_ledger_id: str
    sent: dict[str, Any]

    @property
    def fingerprint(self) -> Fingerprint:
        return Fingerprint({"call": self.call, "order_ledger_id": self.order_ledger_id, "body": self.sent})


def run(database: Database, command: Command, work: Callable[[Transaction], StoredResponse]) -> StoredResponse:
    """Run `work` once for each key, or return the first response again.

    A refusal that `work` raises is stored only if it is final; otherwise nothing is, and the key stays free.

    :raises IdempotencyKeyReused: the key was used for another call, another order or another body
    :raises RequestExpired: the first response is no longer kept
    :raises RequestInProgress: another call with the key still runs
    """
    return database.transact(lambda tx: _once(tx, command, work))


def run_and_notify(
    database: Database, notifier: Notifier, command: Command, work: Callable[[Transaction], StoredResponse]
) -> StoredResponse:
    """Like `run`, and wake the orchestrators with the commit.

    A notification is only a hint: if its queue is full, the call succeeds without one.
    """

    def noticed(tx: Transaction) -> StoredResponse:
        response = _once(tx, command, work)
        if not response.replayed:
            tx.execute(notifier.statement)
        return response

    if notifier.is_due():
        try:
            return database.transact(noticed)
        except psycopg2.errors.ProgramLimitExceeded:
            notifier.queue_is_full()
    response = run(database, command, work)
    notifier.later()
    return response


def _once(tx: Transaction, command: Command, work: Callable[[Transaction], StoredResponse]) -> StoredResponse:
    return once(tx, TABLE, command.client, command.key, command.fingerprint, lambda: work(tx), scope_column="client")
