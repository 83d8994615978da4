"""The orchestrator's SQL. Each statement has a name and is its own transaction.

Every write to a claimed entry is fenced: it names the claim number that the writer holds, and changes no row if the
entry has been claimed again. Only the database's clock decides what is due.
"""

from __future__ import annotations

from common.attention import conditions
from orchestrator import entry_statements as shared

_ORDERS = {"table": "order_ledger", "aside": "set_aside_entries", "entry_id": "order_ledger_id"}

_CLAIM = f"""
), claimed AS (
  UPDATE order_ledger SET {shared.TAKE},
    failure_code = CASE WHEN status = 'AWAITING_AUTHORIZATION' THEN %(abandoned)s ELSE failure_code END,
    failure_message = CASE WHEN status = 'AWAITING_AUTHORIZATION' THEN %(abandoned_message)s ELSE failure_message END
  FROM due WHERE order_ledger.id = due.id
  RETURNING order_ledger.id, claim_number, request_id, trace_parent, user_id, currency, total_amount_cents,
    payment_authorization_id, status, compensating_from, undone, failure_code, failure_message, retry_count,
    attention_reason, unproductive_claims, created_at, cancel_requested_at IS NOT NULL AS is_cancelled, waited_s
)
SELECT id, claim_number, request_id, trace_parent, user_id, currency, total_amount_cents,
  payment_authorization_id, status, compensating_from, undone, failure_code, failure_message, retry_count,
  attention_reason, unproductive_claims, is_cancelled, waited_s, (
    SELECT json_agg(json_build_object('product_id', i.product_id, 'quantity', i.quantity,
      'unit_price_cents', i.unit_price_cents) ORDER BY i.position)
    FROM order_ledger_items i WHERE i.order_ledger_id = claimed.id) AS items,
  CASE WHEN status = 'COMPENSATING' THEN (
    SELECT extract(epoch FROM now() - max(h.at))::float
    FROM order_ledger_history h WHERE h.order_ledger_id = claimed.id)
  ELSE 0 END AS stalled_s,
  EXISTS (SELECT FROM set_aside_entries AS aside
    WHERE aside.order_ledger_id = claimed.id AND aside.retry_at IS NOT NULL) AS was_set_aside
FROM claimed ORDER BY created_at
"""

# Claim what is due: new entries, due retries, entries whose lease has expired, and abandoned requests.
CLAIM = f"""
WITH due AS (
  SELECT id, unproductive_claims >= %(max_claims)s AS is_poison, {shared.WAITED_S} AS waited_s
  FROM order_ledger AS entry WHERE due_at <= now() AND {conditions.NOT_SET_ASIDE.format(**_ORDERS)}
  ORDER BY due_at LIMIT %(limit)s FOR UPDATE OF entry SKIP LOCKED
{_CLAIM}"""

# The same for one entry, when the database has refused to claim several of them together.
CLAIM_ONE = f"""
WITH due AS (
  SELECT id, unproductive_claims >= %(max_claims)s AS is_poison, {shared.WAITED_S} AS waited_s
  FROM order_ledger WHERE id = %(id)s AND due_at <= now() FOR UPDATE SKIP LOCKED
{_CLAIM}"""
# An order that fails after its client cancelled it fails for that reason.
_FAILURE = """CASE WHEN entry.cancel_requested_at IS NOT NULL AND given.status IN ('FAILED', 'AUTHORIZATION_FAILED')
      THEN {cancelled} ELSE given.{column} END"""

# An order that was cancelled during the call turns back at once. One that is turning back waits for its retry.
_TURNS_BACK = "entry.cancel_requested_at IS NOT NULL AND given.status NOT IN ('COMPENSATING', 'AWAITING_AUTHORIZATION')"
_RETRY_UNLESS_CANCELLED_AT = f"CASE WHEN {_TURNS_BACK} THEN now() ELSE {shared.RETRY_AT} END"

_SAVE = f"""
WITH {shared.NO_LOCK_WAIT}, given AS (
  SELECT * FROM json_to_recordset(%(entries)s) AS given (id uuid, claim_number integer, expected_status text,
    status text, detail text, order_id uuid, retry_count integer, compensating_from text, undone text[],
    failure_code text, failure_message text, attention text, retry_in_s double precision, is_terminal boolean)
), saved AS (
  UPDATE order_ledger AS entry SET status = given.status, status_detail = given.detail, order_id = given.order_id,
    retry_count = given.retry_count, compensating_from = given.compensating_from, undone = given.undone,
    failure_code = {_FAILURE.format(column="failure_code", cancelled="'cancelled'")},
    failure_message = {_FAILURE.format(column="failure_message", cancelled="'The order was cancelled.'")},
    updated_at = now(), {shared.OUTCOME.format(retry_at=_RETRY_UNLESS_CANCELLED_AT)}
  FROM no_lock_wait, given
  WHERE entry.id = given.id AND entry.claim_number = given.claim_number AND entry.status = given.expected_status
  RETURNING entry.id, entry.claim_number, entry.status, is_terminal,
    entry.cancel_requested_at IS NOT NULL AS is_cancelled
), event AS (
  UPDATE outbox SET status = CASE saved.status WHEN 'COMPLETED' THEN 'PROCESSED' ELSE 'FAILED' END,
    processed_at = now()
  FROM saved WHERE saved.is_terminal AND outbox.order_ledger_id = saved.id
)"""
_SAVED = """
SELECT id, claim_number, is_cancelled FROM saved
"""
# Save the outcomes for claimed entries. The outbox event of one that has ended is closed with it.
SAVE = f"{_SAVE}{_SAVED}"
# The same when a request got no yes.
SAVE_WITH_ATTEMPTS = f"{_SAVE}, {shared.NOTED.format(order_id='saved.id', refund_id='NULL::uuid')}{_SAVED}"

DUE = shared.DUE.format(**_ORDERS)
NEXT_DUE = shared.NEXT_DUE.format(**_ORDERS)
RELEASE = shared.RELEASE.format(**_ORDERS)
STRANDED = shared.STRANDED.format(**_ORDERS)
SET_ASIDE = shared.SET_ASIDE.format(**_ORDERS)
SET_ASIDE_UNWRITABLE = shared.SET_ASIDE_UNWRITABLE.format(**_ORDERS)
IS_WRITABLE_AGAIN = shared.IS_WRITABLE_AGAIN.format(**_ORDERS)
