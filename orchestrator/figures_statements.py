"""The SQL of the business figures among the metrics. Each statement reads open entries only, or one row."""

from __future__ import annotations

from common.attention.conditions import IS_SET_ASIDE, needs_attention, overdue

# The payment is held: it was authorized, and neither captured nor given back.
IS_HELD = """payment_authorization_id IS NOT NULL AND (status IN ('AUTHORIZED', 'ORDER_CREATED', 'INVENTORY_RESERVED')
    OR status = 'COMPENSATING' AND compensating_from <> 'PAYMENT_CAPTURED' AND 'void_payment' <> ALL (undone))"""
OPEN_ORDERS = f"""
SELECT status, count(*) AS orders, count(next_retry_at) AS retrying, count(*) FILTER (WHERE {IS_HELD}) AS held,
  extract(epoch FROM min(created_at) FILTER (WHERE {IS_HELD}))::float AS oldest_held
FROM order_ledger WHERE due_at IS NOT NULL GROUP BY status
"""
RETRYING_REFUNDS = "SELECT count(next_retry_at) AS retrying FROM refunds WHERE due_at IS NOT NULL"
# The same entries as in the view audit_attention, for which this role has no right.
NEEDS_ATTENTION = f"""
SELECT (SELECT count(*) FROM order_ledger AS entry WHERE {needs_attention("entry")})
  + (SELECT count(*) FROM set_aside_entries AS aside JOIN order_ledger AS entry ON entry.id = aside.order_ledger_id
    WHERE {IS_SET_ASIDE})
  + (SELECT count(*) FROM refunds AS entry WHERE {needs_attention("entry")})
  + (SELECT count(*) FROM set_aside_refunds AS aside JOIN refunds AS entry ON entry.id = aside.refund_id
    WHERE {IS_SET_ASIDE}) AS entries
"""
# The same rule as common/heartbeats: a process is silent after 30 s.
ORCHESTRATORS = """
SELECT count(*) AS orchestrators FROM process_heartbeats
WHERE process = 'orchestrator' AND seen_at > now() - interval '30 seconds'
"""
OLDEST_DUE = f"SELECT extract(epoch FROM min(due_at))::float AS at FROM ({overdue('now()', 1)}) AS due"
_IS_ENABLED = "status = 'enabled' AND deleted_at IS NULL"
# Deliveries that are overdue, and events for which none were made.
OLDEST_PENDING_WEBHOOK = f"""
SELECT extract(epoch FROM min(at))::float AS at FROM (
  SELECT due.due_at AS at FROM webhook_endpoints AS endpoint CROSS JOIN LATERAL (
    SELECT due_at FROM webhook_deliveries
    WHERE endpoint_id = endpoint.id AND status = 'pending' AND due_at <= now() ORDER BY due_at LIMIT 1) AS due
  WHERE {_IS_ENABLED}
  UNION ALL
  SELECT event.at FROM webhook_endpoints AS endpoint CROSS JOIN unnest(%(types)s::text[]) AS wanted (type)
  CROSS JOIN LATERAL (
    SELECT at FROM events
    WHERE client = endpoint.client AND events.type = wanted.type COLLATE "C"
      AND (xid, position) > (endpoint.cursor_xid, endpoint.cursor_position)
      AND xid < pg_snapshot_xmin(pg_current_snapshot())
    ORDER BY xid, position LIMIT 1) AS event
  WHERE {_IS_ENABLED}
) AS pending
"""
DISABLED_WEBHOOKS = """
SELECT count(*) AS endpoints FROM webhook_endpoints WHERE status = 'disabled' AND deleted_at IS NULL
"""
