"""Our side of a reconciliation: the ledger, next to the books of the payments service. Each row is of one moment.

A payment and a refund are found by the keys of their calls, which end in an id that begins with its time. A range of
keys is a span of time, so no statement reads more than its page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from common.database.database import Row
from ops.database import within

SIZE = 500
TIMEOUT_S = 30
_ID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
TIMED = re.compile(r"\w+:([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})")
"""A key that ends in an id which begins with its time (domain/ids.py)."""

# A page of the orders that have, or should have, a payment, also those that the ledger does not know.
ORDERS_OF_PAYMENTS = f"""
SELECT id FROM (
  (SELECT id FROM order_ledger WHERE id > %(after)s::uuid AND id < %(end)s::uuid ORDER BY id LIMIT %(size)s)
  UNION (SELECT substr(authorization_key, 11)::uuid FROM gateway_holds
    WHERE authorization_key > 'authorize:' || %(after)s AND authorization_key < 'authorize:' || %(end)s
      AND authorization_key ~ '^authorize:{_ID}$' ORDER BY authorization_key LIMIT %(size)s)
  UNION (SELECT substr(idempotency_key, 11)::uuid FROM payment_authorizations
    WHERE idempotency_key > 'authorize:' || %(after)s AND idempotency_key < 'authorize:' || %(end)s
      AND idempotency_key ~ '^authorize:{_ID}$' ORDER BY idempotency_key LIMIT %(size)s)
) AS found ORDER BY id LIMIT %(size)s
"""
# The same for refunds. Those of orders that failed have the id of the order.
IDS_OF_REFUNDS = f"""
SELECT id FROM (
  (SELECT id FROM refunds WHERE id > %(after)s::uuid AND id < %(end)s::uuid ORDER BY id LIMIT %(size)s)
  UNION (SELECT substr(idempotency_key, 8)::uuid FROM gateway_refunds
    WHERE idempotency_key > 'refund:' || %(after)s AND idempotency_key < 'refund:' || %(end)s
      AND idempotency_key ~ '^refund:{_ID}$' ORDER BY idempotency_key LIMIT %(size)s)
  UNION (SELECT substr(idempotency_key, 8)::uuid FROM payment_refunds
    WHERE idempotency_key > 'refund:' || %(after)s AND idempotency_key < 'refund:' || %(end)s
      AND idempotency_key ~ '^refund:{_ID}$' ORDER BY idempotency_key LIMIT %(size)s)
) AS found ORDER BY id LIMIT %(size)s
"""
# All that our books know of some payments.
PAYMENTS = f"""
SELECT key, entry.id::text AS order_ledger_id, entry.status AS entry_status, entry.total_amount_cents,
  entry.currency AS entry_currency, entry.refunded_cents,
  entry.due_at IS NOT NULL AS is_open,
  EXISTS (SELECT FROM refunds WHERE order_ledger_id = entry.id AND due_at IS NOT NULL) AS has_open_refund,
  COALESCE(payment.id, hold.authorization_id) AS authorization_id, COALESCE(payment.gateway, hold.gateway) AS gateway,
  hold.gateway_id, hold.gateway_id AS payment_gateway_id, payment.status, payment.amount_cents, payment.currency,
  payment.captured_amount_cents, payment.refunded_amount_cents, failed.amount_cents AS failed_undo_cents
FROM unnest(%(keys)s::text[]) AS key
LEFT JOIN order_ledger AS entry ON entry.id = CASE WHEN key ~ '^authorize:{_ID}$' THEN substr(key, 11)::uuid END
LEFT JOIN gateway_holds AS hold ON hold.authorization_key = key
LEFT JOIN payment_authorizations AS payment ON payment.idempotency_key = key
LEFT JOIN payment_refunds AS failed ON failed.idempotency_key = 'refund:' || entry.id AND failed.status = 'FAILED'
ORDER BY key
"""
# All that our books know of some refunds.
REFUNDS = f"""
SELECT key, entry.id::text AS order_ledger_id, entry.status AS entry_status, payment.currency,
  refund.id::text AS refund_id, refund.status AS refund_status, refund.amount_cents AS refund_cents,
  COALESCE(refund.due_at, entry.due_at) IS NOT NULL AS is_open,
  payment.id AS authorization_id, payment.gateway, hold.gateway_id AS payment_gateway_id,
  asked.id AS asked_id, asked.gateway_id, booked.status, booked.amount_cents
FROM unnest(%(keys)s::text[]) AS key
LEFT JOIN refunds AS refund ON refund.id = CASE WHEN key ~ '^refund:{_ID}$' THEN substr(key, 8)::uuid END
LEFT JOIN gateway_refunds AS asked ON asked.idempotency_key = key
LEFT JOIN payment_refunds AS booked ON booked.idempotency_key = key
LEFT JOIN payment_authorizations AS payment ON payment.id = COALESCE(booked.authorization_id, asked.authorization_id)
LEFT JOIN gateway_holds AS hold ON hold.authorization_id = payment.id
LEFT JOIN order_ledger AS entry ON entry.id = COALESCE(refund.order_ledger_id,
  CASE WHEN payment.idempotency_key ~ '^authorize:{_ID}$' THEN substr(payment.idempotency_key, 11)::uuid END)
ORDER BY key
"""
# The keys of what the gateway has listed. Our own id finds a refund whose answer was lost.
KEYS_OF_PAYMENTS = """
SELECT gateway_id, NULL AS id, authorization_key AS key FROM gateway_holds WHERE gateway_id = ANY (%(gateway_ids)s)
"""
KEYS_OF_REFUNDS = """
SELECT gateway_id, id, idempotency_key AS key FROM gateway_refunds
WHERE gateway_id = ANY (%(gateway_ids)s) OR id = ANY (%(ids)s)
"""
NOW = "SELECT now() AS now"


class Subject(NamedTuple):
    """What is compared."""

    name: str
    prefix: str
    """Of its keys."""
    ids: str
    rows: str
    keys: str


OF_PAYMENTS = Subject("payments", "authorize:", ORDERS_OF_PAYMENTS, PAYMENTS, KEYS_OF_PAYMENTS)
OF_REFUNDS = Subject("refunds", "refund:", IDS_OF_REFUNDS, REFUNDS, KEYS_OF_REFUNDS)


class Books:
    """Each question has a transaction of its own, so that none is open while the gateway is asked."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def now(self) -> datetime:
        (row,) = self._all(NOW)
        return datetime.fromtimestamp(row["now"].timestamp(), UTC)

    def of_span(self, subject: Subject, start: datetime, end: datetime) -> Iterator[list[Row]]:
        """Pages of the rows whose time is from `start` until before `end`."""
        after, before = _bound(start), _bound(end)
        while True:
            ids = [str(row["id"]) for row in self._all(subject.ids, after=after, end=before, size=SIZE)]
            if not ids:
                return
            yield self.rows(subject, [subject.prefix + id_ for id_ in ids])
            after = ids[-1]

    def rows(self, subject: Subject, keys: Sequence[str]) -> list[Row]:
        return self._all(subject.rows, keys=list(keys))

    def keys(self, subject: Subject, lines: Sequence[Row]) -> dict[str, str]:
        """The gateway's id → the key, of those lines that our books know."""
        found: dict[str, str] = {}
        for start in range(0, len(lines), SIZE):
            page = lines[start : start + SIZE]
            ids = [id_ for line in page if (id_ := line.get("refund_id"))]
            rows = self._all(subject.keys, gateway_ids=[line["gateway_id"] for line in page], ids=ids)
            by_gateway_id = {row["gateway_id"]: row["key"] for row in rows}
            by_id = {row["id"]: row["key"] for row in rows if row["id"]}
            for line in page:
                key = by_gateway_id.get(line["gateway_id"]) or by_id.get(line.get("refund_id"))
                found |= {line["gateway_id"]: key} if key else {}
        return found

    def _all(self, sql: str, **params: Any) -> list[Row]:
        with within(self._connection, timeout_s=TIMEOUT_S) as tx:
            return tx.all(sql, **params)


def time_of(key: str) -> datetime | None:
    """When the id in the key was made. None: the key does not tell."""
    found = TIMED.fullmatch(key)
    return datetime.fromtimestamp((UUID(found[1]).int >> 80) / 1000, UTC) if found else None


def _bound(time: datetime) -> str:
    """A UUID that is below those of this millisecond, and above those before."""
    return str(UUID(int=int(time.timestamp() * 1000) << 80))
