"""The columns of an order as clients see it. `l` is the ledger entry."""

CANCELLATION = """CASE WHEN l.cancel_requested_at IS NOT NULL THEN json_build_object(
    'requested_at', to_char(l.cancel_requested_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'reason', l.cancel_reason, 'status', CASE WHEN l.due_at IS NOT NULL THEN 'pending'
      WHEN l.status = 'COMPLETED' THEN 'refused' ELSE 'done' END) END"""

COLUMNS = f"""
l.id AS order_ledger_id, l.client_request_id, l.status, l.user_id, l.email, l.reference,
  COALESCE(l.metadata, '{{}}') AS metadata, l.total_amount_cents, l.refunded_cents,
  CASE l.refunded_cents WHEN 0 THEN 'none' WHEN l.total_amount_cents THEN 'full' ELSE 'partial' END AS refund_status,
  l.currency, l.payment_authorization_id, l.order_id, {CANCELLATION} AS cancellation, l.retry_count, l.next_retry_at,
  COALESCE(l.needs_attention_at, (SELECT since FROM set_aside_entries AS aside WHERE aside.order_ledger_id = l.id
    AND aside.retry_at IS NOT NULL AND l.due_at IS NOT NULL)) AS needs_attention_at,
  l.created_at, l.updated_at,
  CASE WHEN l.failure_code IS NOT NULL
    THEN json_build_object('code', l.failure_code, 'message', l.failure_message) END AS failure,
  (SELECT json_agg(json_build_object('product_id', i.product_id, 'quantity', i.quantity,
      'unit_price_cents', i.unit_price_cents) ORDER BY i.position)
    FROM order_ledger_items i WHERE i.order_ledger_id = l.id) AS items
"""
