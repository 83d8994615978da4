"""The orchestrator's SQL for refunds: the statements of statements.py, for another table.

A trigger takes a refund's share of the order, adds to the order's sums when the refund succeeds, and gives the share
back when it fails, in the transaction of the change (edge_api/refund_models.py).
"""

from __future__ import annotations

from orchestrator.statements import _NO_LOCK_WAIT

_REFUND_NOT_SET_ASIDE = """NOT EXISTS (
  SELECT FROM set_aside_refunds AS aside WHERE aside.refund_id = refund.id AND aside.retry_at > now())"""

_CLAIM_REFUNDS = """
), claimed AS (
  UPDATE refunds SET claimed_by = %(claimant)s, claim_number = claim_number + 1, next_retry_at = NULL,
    claimed_until = now() + %(lease_s)s * interval '1 second',
    due_at = now() + interval '1 second'
      * GREATEST(%(lease_s)s::float, CASE WHEN due.is_poison THEN %(set_aside_s)s::float END),
    unproductive_claims = unproductive_claims + 1,
    needs_attention_at = CASE WHEN due.is_poison THEN COALESCE(needs_attention_at, now()) ELSE needs_attention_at END,
    attention_reason = CASE WHEN due.is_poison
      THEN COALESCE(attention_reason, 'claimed ' || unproductive_claims || ' times in a row without an outcome')
      ELSE attention_reason END
  FROM due WHERE refunds.id = due.id
  RETURNING refunds.id, order_ledger_id, claim_number, request_id, amount_cents, restock, status, restocked,
    not_restocked, failure_code, failure_message, retry_count, attention_reason, unproductive_claims, created_at,
    updated_at
)
SELECT claimed.id, order_ledger_id, claimed.claim_number, claimed.request_id, amount_cents, restock, claimed.status,
  restocked::text[] AS restocked, not_restocked::text[] AS not_restocked, claimed.failure_code,
  claimed.failure_message, claimed.retry_count,
  claimed.attention_reason, claimed.unproductive_claims, l.payment_authorization_id, (
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
  SELECT id, unproductive_claims >= %(max_claims)s AS is_poison
  FROM refunds AS refund WHERE due_at <= now() AND {_REFUND_NOT_SET_ASIDE}
  ORDER BY due_at LIMIT %(limit)s FOR UPDATE OF refund SKIP LOCKED
{_CLAIM_REFUNDS}"""

# The same for one refund, when the database has refused to claim several of them together.
CLAIM_ONE = f"""
WITH due AS (
  SELECT id, unproductive_claims >= %(max_claims)s AS is_poison
  FROM refunds WHERE id = %(id)s AND due_at <= now() FOR UPDATE SKIP LOCKED
{_CLAIM_REFUNDS}"""
DUE = f"""
SELECT id, claim_number FROM refunds AS refund WHERE due_at <= now() AND {_REFUND_NOT_SET_ASIDE}
ORDER BY due_at LIMIT %(limit)s
"""

# Seconds until the next refund is due. No row: none will be.
NEXT_DUE = f"""
SELECT GREATEST(extract(epoch FROM due_at - now()), 0)::float AS seconds
FROM refunds AS refund WHERE due_at < 'infinity' AND {_REFUND_NOT_SET_ASIDE} ORDER BY due_at LIMIT 1
"""

# Save the outcomes for claimed refunds, as for orders. `updated_at` is the time of the last progress. The end of a
# refund changes its order. Everybody locks orders before their refunds, in the order of their ids.
SAVE = f"""
WITH {_NO_LOCK_WAIT}, given AS (
  SELECT * FROM json_to_recordset(%(entries)s) AS given (id uuid, claim_number integer, expected_status text,
    status text, detail text, restocked uuid[], not_restocked uuid[], has_advanced boolean, retry_count integer,
    failure_code text, failure_message text, attention text, retry_in_s double precision, is_terminal boolean)
), locked AS (
  SELECT entry.id FROM order_ledger AS entry, no_lock_wait WHERE entry.id = ANY (ARRAY(
    SELECT order_ledger_id FROM refunds JOIN given ON given.id = refunds.id WHERE is_terminal))
  ORDER BY entry.id FOR NO KEY UPDATE OF entry
)
UPDATE refunds AS refund SET status = given.status, status_detail = given.detail, restocked = given.restocked,
  not_restocked = given.not_restocked, retry_count = given.retry_count, failure_code = given.failure_code,
  failure_message = given.failure_message,
  unproductive_claims = 0, attention_reason = given.attention,
  needs_attention_at = CASE WHEN given.attention IS NOT NULL THEN COALESCE(refund.needs_attention_at, now()) END,
  updated_at = CASE WHEN has_advanced THEN now() ELSE refund.updated_at END,
  next_retry_at = now() + retry_in_s * interval '1 second',
  claimed_by = CASE WHEN NOT is_terminal AND retry_in_s IS NULL THEN claimed_by END,
  claimed_until = CASE WHEN is_terminal OR retry_in_s IS NOT NULL THEN NULL
    WHEN claimed_until < now() + %(renew_below_s)s * interval '1 second'
    THEN now() + %(lease_s)s * interval '1 second' ELSE claimed_until END,
  due_at = CASE WHEN is_terminal THEN NULL
    WHEN retry_in_s IS NOT NULL THEN now() + retry_in_s * interval '1 second'
    WHEN claimed_until < now() + %(renew_below_s)s * interval '1 second'
    THEN GREATEST(due_at, now() + %(lease_s)s * interval '1 second') ELSE due_at END
FROM no_lock_wait, given, (SELECT count(*) FROM locked) AS orders
WHERE refund.id = given.id AND refund.claim_number = given.claim_number AND refund.status = given.expected_status
RETURNING refund.id, refund.claim_number
"""

# Release a claim without an outcome. It does not count as unproductive.
RELEASE = f"""
WITH {_NO_LOCK_WAIT}
UPDATE refunds SET claimed_by = NULL, claimed_until = NULL,
  due_at = now() + %(delay_s)s * interval '1 second', unproductive_claims = GREATEST(unproductive_claims - 1, 0)
FROM no_lock_wait
WHERE id = %(id)s AND claim_number = %(claim_number)s AND claimed_by = %(claimant)s RETURNING id
"""

# Claims of this process that no thread works on.
STRANDED = """
SELECT id, claim_number FROM refunds
WHERE due_at > now() AND claimed_by = %(claimant)s AND id <> ALL (%(in_flight)s::uuid[])
"""

# Mark a refund with the error that ended the work on it, and try it again later.
SET_ASIDE = f"""
WITH {_NO_LOCK_WAIT}
UPDATE refunds SET claimed_by = NULL, claimed_until = NULL, next_retry_at = NULL,
  due_at = now() + %(set_aside_s)s * interval '1 second',
  needs_attention_at = COALESCE(needs_attention_at, now()), attention_reason = %(reason)s
FROM no_lock_wait
WHERE id = %(id)s AND claim_number = %(claim_number)s AND due_at IS NOT NULL
"""

# The same for a refund that cannot be written at all.
SET_ASIDE_UNWRITABLE = """
INSERT INTO set_aside_refunds AS aside (refund_id, reason, retry_at)
SELECT id, %(reason)s, now() + %(set_aside_s)s * interval '1 second' FROM refunds
WHERE id = %(id)s AND claim_number = %(claim_number)s AND due_at IS NOT NULL
ON CONFLICT (refund_id) DO UPDATE SET reason = EXCLUDED.reason, retry_at = EXCLUDED.retry_at,
  since = CASE WHEN aside.retry_at IS NULL THEN EXCLUDED.since ELSE aside.since END
"""
IS_WRITABLE_AGAIN = "UPDATE set_aside_refunds SET retry_at = NULL WHERE refund_id = ANY (%(ids)s::uuid[])"
