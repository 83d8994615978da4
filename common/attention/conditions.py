"""The SQL conditions of what needs attention, and of what is overdue. Each is written here once."""

from __future__ import annotations

# An entry that cannot be written at all is not due before its next try.
NOT_SET_ASIDE = """NOT EXISTS (
  SELECT FROM {aside} AS aside WHERE aside.{entry_id} = entry.id AND aside.retry_at > now())"""
_ORDERS = {"table": "order_ledger", "aside": "set_aside_entries", "entry_id": "order_ledger_id"}
_REFUNDS = {"table": "refunds", "aside": "set_aside_refunds", "entry_id": "refund_id"}


def is_dealt_with(entry: str) -> str:
    """An operator has dealt with the mark of `entry`, a row of orders or refunds, and it has not failed since.

    A subquery, so that it is found by its key.
    """
    return f"""((SELECT mark.retry_count = {entry}.retry_count AND mark.at >= {entry}.needs_attention_at
    FROM dealt_with AS mark WHERE mark.subject_id = {entry}.id) IS TRUE)"""


def needs_attention(entry: str) -> str:
    """`entry`, a row of orders or refunds, is marked, and nobody has dealt with it."""
    return f"({entry}.needs_attention_at IS NOT NULL AND NOT {is_dealt_with(entry)})"


# An entry that the database refuses to write. Its count of tries stands still, so that it is always listed: nobody
# could see that it failed again.
IS_SET_ASIDE = "(aside.retry_at IS NOT NULL AND entry.due_at IS NOT NULL AND entry.needs_attention_at IS NULL)"


def overdue(since: str, limit: int) -> str:
    """A query for `due_at` of the longest overdue orders and refunds, up to `limit` of each.

    :param since: those that have been due since this time
    """
    each = f"""(SELECT due_at FROM {{table}} AS entry WHERE due_at <= {since} AND {NOT_SET_ASIDE}
    ORDER BY due_at LIMIT {limit})"""
    return f"{each.format(**_ORDERS)} UNION ALL {each.format(**_REFUNDS)}"
