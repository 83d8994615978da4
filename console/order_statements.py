"""What all books say about one order, in one statement: so all parts are of the same moment."""

from common.attention.conditions import needs_attention

# `l` is the ledger entry. Participants' rows are found by the keys that the saga gave them. A restock is looked for
# only around the time of its refund's saga: a product may have had thousands of adjustments since.
ORDER = f"""
SELECT l.id AS order_ledger_id, l.client, l.client_request_id, l.status, l.status_detail, l.user_id, l.email,
  l.reference, COALESCE(l.metadata, '{{}}') AS metadata, l.total_amount_cents, l.currency, l.refunded_cents,
  l.refund_reserved_cents, l.request_id, split_part(l.trace_parent, '-', 2) AS trace_id,
  l.payment_authorization_id, l.order_id, l.compensating_from, l.undone,
  l.failure_code, l.failure_message, l.retry_count, l.next_retry_at, l.due_at, l.claimed_by, l.claimed_until,
  l.claim_number, l.needs_attention_at, {needs_attention("l")} AS needs_attention, l.attention_reason,
  l.created_at, l.updated_at, l.cancel_requested_at, l.cancel_reason, l.cancel_note, now() AS now,
  (SELECT json_build_object('at', d.at, 'author', d.author, 'reason', d.reason, 'retry_count', d.retry_count)
    FROM dealt_with d WHERE d.subject_id = l.id) AS dealt_with,
  (SELECT json_build_object('reason', a.reason, 'since', a.since, 'retry_at', a.retry_at)
    FROM set_aside_entries a WHERE a.order_ledger_id = l.id AND a.retry_at IS NOT NULL) AS set_aside,
  (SELECT json_agg(json_build_object('product_id', i.product_id, 'name', v.name, 'sku', v.sku, 'quantity', i.quantity,
      'unit_price_cents', i.unit_price_cents, 'refunded_quantity', i.refunded_quantity) ORDER BY i.position)
    FROM order_ledger_items i LEFT JOIN products v ON v.id = i.product_id
    WHERE i.order_ledger_id = l.id) AS items,
  (SELECT COALESCE(json_agg(json_build_object('at', h.at, 'from', h.from_status, 'to', h.to_status,
      'detail', h.detail, 'claim_number', h.claim_number) ORDER BY h.id), '[]')
    FROM order_ledger_history h WHERE h.order_ledger_id = l.id) AS history,
  (SELECT COALESCE(json_agg(json_build_object('id', a.id, 'status', a.status, 'amount_cents', a.amount_cents,
      'currency', a.currency, 'captured_cents', a.captured_amount_cents, 'refunded_cents', a.refunded_amount_cents,
      'pending_refund_cents', a.pending_refund_cents, 'capture_id', a.capture_id, 'decline_code', a.decline_code,
      'gateway', COALESCE(a.gateway, 'simulated'), 'created_at', a.created_at, 'captured_at', a.captured_at,
      'voided_at', a.voided_at,
      'refunds', (SELECT COALESCE(json_agg(json_build_object('id', p.id, 'key', p.idempotency_key, 'status', p.status,
        'amount_cents', p.amount_cents) ORDER BY p.id), '[]') FROM payment_refunds p WHERE p.authorization_id = a.id))
      ORDER BY a.created_at), '[]')
    FROM payment_authorizations a WHERE a.idempotency_key = 'authorize:' || l.id) AS payments,
  (SELECT COALESCE(json_agg(json_build_object('id', o.id, 'status', o.status,
      'total_amount_cents', o.total_amount_cents, 'currency', o.currency, 'updated_at', o.updated_at)), '[]')
    FROM orders o WHERE o.order_ledger_id = l.id) AS orders,
  (SELECT COALESCE(json_agg(json_build_object('id', r.id, 'product_id', r.product_id, 'quantity', r.quantity,
      'created_at', r.created_at, 'released_at', r.released_at) ORDER BY r.product_id), '[]')
    FROM orders o JOIN inventory_reservations r ON r.order_id = o.id WHERE o.order_ledger_id = l.id) AS reservations,
  (SELECT COALESCE(json_agg(json_build_object('refund_id', r.id, 'status', r.status, 'amount_cents', r.amount_cents,
      'restock', r.restock, 'reason', r.reason, 'note', r.note, 'restocked', r.restocked,
      'not_restocked', r.not_restocked, 'failure_code', r.failure_code, 'failure_message', r.failure_message,
      'retry_count', r.retry_count, 'next_retry_at', r.next_retry_at, 'due_at', r.due_at,
      'claimed_until', r.claimed_until, 'needs_attention_at', r.needs_attention_at,
      'needs_attention', {needs_attention("r")},
      'attention_reason', r.attention_reason, 'created_at', r.created_at, 'updated_at', r.updated_at,
      'dealt_with', (SELECT json_build_object('at', d.at, 'author', d.author, 'reason', d.reason,
        'retry_count', d.retry_count) FROM dealt_with d WHERE d.subject_id = r.id),
      'items', (SELECT COALESCE(json_agg(json_build_object('product_id', x.product_id, 'quantity', x.quantity,
        'put_back', (SELECT COALESCE(sum(a.quantity), 0) FROM inventory_adjustments a
          WHERE a.product_id = x.product_id AND a.created_at >= r.created_at - interval '1 minute'
            AND (r.due_at IS NOT NULL OR a.created_at <= r.updated_at + interval '1 minute')
            AND a.reason = 'return_to_stock' AND a.reference_id = r.id::text))
        ORDER BY x.product_id), '[]') FROM refund_items x WHERE x.refund_id = r.id),
      'payment', (SELECT json_build_object('id', p.id, 'authorization_id', p.authorization_id, 'status', p.status,
        'amount_cents', p.amount_cents) FROM payment_refunds p WHERE p.idempotency_key = 'refund:' || r.id))
      ORDER BY r.created_at, r.id), '[]')
    FROM refunds r WHERE r.order_ledger_id = l.id) AS refunds,
  (SELECT COALESCE(json_agg(json_build_object('id', e.id, 'type', e.type, 'sequence', e.sequence, 'at', e.at,
      'deliveries', (SELECT COALESCE(json_agg(json_build_object('id', d.id, 'endpoint_id', d.endpoint_id,
          'url', w.url, 'status', d.status, 'attempts', d.attempts, 'due_at', NULLIF(d.due_at, 'infinity'),
          'last_attempt_at', d.last_attempt_at, 'response_status', d.response_status, 'error', d.error)
          ORDER BY d.created_at), '[]')
        FROM webhook_deliveries d JOIN webhook_endpoints w ON w.id = d.endpoint_id WHERE d.event_id = e.id))
      ORDER BY e.sequence), '[]')
    FROM events e WHERE e.order_ledger_id = l.id) AS events,
  (SELECT COALESCE(json_agg(json_build_object('at', n.at, 'author', n.author, 'text', n.text) ORDER BY n.at), '[]')
    FROM order_notes n WHERE n.order_ledger_id = l.id) AS notes,
  (SELECT COALESCE(json_agg(json_build_object('at', r.at, 'actor', r.actor, 'action', r.action, 'details', r.details)
      ORDER BY r.at), '[]')
    FROM operator_log r WHERE (r.details ->> 'order_ledger_id') COLLATE "C" = l.id::text) AS record
FROM order_ledger l WHERE l.id = %(id)s
"""
