"""Erase a person's data from the rows of their orders. The books, the keys and the history of states stay."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from common.database.transaction import Row, Transaction
from domain.ids import order_id_for
from domain.states import authorize_key
from ops import erased_job_statements, ledger_walk
from ops.batches import TIMEOUT_S, Batches
from ops.database import within

NOBODY = ledger_walk.FIRST
"""The user id of everybody whose data is erased, so that two of their orders cannot be linked."""
NO_ADDRESS = "erased@erased.invalid"
PAGE, BATCH = 5_000, 200  # rows that are read at once, and erased at once


class Person(NamedTuple):
    """Whose data to erase: the orders with this user id, and those with this e-mail address."""

    user_id: str | None
    email: str | None


class Found(NamedTuple):
    ended: int
    still_open: int
    elsewhere: int
    """Rows of a service without a ledger entry."""


# What a page has of this person's orders. Addresses are compared without regard to case.
FIND = """
WITH page AS (
  SELECT id, due_at, (user_id = %(user_id)s::uuid OR lower(email) = lower(%(email)s)) AS is_theirs FROM order_ledger
  WHERE id > %(after)s ORDER BY id LIMIT %(size)s
)
SELECT (SELECT id FROM page ORDER BY id DESC LIMIT 1) AS last,
  array_agg(id::text) FILTER (WHERE is_theirs) AS ids,
  count(*) FILTER (WHERE is_theirs AND due_at IS NULL) AS ended,
  count(*) FILTER (WHERE is_theirs AND due_at IS NOT NULL) AS still_open
FROM page
"""
REQUEST = """
INSERT INTO pending_erasures (order_ledger_id) SELECT unnest(%(ids)s::uuid[]) ON CONFLICT DO NOTHING
"""
# Rows of a participant that was called without a ledger entry.
ELSEWHERE = (
    """
WITH page AS (SELECT id, user_id, order_ledger_id FROM orders WHERE id > %(after)s::uuid ORDER BY id LIMIT %(size)s),
changed AS (
  UPDATE orders SET user_id = %(nobody)s FROM page WHERE orders.id = page.id AND page.user_id = %(user_id)s
    AND NOT EXISTS (SELECT FROM order_ledger WHERE order_ledger.id = page.order_ledger_id) RETURNING 1
)
SELECT (SELECT id::text FROM page ORDER BY id DESC LIMIT 1) AS last, (SELECT count(*) FROM changed) AS changed
""",
    """
WITH page AS (
  SELECT id, user_id, idempotency_key FROM payment_authorizations WHERE id > %(after)s ORDER BY id LIMIT %(size)s
), changed AS (
  UPDATE payment_authorizations AS payment SET user_id = %(nobody)s, void_reason = NULL
  FROM page WHERE payment.id = page.id AND page.user_id = %(user_id)s
    AND NOT EXISTS (SELECT FROM order_ledger WHERE order_ledger.id = CASE
      WHEN page.idempotency_key ~ '^authorize:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
      THEN split_part(page.idempotency_key, ':', 2)::uuid END)
  RETURNING payment.id
), refund AS (
  UPDATE payment_refunds SET reason = NULL FROM changed WHERE authorization_id = changed.id
)
SELECT (SELECT id FROM page ORDER BY id DESC LIMIT 1) AS last, (SELECT count(*) FROM changed) AS changed
""",
)

# Requested erasures of orders that have ended, oldest first.
ENDED = """
SELECT order_ledger_id AS id FROM pending_erasures LEFT JOIN order_ledger ON order_ledger.id = order_ledger_id
WHERE order_ledger_id > %(after)s AND due_at IS NULL ORDER BY order_ledger_id LIMIT %(size)s
"""
LOCK = """
SELECT id, order_id, payment_authorization_id FROM order_ledger
WHERE id = ANY (%(ids)s::uuid[]) AND due_at IS NULL ORDER BY id FOR UPDATE
"""
_TEXTS = ("status_detail", "failure_message", "attention_reason")
_WITHOUT = "replace(replace({0}, entry.email, '[erased]'), entry.user_id::text, '[erased]')"
HISTORY = f"""
UPDATE order_ledger_history AS history SET detail = {_WITHOUT.format("detail")} FROM order_ledger AS entry
WHERE order_ledger_id = ANY (%(ids)s::uuid[]) AND entry.id = ANY (%(ids)s::uuid[]) AND entry.id = order_ledger_id
  AND detail <> {_WITHOUT.format("detail")}
"""
EVENTS = f"""
UPDATE events AS event SET failure_message = {_WITHOUT.format("event.failure_message")} FROM order_ledger AS entry
WHERE order_ledger_id = ANY (%(ids)s::uuid[]) AND entry.id = ANY (%(ids)s::uuid[]) AND entry.id = order_ledger_id
  AND event.failure_message <> {_WITHOUT.format("event.failure_message")}
"""
ATTEMPTS = f"""
UPDATE attempts AS attempt SET message = left({_WITHOUT.format("message")}, 500) FROM order_ledger AS entry
WHERE order_ledger_id = ANY (%(ids)s::uuid[]) AND entry.id = ANY (%(ids)s::uuid[]) AND entry.id = order_ledger_id
  AND message <> {_WITHOUT.format("message")}
"""
# A receiver of webhooks may answer with what it knows of the customer.
DELIVERIES = """
UPDATE webhook_deliveries SET response_body = NULL, error = NULL
WHERE event_id = ANY (ARRAY(SELECT id FROM events WHERE order_ledger_id = ANY (%(ids)s::uuid[])))
  AND (response_body IS NOT NULL OR error IS NOT NULL)
"""
LEDGER = f"""
UPDATE order_ledger AS entry SET user_id = %(nobody)s, email = %(no_address)s, metadata = NULL, cancel_note = NULL,
  {", ".join(f"{each} = {_WITHOUT.format(each)}" for each in _TEXTS)}
WHERE id = ANY (%(ids)s::uuid[])
"""
# The texts that operators write about a payment may name the customer.
PAYMENTS = """
WITH payment AS (
  UPDATE payment_authorizations SET void_reason = NULL,
    user_id = CASE WHEN user_id IS NOT NULL THEN %(nobody)s::uuid END
  WHERE id = ANY (ARRAY(SELECT id FROM payment_authorizations WHERE id = ANY (%(payment_ids)s)
    UNION SELECT id FROM payment_authorizations WHERE idempotency_key = ANY (%(keys)s))) RETURNING id
)
UPDATE payment_refunds SET reason = NULL FROM payment WHERE authorization_id = payment.id AND reason IS NOT NULL
"""
# The shop's note on a refund is also in the stored response to its request. The fingerprint stays.
REFUND_ANSWERS = """
UPDATE edge_idempotency_keys AS answer SET status = NULL, body = NULL FROM refunds AS refund
JOIN order_ledger AS entry ON entry.id = refund.order_ledger_id
WHERE refund.order_ledger_id = ANY (%(ids)s::uuid[]) AND answer.client = entry.client
  AND answer.key = refund.idempotency_key
"""
REFUNDS = f"""
UPDATE refunds AS refund SET note = NULL,
  {", ".join(f"{each} = {_WITHOUT.format('refund.' + each)}" for each in _TEXTS)}
FROM order_ledger AS entry WHERE order_ledger_id = ANY (%(ids)s::uuid[]) AND entry.id = ANY (%(ids)s::uuid[])
  AND entry.id = order_ledger_id
"""
# What operators wrote about the order and its refunds. The mark itself stays, or the order would need attention again.
DEALT_WITH = """
UPDATE dealt_with SET reason = '[erased]' WHERE subject_id = ANY (ARRAY(SELECT unnest(%(ids)s::uuid[])
  UNION SELECT id FROM refunds WHERE order_ledger_id = ANY (%(ids)s::uuid[])))
"""
ERASE = (
    HISTORY,  # before the ledger, which says what to look for
    EVENTS,
    ATTEMPTS,
    DELIVERIES,
    REFUND_ANSWERS,
    REFUNDS,
    LEDGER,
    DEALT_WITH,
    "DELETE FROM order_notes WHERE order_ledger_id = ANY (%(ids)s::uuid[])",
    "DELETE FROM set_aside_refunds USING refunds WHERE refund_id = refunds.id"
    " AND order_ledger_id = ANY (%(ids)s::uuid[])",
    "DELETE FROM set_aside_entries WHERE order_ledger_id = ANY (%(ids)s::uuid[])",
    "UPDATE orders SET user_id = %(nobody)s WHERE id = ANY (%(order_ids)s::uuid[]) AND user_id IS NOT NULL",
    PAYMENTS,
)


def request(tx: Transaction, person: Person) -> Found:
    """Note every order of this person for erasure. Erase rows without a ledger entry at once, and end jobs."""
    tx.execute(erased_job_statements.OF_PERSON, by="ops erase", **person._asdict())
    ended = still_open = 0
    after = ledger_walk.FIRST
    while (page := tx.one(FIND, after=after, size=PAGE, **person._asdict())) and page["last"]:
        if page["ids"]:
            tx.execute(REQUEST, ids=page["ids"])
        ended, still_open, after = ended + page["ended"], still_open + page["still_open"], page["last"]
    return Found(ended, still_open, _erase_elsewhere(tx, person.user_id) if person.user_id else 0)


def _erase_elsewhere(tx: Transaction, user_id: str) -> int:
    changed = 0
    for statement, first in zip(ELSEWHERE, (ledger_walk.FIRST, ""), strict=True):
        after = first
        while (page := tx.one(statement, after=after, size=PAGE, user_id=user_id, nobody=NOBODY)) and page["last"]:
            changed, after = changed + page["changed"], page["last"]
    return changed


def complete(batches: Batches) -> None:
    """Erase the requested orders that have ended. Each batch is complete or did not happen."""
    with within(batches.connection, timeout_s=TIMEOUT_S) as tx:
        tx.execute(erased_job_statements.ABANDONED, by="ops retain")
    after = ledger_walk.FIRST
    while not batches.is_late:
        with within(batches.connection, timeout_s=TIMEOUT_S) as tx:
            ids = [row["id"] for row in tx.all(ENDED, after=after, size=BATCH)]
        if not ids:
            return
        batches.run(ids, _erase)
        after = ids[-1]


def pending(connection: Any) -> int:
    with within(connection, timeout_s=TIMEOUT_S) as tx:
        (row,) = tx.all("SELECT count(*) AS orders FROM pending_erasures")
    return int(row["orders"])


def _erase(tx: Transaction, ids: list[str]) -> Counter[str]:
    entries = tx.all(LOCK, ids=ids)
    if entries:
        parameters = _parameters(entries)
        for statement in ERASE:
            tx.execute(statement, **parameters)
    tx.execute("DELETE FROM pending_erasures WHERE order_ledger_id = ANY (%(ids)s::uuid[])", ids=ids)
    return Counter({"personal data of orders": len(entries)})


def _parameters(entries: list[Row]) -> dict[str, object]:
    ids = [entry["id"] for entry in entries]
    return {
        "ids": ids,
        "order_ids": [*map(order_id_for, ids), *(entry["order_id"] for entry in entries if entry["order_id"])],
        "payment_ids": [each for entry in entries if (each := entry["payment_authorization_id"])],
        "keys": [authorize_key(id_) for id_ in ids],
        "nobody": NOBODY,
        "no_address": NO_ADDRESS,
    }
