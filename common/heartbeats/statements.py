"""The SQL of heartbeats. The database's clock sets every time: a process says only how long ago something was."""

from __future__ import annotations

# Write this process's row, and delete those that have been silent for a day, if a later process has taken their place:
# one that nobody has replaced is still missing.
BEAT = """
WITH gone AS (
  DELETE FROM process_heartbeats AS silent WHERE seen_at < now() - interval '1 day' AND instance <> %(instance)s
    AND EXISTS (SELECT FROM process_heartbeats AS later
      WHERE later.process = silent.process AND later.started_at > silent.seen_at)
)
INSERT INTO process_heartbeats (instance, process, host, pid, version, started_at, seen_at, is_listening, pools,
  open_breakers, loops)
SELECT %(instance)s, %(process)s, %(host)s, %(pid)s::integer, %(version)s,
  now() - %(up_s)s * interval '1 second', now(),
  %(is_listening)s::boolean, %(pools)s::jsonb, %(open_breakers)s::text[], (
    SELECT COALESCE(jsonb_object_agg(name, jsonb_build_object(
      'progressed_at', now() - ago_s * interval '1 second', 'every_s', every_s)), '{}')
    FROM json_to_recordset(%(loops)s) AS loop (name text, ago_s double precision, every_s double precision))
ON CONFLICT (instance) DO UPDATE SET seen_at = EXCLUDED.seen_at, is_listening = EXCLUDED.is_listening,
  pools = EXCLUDED.pools, open_breakers = EXCLUDED.open_breakers, loops = EXCLUDED.loops
"""

# A process that stops.
REMOVE = "DELETE FROM process_heartbeats WHERE instance = %(instance)s"

# Every process, and which of its loops hang: those that had made no progress for much longer than they ever wait.
ALL = """
SELECT instance, process, host, pid, version, started_at, seen_at, is_listening, pools, open_breakers, loops,
  seen_at < now() - %(silent_after_s)s * interval '1 second' AS is_silent, ARRAY(
    SELECT name FROM jsonb_each(loops) AS loop (name, state)
    WHERE (state ->> 'progressed_at')::timestamptz
      < seen_at - ((state ->> 'every_s')::float + %(hangs_after_s)s) * interval '1 second' ORDER BY name) AS hanging
FROM process_heartbeats ORDER BY process, started_at, instance
"""
