"""The SQL that orders and refunds share, and the parts of it.

`{table}` has the entries and `{aside}` those that cannot be written at all. `{entry_id}` is the column that names them.
"""

from __future__ import annotations

from common.attention import conditions

# One locked row must not hold up the writer. The limit is part of the statement, as a pooler may drop a session's.
NO_LOCK_WAIT = "no_lock_wait AS MATERIALIZED (SELECT set_config('lock_timeout', '10ms', true))"

# How long the entry has been due. A wait for a retry, or for the end of a lease, comes before.
WAITED_S = "extract(epoch FROM now() - due_at)::float"

# What a claim changes, of any kind of entry.
TAKE = """claimed_by = %(claimant)s, claim_number = claim_number + 1, next_retry_at = NULL,
    claimed_until = now() + %(lease_s)s * interval '1 second',
    due_at = now() + interval '1 second'
      * GREATEST(%(lease_s)s::float, CASE WHEN due.is_poison THEN %(set_aside_s)s::float END),
    unproductive_claims = unproductive_claims + 1,
    needs_attention_at = CASE WHEN due.is_poison THEN COALESCE(needs_attention_at, now()) ELSE needs_attention_at END,
    attention_reason = CASE WHEN due.is_poison
      THEN COALESCE(attention_reason, 'claimed ' || unproductive_claims || ' times in a row without an outcome')
      ELSE attention_reason END"""
RETRY_AT = "now() + retry_in_s * interval '1 second'"
# What an outcome changes of a claim, of any kind of entry. One that continues keeps its claim, and its lease is renewed
# when a call could outlast it. One that waits is released and due later. One that has ended is never due again.
OUTCOME = """unproductive_claims = 0, attention_reason = given.attention,
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

# Note the requests that got no yes, of the entries that were saved and no other. The process's clock says only how long
# ago each began.
NOTED = """noted AS (
  INSERT INTO attempts (order_ledger_id, refund_id, step, attempt, began_at, took_ms, kind, http_status, code, message,
    request_id)
  SELECT {order_id}, {refund_id}, step, attempt, now() - (%(clock)s - began) * interval '1 second', took_ms, kind,
    call.status, code, message, request_id
  FROM saved JOIN json_to_recordset(%(entries)s) AS tried (id uuid, claim_number integer, calls json)
    USING (id, claim_number)
  CROSS JOIN json_to_recordset(calls) AS call (step text, attempt integer, began double precision, took_ms integer,
    kind text, status integer, code text, message text, request_id text)
)"""

DUE = f"""
SELECT id, claim_number FROM {{table}} AS entry WHERE due_at <= now() AND {conditions.NOT_SET_ASIDE}
ORDER BY due_at LIMIT %(limit)s
"""

# Seconds until the next entry is due. No row: no entry will be.
NEXT_DUE = f"""
SELECT GREATEST(extract(epoch FROM due_at - now()), 0)::float AS seconds
FROM {{table}} AS entry WHERE due_at < 'infinity' AND {conditions.NOT_SET_ASIDE} ORDER BY due_at LIMIT 1
"""

# Release a claim without an outcome. It does not count as unproductive.
RELEASE = f"""
WITH {NO_LOCK_WAIT}
UPDATE {{table}} SET claimed_by = NULL, claimed_until = NULL,
  due_at = now() + %(delay_s)s * interval '1 second', unproductive_claims = GREATEST(unproductive_claims - 1, 0)
FROM no_lock_wait
WHERE id = %(id)s AND claim_number = %(claim_number)s AND claimed_by = %(claimant)s RETURNING id
"""

# Claims of this process that no thread works on: the connection was lost before the claim or its outcome was known.
STRANDED = """
SELECT id, claim_number FROM {table}
WHERE due_at > now() AND claimed_by = %(claimant)s AND id <> ALL (%(in_flight)s::uuid[])
"""

# Mark an entry with the error that ended the work on it, and try it again later.
SET_ASIDE = f"""
WITH {NO_LOCK_WAIT}
UPDATE {{table}} SET claimed_by = NULL, claimed_until = NULL, next_retry_at = NULL,
  due_at = now() + %(set_aside_s)s * interval '1 second',
  needs_attention_at = COALESCE(needs_attention_at, now()), attention_reason = %(reason)s
FROM no_lock_wait
WHERE id = %(id)s AND claim_number = %(claim_number)s AND due_at IS NOT NULL
"""

# The same for an entry that cannot be written at all.
SET_ASIDE_UNWRITABLE = """
INSERT INTO {aside} AS aside ({entry_id}, reason, retry_at)
SELECT id, %(reason)s, now() + %(set_aside_s)s * interval '1 second' FROM {table}
WHERE id = %(id)s AND claim_number = %(claim_number)s AND due_at IS NOT NULL
ON CONFLICT ({entry_id}) DO UPDATE SET reason = EXCLUDED.reason, retry_at = EXCLUDED.retry_at,
  since = CASE WHEN aside.retry_at IS NULL THEN EXCLUDED.since ELSE aside.since END
"""
IS_WRITABLE_AGAIN = "UPDATE {aside} SET retry_at = NULL WHERE {entry_id} = ANY (%(ids)s::uuid[])"
