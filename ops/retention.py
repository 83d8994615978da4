"""What `ops retain` deletes of a few ledger entries, in one transaction. All tables of an order change together.

Only finished entries that nobody has locked are touched. An entry whose payment contradicts its end is left alone, so
that the audit continues to report it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from common.api.errors import RequestExpired
from common.database.transaction import Row, Transaction
from common.json_text import encode
from common.process.settings import Settings
from domain.ids import order_id_for
from domain.states import authorize_key
from ops import retained_events

EXPIRED_CODE = f'"{RequestExpired.code}"'
EXPIRED = encode.compact(RequestExpired().body())
EXPIRED_WITH_ID = encode.compact(RequestExpired(order_ledger_id="{}").body())

_FINISHED = """id = ANY (%(ids)s::uuid[]) AND due_at IS NULL
  AND updated_at < now() - %(days)s * interval '1 day'"""

# Lock the entries that may be deleted.
OLD_ENTRIES = f"""
SELECT id, order_id, payment_authorization_id FROM order_ledger AS entry WHERE {_FINISHED} AND NOT EXISTS (
  SELECT FROM payment_authorizations AS payment
  WHERE (payment.id = entry.payment_authorization_id OR payment.idempotency_key = 'authorize:' || entry.id)
    AND (payment.status = 'AUTHORIZED' OR COALESCE(captured_amount_cents, 0) - refunded_amount_cents
      <> CASE entry.status WHEN 'COMPLETED' THEN entry.total_amount_cents - entry.refunded_cents ELSE 0 END))
  AND NOT EXISTS (SELECT FROM events WHERE order_ledger_id = entry.id AND at >= now() - %(days)s * interval '1 day')
FOR UPDATE OF entry SKIP LOCKED
"""
# A key keeps its fingerprint and the time of its first use.
KEEP_KEYS = """
INSERT INTO refused_requests (client, client_request_id, fingerprint, response_status, response_body, created_at)
SELECT client, client_request_id, fingerprint, 409, %(body)s, created_at FROM order_ledger
WHERE id = ANY (%(ids)s::uuid[])
"""
# Stock that was sold stays sold.
DELETE_RESERVATIONS = """
WITH gone AS (
  DELETE FROM inventory_reservations WHERE order_id = ANY (%(order_ids)s::uuid[])
  RETURNING product_id, quantity, released_at
)
INSERT INTO deleted_reservations AS sold (product_id, quantity)
SELECT product_id, sum(quantity) FROM gone WHERE released_at IS NULL GROUP BY product_id ORDER BY product_id
ON CONFLICT (product_id) DO UPDATE SET quantity = sold.quantity + EXCLUDED.quantity
"""
PAYMENTS = """
SELECT id FROM payment_authorizations WHERE id = ANY (%(payment_ids)s)
UNION SELECT id FROM payment_authorizations WHERE idempotency_key = ANY (%(keys)s)
"""
# Scope of the payments service → the keys that the Edge API and the orchestrator send.
PAYMENT_KEYS = {
    "authorize": "authorize:",
    "capture": "capture:",
    "void": "void:",
    "void_by_key": "abandon:",
    "refund": "refund:",
}
DELETE_PAYMENT_KEYS = (
    f"DELETE FROM payment_idempotency_keys WHERE scope = '{scope}' AND key = ANY (%({scope}_keys)s)"
    for scope in PAYMENT_KEYS
)
REFUNDS = "SELECT id FROM refunds WHERE order_ledger_id = ANY (%(ids)s::uuid[])"
# Asked once the orders are locked: from then on, no refund of them begins or ends.
BUSY = """
SELECT order_ledger_id AS id FROM refunds WHERE order_ledger_id = ANY (%(ids)s::uuid[])
  AND (due_at IS NOT NULL OR needs_attention_at IS NOT NULL OR updated_at >= now() - %(days)s * interval '1 day')
"""
# Children first: the rows that others refer to are deleted last.
DELETES = (
    DELETE_RESERVATIONS,
    "DELETE FROM order_reservations WHERE order_id = ANY (%(order_ids)s::uuid[])",
    "DELETE FROM order_items WHERE order_id = ANY (%(order_ids)s::uuid[])",
    "DELETE FROM orders WHERE id = ANY (%(order_ids)s::uuid[])",
    "DELETE FROM payment_refunds WHERE authorization_id = ANY (%(payment_ids)s)",
    "DELETE FROM gateway_refunds WHERE authorization_id = ANY (%(payment_ids)s)",
    "DELETE FROM gateway_holds WHERE authorization_key = ANY (%(authorize_keys)s)",
    "DELETE FROM payment_authorizations WHERE id = ANY (%(payment_ids)s)",
    *DELETE_PAYMENT_KEYS,
    "DELETE FROM set_aside_refunds WHERE refund_id = ANY (%(refund_ids)s::uuid[])",
    "DELETE FROM dealt_with WHERE subject_id = ANY (%(refund_ids)s::uuid[]) OR subject_id = ANY (%(ids)s::uuid[])",
    "DELETE FROM order_notes WHERE order_ledger_id = ANY (%(ids)s::uuid[])",
    "DELETE FROM bulk_job_items WHERE order_ledger_id = ANY (%(ids)s::uuid[])",
    "DELETE FROM refund_items WHERE refund_id = ANY (%(refund_ids)s::uuid[])",
    "DELETE FROM refunds WHERE id = ANY (%(refund_ids)s::uuid[])",
    "DELETE FROM order_ledger_items WHERE order_ledger_id = ANY (%(ids)s::uuid[])",
    "DELETE FROM order_ledger_history WHERE order_ledger_id = ANY (%(ids)s::uuid[])",
    "DELETE FROM attempts WHERE order_ledger_id = ANY (%(ids)s::uuid[])",
    "DELETE FROM outbox WHERE order_ledger_id = ANY (%(ids)s::uuid[])",
    "DELETE FROM webhook_deliveries"
    " WHERE event_id = ANY (ARRAY(SELECT id FROM events WHERE order_ledger_id = ANY (%(ids)s::uuid[])))",
    retained_events.DELETE_OF_ORDERS,
    "DELETE FROM set_aside_entries WHERE order_ledger_id = ANY (%(ids)s::uuid[])",
    "DELETE FROM pending_erasures WHERE order_ledger_id = ANY (%(ids)s::uuid[])",
    "DELETE FROM order_ledger WHERE id = ANY (%(ids)s::uuid[])",
)

_LOCKED = "SELECT id FROM order_ledger WHERE {} FOR UPDATE SKIP LOCKED"
DELETE_HISTORY = f"""
WITH entry AS ({_LOCKED.format(_FINISHED + " AND history_deleted_at IS NULL")}), gone AS (
  DELETE FROM order_ledger_history USING entry WHERE order_ledger_id = entry.id
)
UPDATE order_ledger SET history_deleted_at = now() FROM entry WHERE order_ledger.id = entry.id
"""
DELETE_OUTBOX = f"""
WITH entry AS ({_LOCKED.format(_FINISHED + " AND event_deleted_at IS NULL")}), gone AS (
  DELETE FROM outbox USING entry WHERE order_ledger_id = entry.id
)
UPDATE order_ledger SET event_deleted_at = now() FROM entry WHERE order_ledger.id = entry.id
"""
# Those of a refund that is requested after the history was deleted are deleted in their turn.
DELETE_ATTEMPTS = f"""
WITH entry AS ({_LOCKED.format(_FINISHED)})
DELETE FROM attempts USING entry WHERE order_ledger_id = entry.id
  AND began_at < now() - %(days)s * interval '1 day'
  AND NOT EXISTS (SELECT FROM refunds WHERE refunds.id = refund_id AND due_at IS NOT NULL)
"""
DELETE_ANSWERS = f"""
WITH entry AS ({_LOCKED.format(_FINISHED + " AND position(%(code)s IN response_body) = 0")})
UPDATE order_ledger SET response_status = 409, response_body = replace(%(body)s, '{{}}', order_ledger.id::text)
FROM entry WHERE order_ledger.id = entry.id
"""


@dataclass(frozen=True)
class Periods:
    """Days after which something is deleted. 0: never."""

    orders: int
    history: int
    outbox: int
    answers: int
    keys: int
    events: int

    @classmethod
    def of(cls, settings: Settings) -> Periods:
        return cls(
            settings.retain_orders_days,
            settings.retain_history_days,
            settings.retain_outbox_days,
            settings.retain_answers_days,
            settings.retain_keys_days,
            settings.retain_events_days,
        )

    @property
    def shortest_of_entries(self) -> int:
        return min(filter(None, (self.orders, self.history, self.outbox, self.answers)), default=0)


def apply(tx: Transaction, ids: list[str], periods: Periods) -> Counter[str]:
    """Delete what is old of these entries. :returns: how many of each kind"""
    done: Counter[str] = Counter()
    if periods.orders:
        done["orders"] = _delete_orders(tx, _old_entries(tx, ids, periods.orders))
    if periods.history:
        done["histories"] = tx.execute(DELETE_HISTORY, ids=ids, days=periods.history)
        done["attempts"] = tx.execute(DELETE_ATTEMPTS, ids=ids, days=periods.history)
    if periods.outbox:
        done["outbox events"] = tx.execute(DELETE_OUTBOX, ids=ids, days=periods.outbox)
    if periods.answers:
        done["answers"] = tx.execute(
            DELETE_ANSWERS, ids=ids, days=periods.answers, code=EXPIRED_CODE, body=EXPIRED_WITH_ID
        )
    return done


def _old_entries(tx: Transaction, ids: list[str], days: int) -> list[Row]:
    """Lock the entries to delete."""
    entries = tx.all(OLD_ENTRIES, ids=ids, days=days)
    busy = {row["id"] for row in tx.all(BUSY, ids=[entry["id"] for entry in entries], days=days)}
    return [entry for entry in entries if entry["id"] not in busy]


def _delete_orders(tx: Transaction, entries: list[Row]) -> int:
    if not entries:
        return 0
    ids = [entry["id"] for entry in entries]
    keys = [authorize_key(id_) for id_ in ids]
    paid = [entry["payment_authorization_id"] for entry in entries if entry["payment_authorization_id"]]
    refund_ids = [row["id"] for row in tx.all(REFUNDS, ids=ids)]
    parameters = {
        "ids": ids,
        "order_ids": [*map(order_id_for, ids), *(entry["order_id"] for entry in entries if entry["order_id"])],
        "payment_ids": [row["id"] for row in tx.all(PAYMENTS, payment_ids=paid, keys=keys)],
        "refund_ids": refund_ids,
        **{
            f"{scope}_keys": [f"{prefix}{id_}" for id_ in (*ids, *refund_ids)] for scope, prefix in PAYMENT_KEYS.items()
        },
    }
    tx.execute(KEEP_KEYS, ids=ids, body=EXPIRED)
    for statement in DELETES:
        tx.execute(statement, **parameters)
    return len(ids)
