"""The SQL of jobs. Only the worker that holds the claim writes what is done; anybody may stop a job."""

from console import job_filters

# What pages and the API show of a job.
_COLUMNS = """
id AS job_id, author, action, filter, reason, note, rate_per_s, state, stop_reason, stopped_by, total,
  next_number - 1 AS acted_on, done, refused, claimed_until > now() AS is_claimed, created_at, ended_at
"""

# The session by which an operator without a key makes a job. The lock makes an admin who ends it wait for the job, and
# then stop it, too. No row: it was ended.
HOLD_SESSION = """
SELECT name FROM operator_sessions
WHERE name = %(name)s AND key_id IS NULL AND expires_at > now() LIMIT 1 FOR KEY SHARE
"""
# No row: the author has used the key before.
ADD = f"""
INSERT INTO bulk_jobs (author, key, fingerprint, operator_key_id, action, filter, reason, note, rate_per_s)
VALUES (%(author)s, %(key)s, %(fingerprint)s, %(operator_key_id)s, %(action)s, %(filter)s::jsonb, %(reason)s, %(note)s,
  %(rate_per_s)s)
ON CONFLICT (author, key) DO NOTHING RETURNING {_COLUMNS}
"""
FIND_KEY = f"SELECT fingerprint, {_COLUMNS} FROM bulk_jobs WHERE author = %(author)s AND key = %(key)s"
GET = f"SELECT {_COLUMNS} FROM bulk_jobs WHERE id = %(id)s"
NEWEST = f"""
SELECT {_COLUMNS} FROM bulk_jobs
WHERE (created_at, id) < (COALESCE(%(before)s::timestamptz, 'infinity'), %(before_id)s::uuid)
ORDER BY created_at DESC, id DESC LIMIT %(limit)s
"""
# No row: the job has ended. The worker sees it before its next order.
STOP = f"""
UPDATE bulk_jobs SET state = 'stopped', stop_reason = 'operator', stopped_by = %(actor)s, ended_at = now(),
  claimed_by = NULL, claimed_until = NULL, {job_filters.FORGET}
WHERE id = %(id)s AND state IN ('filling', 'running') RETURNING {_COLUMNS}
"""
ITEMS = """
SELECT number, order_ledger_id, result, code, message, ended_at FROM bulk_job_items
WHERE job_id = %(id)s AND number > %(after)s ORDER BY number LIMIT %(limit)s
"""
REFUSED_ITEMS = """
SELECT number, order_ledger_id, result, code, message, ended_at FROM bulk_job_items
WHERE job_id = %(id)s AND number > %(after)s AND result = 'refused' ORDER BY number LIMIT %(limit)s
"""

# The oldest job that no worker holds.
CLAIM = """
UPDATE bulk_jobs SET claimed_by = %(worker)s, claimed_until = now() + %(lease_s)s * interval '1 second',
  claim_number = claim_number + 1
WHERE id = (
  SELECT id FROM bulk_jobs
  WHERE state IN ('filling', 'running') AND (claimed_until IS NULL OR claimed_until <= now())
  ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, claim_number
"""
# Begin a step: lock the job, prove the claim, and extend it. No row: the job was stopped, or another worker holds it.
# The one who made the job must still be an operator.
HOLD = """
UPDATE bulk_jobs AS job SET claimed_until = now() + %(lease_s)s * interval '1 second'
WHERE id = %(id)s AND claim_number = %(claim_number)s AND state IN ('filling', 'running')
RETURNING id, author, action, filter, reason, note, rate_per_s, state, after_created_at, after_id, created_at, total,
  next_number, (operator_key_id IS NULL OR EXISTS (
    SELECT FROM operator_keys AS key WHERE key.id = job.operator_key_id AND key.revoked_at IS NULL
      AND (key.expires_at IS NULL OR key.expires_at > now()) AND key.role <> 'viewer')) AS is_allowed
"""
LET_GO = """
UPDATE bulk_jobs SET claimed_by = NULL, claimed_until = NULL
WHERE id = %(id)s AND claim_number = %(claim_number)s AND state IN ('filling', 'running')
"""
ADD_ITEMS = """
INSERT INTO bulk_job_items (job_id, number, order_ledger_id)
SELECT %(id)s::uuid, %(total)s + number, order_ledger_id
FROM unnest(%(order_ledger_ids)s::uuid[]) WITH ORDINALITY AS found (order_ledger_id, number)
"""
COLLECTED = """
UPDATE bulk_jobs SET total = total + %(added)s, after_created_at = %(after_created_at)s, after_id = %(after_id)s
WHERE id = %(id)s
"""
# From here on the filter is only shown.
BEGIN = f"UPDATE bulk_jobs SET state = 'running', filter = {job_filters.WITHOUT_PERSON} WHERE id = %(id)s"
ITEM = "SELECT order_ledger_id FROM bulk_job_items WHERE job_id = %(id)s AND number = %(number)s"
END_ITEM = """
UPDATE bulk_job_items SET result = %(result)s, code = %(code)s, message = %(message)s, ended_at = now()
WHERE job_id = %(id)s AND number = %(number)s
"""
COUNT_ITEM = """
UPDATE bulk_jobs SET next_number = next_number + 1, done = done + %(done)s, refused = refused + 1 - %(done)s
WHERE id = %(id)s
"""
END = f"""
UPDATE bulk_jobs SET state = %(state)s, stop_reason = %(stop_reason)s, ended_at = now(),
  claimed_by = NULL, claimed_until = NULL, {job_filters.FORGET}
WHERE id = %(id)s RETURNING done, refused
"""
