"""The orchestrator's SQL. Each statement has a name and is its own transaction.

Every write to a claimed entry is fenced: it names the claim number that the writer holds, and changes no row if the
entry has been claimed again. Only the database's clock decides what is due.
"""

from __future__ import annotations

# An entry that cannot be written at all is not due before its next try.
_NOT_SET_ASIDE = """NOT EXISTS (
  SELECT FROM set_aside_entries AS aside WHERE aside.order_ledger_id = entry.id AND aside.retry_at > now())"""

# One locked row must not hold up the writer. The limit is part of the statement, as a pooler may drop a session's.
_NO_LOCK_WAIT = "no_lock_wait AS MATERIALIZED (SELECT set_config('lock_timeout', '10ms', true))"

# What a claim changes, of any kind of entry.
_TAKE = """claimed_by = %(claimant)s, claim_number = claim_number + 1, next_retry_at = NULL,
    claimed_until = now() + %(lease_s)s * interval '1 second',
    due_at = now() + interval '1 second'
      * GREATEST(%(lease_s)s::float, CASE WHEN due.is_poison THEN %(set_aside_s)s::float END),
    unproductive_claims = unproductive_claims + 1,
    needs_attention_at = CASE WHEN due.is_poison THEN COALESCE(needs_attention_at, now()) ELSE needs_attention_at END,
    attention_reason = CASE WHEN due.is_poison
      THEN COALESCE(attention_reason, 'claimed ' || unproductive_claims || ' times in a row without an outcome')
      ELSE attention_reason END"""
_CLAIM = f"""
), claimed AS (
  UPDATE order_ledger SET {_TAKE},
    failure_code = CASE WHEN status = 'AWAITING_AUTHORIZATION' THEN %(abandoned)s ELSE failure_code END,
    failure_message = CASE WHEN status = 'AWAITING_AUTHORIZATION' THEN %(abandoned_message)s ELSE failure_message END
  FROM due WHERE order_ledger.id = due.id
  RETURNING order_ledger.id, claim_number, request_id, user_id, currency, total_amount_cents,
    payment_authorization_id, status, compensating_from, undone, failure_code, failure_message, retry_count,
    attention_reason, unproductive_claims, created_at, cancel_requested_at IS NOT NULL AS is_cancelled
)
SELECT id, claim_number, request_id, user_id, currency, total_amount_cents,
  payment_authorization_id, status, compensating_from, undone, failure_code, failure_message, retry_count,
  attention_reason, unproductive_claims, is_cancelled, (
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
  SELECT id, unproductive_claims >= %(max_claims)s AS is_poison
  FROM order_ledger AS entry WHERE due_at <= now() AND {_NOT_SET_ASIDE}
  ORDER BY due_at LIMIT %(limit)s FOR UPDATE OF entry SKIP LOCKED
{_CLAIM}"""

# The same for one entry, when the database has refused to claim several of them together.
CLAIM_ONE = f"""
WITH due AS (
  SELECT id, unproductive_claims >= %(max_claims)s AS is_poison
  FROM order_ledger WHERE id = %(id)s AND due_at <= now() FOR UPDATE SKIP LOCKED
{_CLAIM}"""
DUE = f"""
SELECT id, claim_number FROM order_ledger AS entry WHERE due_at <= now() AND {_NOT_SET_ASIDE}
ORDER BY due_at LIMIT %(limit)s
"""

# Seconds until the next entry is due. No row: no entry will be.
NEXT_DUE = f"""
SELECT GREATEST(extract(epoch FROM due_at - now()), 0)::float AS seconds
FROM order_ledger AS entry WHERE due_at < 'infinity' AND {_NOT_SET_ASIDE} ORDER BY due_at LIMIT 1
"""

_RETRY_AT = "now() + retry_in_s * interval '1 second'"
# What an outcome changes of a claim, of any kind of entry. One that continues keeps its claim, and its lease is renewed
# when a call could outlast it. One that waits is released and due later. One that has ended is never due again.
_OUTCOME = """unproductive_claims = 0, attention_reason = given.attention,
    needs_attention_at = CASE WHEN given.attention IS NOT NULL THEN COALESCE(entry.needs_attention_at, now()) END,
    next_retry_at = {retry_at},
    claimed_by = CASE WHEN NOT is_terminal AND retry_in_s IS NULL THEN claimed_by END,
    claimed_until = CASE WHEN is_terminal OR retry_in_s IS NOT NULL THEN NULL
      WHEN claimed_until < now() + %(renew_below_s)s * interval '1 second'
      THEN now() + %(lease_s)s * interval '1 second' ELSE claimed_until END,
    due_at = CASE WHEN is_terminal THEN NULL
      WHEN retry_in_s IS NOT NULL THEN {retry_at}
      WHEN claimed_until < now() + %(renew_below_s)s * interval '1 second'
      THEN GREATEST(due_at, now() + %(lease_s)s * interval '1 second') ELSE due_at END"""

# An order that fails after its client cancelled it fails for that reason.
_FAILURE = """CASE WHEN entry.cancel_requested_at IS NOT NULL AND given.status IN ('FAILED', 'AUTHORIZATION_FAILED')
      THEN {cancelled} ELSE given.{column} END"""

# An order that was cancelled during the call turns back at once. One that is turning back waits for its retry.
_TURNS_BACK = "entry.cancel_requested_at IS NOT NULL AND given.status NOT IN ('COMPENSATING', 'AWAITING_AUTHORIZATION')"
_RETRY_UNLESS_CANCELLED_AT = f"CASE WHEN {_TURNS_BACK} THEN now() ELSE {_RETRY_AT} END"

# Save the outcomes for claimed entries. The outbox event of one that has ended is closed with it.
SAVE = f"""
WITH {_NO_LOCK_WAIT}, given AS (
  SELECT * FROM json_to_recordset(%(entries)s) AS given (id uuid, claim_number integer, expected_status text,
    status text, detail text, order_id uuid, retry_count integer, compensating_from text, undone text[],
    failure_code text, failure_message text, attention text, retry_in_s double precision, is_terminal boolean)
), saved AS (
  UPDATE order_ledger AS entry SET status = given.status, status_detail = given.detail, order_id = given.order_id,
    retry_count = given.retry_count, compensating_from = given.compensating_from, undone = given.undone,
    failure_code = {_FAILURE.format(column="failure_code", cancelled="'cancelled'")},
    failure_message = {_FAILURE.format(column="failure_message", cancelled="'The client cancelled the order.'")},
    updated_at = now(), {_OUTCOME.format(retry_at=_RETRY_UNLESS_CANCELLED_AT)}
  FROM no_lock_wait, given
  WHERE entry.id = given.id AND entry.claim_number = given.claim_number AND entry.status = given.expected_status
  RETURNING entry.id, entry.claim_number, entry.status, is_terminal,
    entry.cancel_requested_at IS NOT NULL AS is_cancelled
), event AS (
  UPDATE outbox SET status = CASE saved.status WHEN 'COMPLETED' THEN 'PROCESSED' ELSE 'FAILED' END,
    processed_at = now()
  FROM saved WHERE saved.is_terminal AND outbox.order_ledger_id = saved.id
)
SELECT id, claim_number, is_cancelled FROM saved
"""

# Release a claim without an outcome. It does not count as unproductive.
RELEASE = f"""
WITH {_NO_LOCK_WAIT}
UPDATE order_ledger SET claimed_by = NULL, claimed_until = NULL,
  due_at = now() + %(delay_s)s * interval '1 second', unproductive_claims = GREATEST(unproductive_claims - 1, 0)
FROM no_lock_wait
WHERE id = %(id)s AND claim_number = %(claim_number)s AND claimed_by = %(claimant)s RETURNING id
"""

# Claims of this process that no thread works on: the connection was lost before the claim or its outcome was known.
STRANDED = """
SELECT id, claim_number FROM order_ledger
WHERE due_at > now() AND claimed_by = %(claimant)s AND id <> ALL (%(in_flight)s::uuid[])
"""

# Mark an entry with the error that ended the work on it, and try it again later.
SET_ASIDE = f"""
WITH {_NO_LOCK_WAIT}
UPDATE order_ledger SET claimed_by = NULL, claimed_until = NULL, next_retry_at = NULL,
  due_at = now() + %(set_aside_s)s * interval '1 second',
  needs_attention_at = COALESCE(needs_attention_at, now()), attention_reason = %(reason)s
FROM no_lock_wait
WHERE id = %(id)s AND claim_number = %(claim_number)s AND due_at IS NOT NULL
"""

# The same for an entry that cannot be written at all.
SET_ASIDE_UNWRITABLE = """
INSERT INTO set_aside_entries AS aside (order_ledger_id, reason, retry_at)
SELECT id, %(reason)s, now() + %(set_aside_s)s * interval '1 second' FROM order_ledger
WHERE id = %(id)s AND claim_number = %(claim_number)s AND due_at IS NOT NULL
ON CONFLICT (order_ledger_id) DO UPDATE SET reason = EXCLUDED.reason, retry_at = EXCLUDED.retry_at,
  since = CASE WHEN aside.retry_at IS NULL THEN EXCLUDED.since ELSE aside.since END
"""
IS_WRITABLE_AGAIN = "UPDATE set_aside_entries SET retry_at = NULL WHERE order_ledger_id = ANY (%(ids)s::uuid[])"
