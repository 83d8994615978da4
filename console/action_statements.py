"""The SQL of an operator's actions, other than that of the Edge API and of `ops attention`."""

# Whose order it is: the console acts in the name of its client.
ORDER = "SELECT id AS order_ledger_id, client FROM order_ledger WHERE id = %(id)s"
REFUND = """
SELECT r.order_ledger_id, l.client FROM refunds r JOIN order_ledger l ON l.id = r.order_ledger_id WHERE r.id = %(id)s
"""

ADD_NOTE = "INSERT INTO order_notes (order_ledger_id, author, text) VALUES (%(id)s, %(author)s, %(note)s)"

# Hide the mark of an order or a refund whose work goes on. It is shown again with the next failure, which counts.
_HIDE = """
INSERT INTO dealt_with AS mark (subject_id, author, reason, retry_count)
SELECT id, %(author)s, %(reason)s, retry_count FROM {table}
WHERE id = %(id)s AND due_at IS NOT NULL AND needs_attention_at IS NOT NULL
ON CONFLICT (subject_id) DO UPDATE SET at = now(), author = EXCLUDED.author, reason = EXCLUDED.reason,
  retry_count = EXCLUDED.retry_count
RETURNING subject_id
"""
HIDE_ORDER, HIDE_REFUND = _HIDE.format(table="order_ledger"), _HIDE.format(table="refunds")
