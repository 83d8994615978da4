"""The orchestrator's SQL for refunds: the statements of statements.py, for another table.

A trigger takes a refund's share of the order, adds to the order's sums when the refund succeeds, and gives the share
back when it fails, in the transaction of the change (edge_api/refund_models.py).
"""

from __future__ import annotations

from common.attention import conditions
from orchestrator import entry_statements as shared

_REFUNDS = {"table": "refunds", "aside": "set_aside_refunds", "entry_id": "refund_id"}

_CLAIM_REFUNDS = f"""
), claimed AS (
  UPDATE refunds SET {shared.TAKE}
  FROM due WHERE refunds.id = due.id
  RETURNING refunds.id, order_ledger_id, claim_number, request_id, trace_parent, amount_cents, restock, status,
    restocked, not_restocked, failure_code, failure_message, retry_count, attention_reason, unproductive_claims,
    created_at, updated_at, waited_s
)
SELECT claimed.id, order_ledger_id, claimed.claim_number, claimed.request_id, claimed.trace_parent,
  l.trace_parent AS order_trace_parent, amount_cents, restock, claimed.status,
  restocked::text[] AS restocked, not_restocked::text[] AS not_restocked, claimed.failure_code,
  claimed.failure_message, claimed.retry_count,
  claimed.attention_reason, claimed.unproductive_claims, waited_s, l.payment_authorization_id, (
    SELECT json_agg(json_build_object('product_id', x.product_id, 'quantity', x.quantity) ORDER BY x.product_id)
    FROM refund_items x WHERE x.refund_id = claimed.id) AS items,
  extract(epoch FROM now() - claimed.updated_at)::float AS stalled_s,
  EXISTS (SELECT FROM set_aside_refunds AS aside
    WHERE aside.refund_id = claimed.id AND aside.retry_at IS NOT NULL) AS was_set_aside
FROM claimed JOIN order_ledger l ON l.id = order_ledger_id ORDER BY claimed.created_at
"""

# Claim what is due: new refunds, due retries, and refunds whose lease has expired.
CLAIM = f"""
WITH due AS (
  SELECT id, unproductive_claims >= %(max_claims)s AS is_poison, {shared.WAITED_S} AS waited_s
  FROM refunds AS entry WHERE due_at <= now() AND {conditions.NOT_SET_ASIDE.format(**_REFUNDS)}
  ORDER BY due_at LIMIT %(limit)s FOR UPDATE OF entry SKIP LOCKED
{_CLAIM_REFUNDS}"""

# The same for one refund, when the database has refused to claim several of them together.
CLAIM_ONE = f"""
WITH due AS (
  SELECT id, unproductive_claims >= %(max_claims)s AS is_poison, {shared.WAITED_S} AS waited_s
  FROM refunds WHERE id = %(id)s AND due_at <= now() FOR UPDATE SKIP LOCKED
{_CLAIM_REFUNDS}"""
DUE = shared.DUE.format(**_REFUNDS)
NEXT_DUE = shared.NEXT_DUE.format(**_REFUNDS)
RELEASE = shared.RELEASE.format(**_REFUNDS)
STRANDED = shared.STRANDED.format(**_REFUNDS)
SET_ASIDE = shared.SET_ASIDE.format(**_REFUNDS)
SET_ASIDE_UNWRITABLE = shared.SET_ASIDE_UNWRITABLE.format(**_REFUNDS)
IS_WRITABLE_AGAIN = shared.IS_WRITABLE_AGAIN.format(**_REFUNDS)

# The end of a refund changes its order. Everybody locks orders before their refunds, in the order of their ids.
_LOCK = f"""
WITH {shared.NO_LOCK_WAIT}, given AS (
  SELECT * FROM json_to_recordset(%(entries)s) AS given (id uuid, claim_number integer, expected_status text,
    status text, detail text, restocked uuid[], not_restocked uuid[], has_advanced boolean, retry_count integer,
    failure_code text, failure_message text, attention text, retry_in_s double precision, is_terminal boolean)
), locked AS (
  SELECT l.id FROM order_ledger AS l, no_lock_wait WHERE l.id = ANY (ARRAY(
    SELECT order_ledger_id FROM refunds JOIN given ON given.id = refunds.id WHERE is_terminal))
  ORDER BY l.id FOR NO KEY UPDATE OF l
)"""
# `updated_at` is the time of the last progress.
_CHANGE = f"""
UPDATE refunds AS entry SET status = given.status, status_detail = given.detail, restocked = given.restocked,
  not_restocked = given.not_restocked, retry_count = given.retry_count, failure_code = given.failure_code,
  failure_message = given.failure_message, {shared.OUTCOME.format(retry_at=shared.RETRY_AT)},
  updated_at = CASE WHEN has_advanced THEN now() ELSE entry.updated_at END
FROM no_lock_wait, given, (SELECT count(*) FROM locked) AS orders
WHERE entry.id = given.id AND entry.claim_number = given.claim_number AND entry.status = given.expected_status
RETURNING entry.id, entry.claim_number
"""
# Save the outcomes for claimed refunds, as for orders.
SAVE = f"{_LOCK}{_CHANGE}"
# The same when a request got no yes.
SAVE_WITH_ATTEMPTS = f"""{_LOCK}, saved AS ({_CHANGE}, entry.order_ledger_id
), {shared.NOTED.format(order_id="saved.order_ledger_id", refund_id="saved.id")}
SELECT id, claim_number FROM saved
"""
