"""The conditions that operators were told of, and the messages that are not delivered yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from common.database.database import Database, Transaction
from webhooks import alert_statements as sql
from webhooks.alert_conditions import SOURCES, Look, look

GREW_AFTER_S = 3600  # a condition that grows is told again once an hour at most
ENDED_AFTER_S = 120  # one that comes and goes is told once: it has not been found for several looks
FIRST_PAUSE_S, LONGEST_PAUSE_S = 30, 900  # a receiver that is back is told within a quarter of an hour


@dataclass(frozen=True)
class Message:
    """A message that this process may send until its lease ends. It is the same each time that it is sent."""

    id: str
    kind: str
    subject: str
    event: str
    """`began`, `grew` or `ended`."""
    count: int
    since: datetime
    at: datetime
    claim_number: int
    attempts: int
    """With the one that follows."""
    timestamp: int
    """Seconds since 1970, by the database's clock: when this attempt began."""


class AlertStore:
    """Raises TransientDatabaseError when the database cannot be used now."""

    def __init__(self, database: Database, lease_s: float) -> None:
        """:param lease_s: after it, a message whose process has died is sent again"""
        self._database, self._lease_s = database, lease_s

    def look(self) -> None:
        """Look for conditions, and make the messages that are to be sent. Any number of processes may do so."""
        seen = look(self._database, SOURCES)
        self._database.transact(lambda tx: _note(tx, seen))

    def claim(self) -> Message | None:
        """Claim the message that has waited for longest. None: none is due."""
        row = self._database.one(sql.CLAIM, lease_s=self._lease_s)
        if row is None:
            return None
        same = ("kind", "subject", "event", "claim_number", "attempts", "timestamp")
        return Message(
            **{name: row[name] for name in same},
            id=row["message_id"], count=row["told_count"], since=row["began_at"], at=row["told_at"],
        )  # fmt: skip

    def save_told(self, message: Message) -> None:
        """The receiver has the message."""
        self._database.all(sql.TOLD, **_claim(message))

    def save_failed(self, message: Message) -> float:
        """Send it again later. :returns: in how many seconds"""
        pause_s = float(min(FIRST_PAUSE_S * 2 ** min(message.attempts - 1, 10), LONGEST_PAUSE_S))
        self._database.all(sql.RETRY, pause_s=pause_s, **_claim(message))
        return pause_s


def _note(tx: Transaction, seen: Look) -> None:
    in_order = sorted(seen.found, key=lambda each: (each.kind, each.subject))  # as other processes lock the rows
    found = {
        "kinds": [each.kind for each in in_order],
        "subjects": [each.subject for each in in_order],
        "counts": [each.count for each in in_order],
        "sinces": [each.since for each in in_order],
    }
    tx.execute(sql.BEGIN_ALERTS, **found)
    tx.execute(sql.SEE, **found)
    tx.execute(sql.GROW, after_s=GREW_AFTER_S)
    tx.execute(sql.END_ALERTS, kinds=list(seen.kinds), after_s=ENDED_AFTER_S)


def _claim(message: Message) -> dict[str, object]:
    return {
        "kind": message.kind,
        "subject": message.subject,
        "claim_number": message.claim_number,
        "message_id": message.id,
    }
