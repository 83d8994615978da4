"""The SQL of the sums by the minute. The cursor is in the only row of `order_totals`.

Events are read in the order of their ids, which begin with the number of their transaction, and only up to the oldest
transaction that is still running (docs/decisions/0053). Nothing appears in front of what was read.
"""

from __future__ import annotations

COUNTED = ("accepted", "declined", "completed", "failed", "cancelled", "refunds_succeeded", "refunds_failed")
KEEP_DAYS = 8
KEEP_AUDITS = 1000

_NAMES = ", ".join(COUNTED)
_TYPED = ", ".join(f"{name} integer" for name in COUNTED)
_SUMS = ", ".join(f"{name} = kept.{name} + EXCLUDED.{name}" for name in COUNTED)
_MORE = ", ".join(f"{name} = {name} + %({name})s::bigint" for name in COUNTED)
_ARRIVED = "ARRAY(SELECT a + b FROM unnest({kept}, {new}) WITH ORDINALITY AS both_ (a, b, n) ORDER BY n)"

# Of several processes, one counts at a time, and none waits. No row: another one counts, or there is no cursor yet.
LOCK = """
SELECT event_id, renumbered_after FROM order_totals FOR UPDATE SKIP LOCKED
"""
CREATE_TOTALS = "INSERT INTO order_totals DEFAULT VALUES ON CONFLICT DO NOTHING"

_COLUMNS = """id, xid::text AS xid, position, type,
  extract(epoch FROM date_trunc('minute', at, 'UTC'))::bigint AS minute,
  CASE WHEN type = 'order.completed' THEN (
    SELECT extract(epoch FROM events.at - created_at)::float FROM order_ledger WHERE id = events.order_ledger_id
  ) END AS took_s"""
# `3` is the number that `ops check` gives to the events of another server.
NEXT = f"""
SELECT {_COLUMNS} FROM events
WHERE id > %(event_id)s AND xid > '3' AND xid < pg_snapshot_xmin(pg_current_snapshot())
  AND id < 'evt_' || lpad(to_hex(pg_snapshot_xmin(pg_current_snapshot())::text::bigint), 11, '0')
ORDER BY id LIMIT %(limit)s
"""
# After a restore on another server: what it had not counted of its own events. Their ids are in no useful order.
NEXT_RENUMBERED = f"""
SELECT {_COLUMNS} FROM events WHERE id > %(event_id)s ORDER BY id LIMIT %(limit)s
"""
ADD_MINUTES = f"""
INSERT INTO order_minutes AS kept (minute, {_NAMES}, durations)
SELECT timestamptz 'epoch' + minute * interval '1 second', {_NAMES}, durations FROM json_to_recordset(%(minutes)s)
  AS new (minute bigint, {_TYPED}, durations integer[])
ORDER BY minute
ON CONFLICT (minute) DO UPDATE SET {_SUMS},
  durations = {_ARRIVED.format(kept="kept.durations", new="EXCLUDED.durations")}
"""
ADD_TOTALS = f"""
UPDATE order_totals SET {_MORE},
  durations = {_ARRIVED.format(kept="durations", new="%(durations)s::bigint[]")},
  duration_s = duration_s + %(duration_s)s::float
"""
MOVE_CURSOR = """
UPDATE order_totals SET event_id = %(event_id)s, xid = %(xid)s::text::xid8, position = %(position)s::bigint
"""
MOVE_CURSOR_AMONG_RENUMBERED = """
UPDATE order_totals SET event_id = %(event_id)s, renumbered_after = %(renumbered_after)s::bigint
"""

# A few at a time. The totals stay.
DELETE_OLD = f"""
DELETE FROM order_minutes WHERE minute IN (
  SELECT minute FROM order_minutes WHERE minute < now() - interval '{KEEP_DAYS} days' ORDER BY minute LIMIT 500)
"""
DELETE_OLD_AUDITS = f"""
DELETE FROM audit_runs WHERE id IN (SELECT id FROM audit_runs ORDER BY at DESC OFFSET {KEEP_AUDITS} LIMIT 500)
"""

NOW = "SELECT extract(epoch FROM now())::float AS now"
SINCE = f"""
SELECT extract(epoch FROM minute)::bigint AS minute, {_NAMES}, durations FROM order_minutes
WHERE minute >= timestamptz 'epoch' + %(since)s * interval '1 second' ORDER BY minute
"""
TOTALS = f"SELECT {_NAMES}, durations, duration_s FROM order_totals"
LAST_AUDIT = """
SELECT at, took_ms, healthy, violations, rows_found FROM audit_runs ORDER BY at DESC LIMIT 1
"""
