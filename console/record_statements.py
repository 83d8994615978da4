"""The SQL of the record of operators, newest first. Each filter has an index that ends with the time."""

from __future__ import annotations

CONDITIONS = {
    "actor": 'actor COLLATE "C" = %(actor)s',
    "action": 'action COLLATE "C" = %(action)s',
    "order_ledger_id": """(details ->> 'order_ledger_id') COLLATE "C" = %(order_ledger_id)s""",
}
AFTER = "(at, id) < (%(after_at)s, %(after_id)s::uuid)"
# The comment keeps the statement from being prepared: the best plan depends on the values.
PAGE = """/* console record */
SELECT id, at, actor, database_role, action, details FROM operator_log {where}
ORDER BY at DESC, id DESC LIMIT %(limit)s
"""

MAX_ACTIONS = 100
# Every kind of action. Each step finds the next one by the index, however many rows there are.
ACTIONS = f"""
WITH RECURSIVE known (action) AS (
  (SELECT action FROM operator_log ORDER BY action COLLATE "C" LIMIT 1)
  UNION ALL
  SELECT (SELECT l.action FROM operator_log l WHERE l.action COLLATE "C" > known.action
    ORDER BY l.action COLLATE "C" LIMIT 1)
  FROM known WHERE known.action IS NOT NULL
)
SELECT action FROM known WHERE action IS NOT NULL LIMIT {MAX_ACTIONS}
"""
