"""The SQL of what needs attention: open orders and refunds that a person must look at, the oldest first.

Each part reads from an index of such entries only, or from a table that holds nothing else. The entries are those of
the view `audit_attention`.
"""

from __future__ import annotations

from common.attention.conditions import IS_SET_ASIDE, is_dealt_with

_IS_DEALT_WITH = is_dealt_with("entry")
# With `all`, what was dealt with is listed, too.
_IS_LISTED = f"(%(all)s OR NOT {_IS_DEALT_WITH})"
_ORDER = """'order' AS kind, entry.id, entry.id AS order_ledger_id, NULL::uuid AS refund_id, entry.client,
    entry.total_amount_cents AS amount_cents, entry.currency, entry.status, entry.compensating_from, entry.undone,
    entry.payment_authorization_id IS NOT NULL AS is_authorized, entry.retry_count, entry.due_at"""
_REFUND = """'refund', entry.id, entry.order_ledger_id, entry.id, sale.client, entry.amount_cents, sale.currency,
    entry.status, NULL, NULL, NULL, entry.retry_count, entry.due_at"""
_MARKED = f"""entry.needs_attention_at AS since, entry.attention_reason AS reason, false AS is_set_aside,
    {_IS_DEALT_WITH} AS is_dealt_with"""
_SET_ASIDE = "aside.since, aside.reason, true, false"
_AFTER = "({since}, entry.id) > (%(after)s::timestamptz, %(after_id)s::uuid)"
_IS_MARKED = f"entry.needs_attention_at IS NOT NULL AND {_AFTER.format(since='entry.needs_attention_at')}"
_IS_SET_ASIDE = f"{IS_SET_ASIDE} AND {_AFTER.format(since='aside.since')}"
_OLDEST = "ORDER BY since, entry.id LIMIT %(limit)s"

# One page, the oldest first.
ATTENTION = f"""
SELECT kind, found.id, order_ledger_id, refund_id, client, amount_cents, currency, status, compensating_from, undone,
  is_authorized, found.retry_count, due_at, since, found.reason, is_set_aside, is_dealt_with,
  CASE WHEN is_dealt_with THEN mark.at END AS dealt_with_at,
  CASE WHEN is_dealt_with THEN mark.author END AS dealt_with_by,
  CASE WHEN is_dealt_with THEN mark.reason END AS dealt_with_reason
FROM (
  (SELECT {_ORDER}, {_MARKED} FROM order_ledger AS entry WHERE {_IS_MARKED} AND {_IS_LISTED} {_OLDEST})
  UNION ALL
  (SELECT {_ORDER}, {_SET_ASIDE} FROM set_aside_entries AS aside JOIN order_ledger AS entry
    ON entry.id = aside.order_ledger_id WHERE {_IS_SET_ASIDE} {_OLDEST})
  UNION ALL
  (SELECT {_REFUND}, {_MARKED} FROM refunds AS entry JOIN order_ledger AS sale ON sale.id = entry.order_ledger_id
    WHERE {_IS_MARKED} AND {_IS_LISTED} {_OLDEST})
  UNION ALL
  (SELECT {_REFUND}, {_SET_ASIDE} FROM set_aside_refunds AS aside JOIN refunds AS entry ON entry.id = aside.refund_id
    JOIN order_ledger AS sale ON sale.id = entry.order_ledger_id WHERE {_IS_SET_ASIDE} {_OLDEST})
) AS found LEFT JOIN dealt_with AS mark ON mark.subject_id = found.id
ORDER BY since, found.id LIMIT %(limit)s
"""

_COUNTED = f"""SELECT count(*) FILTER (WHERE NOT {_IS_DEALT_WITH}) AS open,
    count(*) FILTER (WHERE {_IS_DEALT_WITH}) AS dealt_with, min(entry.needs_attention_at) FILTER (
    WHERE NOT {_IS_DEALT_WITH}) AS since
  FROM {{table}} AS entry WHERE entry.needs_attention_at IS NOT NULL"""
_COUNTED_ASIDE = f"""SELECT count(*), 0, min(aside.since) FROM {{aside}} AS aside JOIN {{table}} AS entry
    ON entry.id = aside.{{entry_id}} WHERE {IS_SET_ASIDE}"""
# How many there are, how many somebody has dealt with, and since when the oldest of the others waits.
COUNT = f"""
SELECT sum(open)::bigint AS open, sum(dealt_with)::bigint AS dealt_with, min(since) AS since FROM (
  {_COUNTED.format(table="order_ledger")}
  UNION ALL {_COUNTED.format(table="refunds")}
  UNION ALL {_COUNTED_ASIDE.format(aside="set_aside_entries", table="order_ledger", entry_id="order_ledger_id")}
  UNION ALL {_COUNTED_ASIDE.format(aside="set_aside_refunds", table="refunds", entry_id="refund_id")}
) AS parts
"""
