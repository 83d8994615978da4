"""Counts what happened to orders, by the minute and in all, by following their events.

One transaction reads the next events, adds them, and moves the cursor. So each event is counted exactly once, whatever
crashes, and the totals agree with the ledger.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from common.database.database import Database, Row, Transaction
from common.ledger import durations, statements
from common.ledger.statements import COUNTED

BATCH = 1000  # events in one transaction, which takes some 20 ms
BATCH_OF_RENUMBERED = 10_000  # most of them are counted already
RENUMBERED = "3"
# No event that this server numbers has a lower id.
FIRST_OF_THIS_SERVER = f"evt_{3:011x}{'f' * 13}"
COUNTED_AS = {
    "order.authorized": "accepted",
    "order.authorization_failed": "declined",
    "order.completed": "completed",
    "order.failed": "failed",
    "order.cancelled": "cancelled",
    "refund.succeeded": "refunds_succeeded",
    "refund.failed": "refunds_failed",
}


@dataclass
class Sums:
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))
    durations: list[int] = field(default_factory=lambda: list(durations.NONE))
    duration_s: float = 0.0

    def add(self, event: Row) -> None:
        """Count an event. One of another type, for example of a newer release, counts as nothing."""
        if counter := COUNTED_AS.get(event["type"]):
            self.counts[counter] += 1
        if event["took_s"] is not None:
            self.durations[durations.class_of(event["took_s"])] += 1
            self.duration_s += event["took_s"]


def count_next(database: Database) -> int:
    """Count the next events, at most one batch. :returns: how many were read; 0 while another process counts

    :raises TransientDatabaseError:
    """
    return database.transact(_count_next)


def delete_old(database: Database) -> None:
    """Delete minutes and audits that are older than they are kept."""
    database.all(statements.DELETE_OLD)
    database.all(statements.DELETE_OLD_AUDITS)


def _count_next(tx: Transaction) -> int:
    cursor = tx.one(statements.LOCK)
    if cursor is None and tx.execute(statements.CREATE_TOTALS):
        cursor = tx.one(statements.LOCK)
    if cursor is None:
        return 0
    if cursor["renumbered_after"] is not None:
        return _count_renumbered(tx, cursor)
    events = tx.all(statements.NEXT, event_id=cursor["event_id"], limit=BATCH)
    if events:
        _add(tx, events)
        last = events[-1]
        tx.execute(statements.MOVE_CURSOR, event_id=last["id"], xid=last["xid"], position=last["position"])
    return len(events)


def _count_renumbered(tx: Transaction, cursor: Row) -> int:
    """Count the rest of the events of another server, and then go on with those of this one."""
    after = cursor["renumbered_after"]
    events = tx.all(statements.NEXT_RENUMBERED, event_id=cursor["event_id"], limit=BATCH_OF_RENUMBERED)
    _add(tx, [each for each in events if each["xid"] == RENUMBERED and each["position"] > after])
    is_last = len(events) < BATCH_OF_RENUMBERED
    tx.execute(
        statements.MOVE_CURSOR_AMONG_RENUMBERED,
        event_id=FIRST_OF_THIS_SERVER if is_last else events[-1]["id"],
        renumbered_after=None if is_last else after,
    )
    return max(len(events), 1)


def _add(tx: Transaction, events: Iterable[Row]) -> None:
    total, minutes = Sums(), dict[int, Sums]()
    for event in events:
        total.add(event)
        minutes.setdefault(event["minute"], Sums()).add(event)
    if minutes:
        rows = [{"minute": minute, **sums.counts, "durations": sums.durations} for minute, sums in minutes.items()]
        tx.execute(statements.ADD_MINUTES, minutes=json.dumps(rows))
        tx.execute(statements.ADD_TOTALS, **total.counts, durations=total.durations, duration_s=total.duration_s)
