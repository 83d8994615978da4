"""The SQL that ends jobs of the console whose filter still has the data of a person.

Every other job has lost that data (see console/job_filters.py). A job waits while no console runs, or works on another.
"""

from __future__ import annotations

from console.job_filters import FORGET

# End the jobs `found`, so that they act on no order.
_END = f"""
UPDATE bulk_jobs SET state = 'stopped', stop_reason = 'operator', stopped_by = %(by)s, ended_at = now(),
  claimed_by = NULL, claimed_until = NULL, {FORGET}
FROM found WHERE bulk_jobs.id = found.id
"""
# Those that look for this person.
OF_PERSON = f"""
WITH found AS (
  SELECT id FROM bulk_jobs WHERE state = 'filling'
    AND (lower(filter ->> 'email') = lower(%(email)s) OR lower(filter ->> 'user_id') = lower(%(user_id)s))
  FOR UPDATE
)
{_END}"""
# Those that look for anybody, and that nobody has worked on for a day. One that is locked is being worked on.
ABANDONED = f"""
WITH found AS (
  SELECT id FROM bulk_jobs WHERE state = 'filling' AND filter ?| ARRAY['email', 'user_id']
    AND created_at < now() - interval '1 day'
  FOR UPDATE SKIP LOCKED
)
{_END}"""
