"""The SQL of the sessions of operators, for admins. The digest of a session's token is never read."""

from __future__ import annotations

# The operators who are signed in, by name.
NAMES = """
SELECT name, count(*) AS sessions, count(*) FILTER (WHERE key_id IS NULL) AS without_key, max(created_at) AS last_at,
  max(expires_at) AS expires_at
FROM operator_sessions WHERE expires_at > now() GROUP BY name ORDER BY name LIMIT %(limit)s
"""
END = "DELETE FROM operator_sessions WHERE name = %(name)s RETURNING key_id"
# The jobs of an operator who had no key: nothing else can say whether they may go on. An index has the open ones.
STOP_JOBS = """
UPDATE bulk_jobs SET state = 'stopped', stop_reason = 'operator', stopped_by = %(actor)s, ended_at = now(), note = NULL,
  claimed_by = NULL, claimed_until = NULL
WHERE author = %(name)s AND operator_key_id IS NULL AND state IN ('filling', 'running')
RETURNING id AS job_id, done, refused
"""
