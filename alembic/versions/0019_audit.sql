-- The audit of refunds. The rest is in 0017_audit.sql.

-- An order's sums follow from its refunds. Each refund has at most one movement in the books of the payments service,
-- which may be one commit ahead of the refund. Its pieces return once, one product after the other.
-- An operator may have put back those that were refused. Its end is told exactly once.
CREATE OR REPLACE VIEW audit_refunds AS
SELECT 'order_ledger ' || id AS subject, fault AS detail FROM (
  SELECT l.id, concat_ws('; ',
    CASE WHEN l.refunded_cents <> COALESCE(r.returned, 0) THEN 'refunded are ' || l.refunded_cents
      || ', and its succeeded refunds add up to ' || COALESCE(r.returned, 0) END,
    CASE WHEN l.refund_reserved_cents <> COALESCE(r.reserved, 0) THEN 'reserved for refunds are '
      || l.refund_reserved_cents || ', and its refunds add up to ' || COALESCE(r.reserved, 0) END,
    CASE WHEN l.refund_reserved_cents > l.total_amount_cents
      THEN 'reserved for refunds are ' || l.refund_reserved_cents || ' of ' || l.total_amount_cents END,
    CASE WHEN r.refunds > 0 AND l.status <> 'COMPLETED' THEN l.status || ', with ' || r.refunds || ' refunds' END
  ) AS fault
  FROM order_ledger l LEFT JOIN (
    SELECT order_ledger_id, count(*) AS refunds, sum(amount_cents) FILTER (WHERE status = 'SUCCEEDED') AS returned,
      sum(amount_cents) FILTER (WHERE status <> 'FAILED') AS reserved
    FROM refunds GROUP BY order_ledger_id
  ) r ON r.order_ledger_id = l.id
) faults WHERE fault <> ''
UNION ALL
SELECT 'order_ledger ' || i.order_ledger_id, 'of product ' || i.product_id || ' ' || i.refunded_quantity || ' of '
  || i.quantity || ' are refunded, and its refunds add up to ' || COALESCE(r.quantity, 0)
FROM order_ledger_items i LEFT JOIN (
  SELECT r.order_ledger_id, x.product_id, sum(x.quantity) AS quantity
  FROM refunds r JOIN refund_items x ON x.refund_id = r.id WHERE r.status <> 'FAILED' GROUP BY 1, 2
) r ON r.order_ledger_id = i.order_ledger_id AND r.product_id = i.product_id
WHERE i.refunded_quantity <> COALESCE(r.quantity, 0) OR i.refunded_quantity > i.quantity
UNION ALL
SELECT 'refund ' || id, fault FROM (
  SELECT r.id, concat_ws('; ',
    CASE WHEN r.status IN ('PAYMENT_REFUNDED', 'RESTOCKED', 'SUCCEEDED') AND p.status IS DISTINCT FROM 'REFUNDED'
      THEN r.status || ', and the payment''s refund is ' || COALESCE(p.status, 'not in the books') END,
    CASE WHEN r.status = 'FAILED' AND p.id IS NOT NULL
      THEN 'FAILED, and the payment''s refund ' || p.id || ' is ' || p.status END,
    CASE WHEN p.amount_cents <> r.amount_cents
      THEN 'is for ' || r.amount_cents || ', and the payment''s refund for ' || p.amount_cents END,
    CASE WHEN p.authorization_id <> l.payment_authorization_id
      THEN 'refunds payment ' || p.authorization_id || ' instead of ' || l.payment_authorization_id END,
    CASE WHEN r.status IN ('SUCCEEDED', 'FAILED') AND e.events = 0 AND (r.updated_at <= d.at) IS NOT TRUE
      THEN r.status || ', without its event' END,
    CASE WHEN e.events > 1 THEN e.events || ' events tell of its end' END,
    CASE WHEN e.type <> 'refund.' || lower(r.status) THEN r.status || ', and its event is ' || e.type END,
    CASE WHEN e.order_ledger_id <> r.order_ledger_id::text
      THEN 'its event is of order_ledger ' || e.order_ledger_id END
  ) AS fault
  FROM refunds r JOIN order_ledger l ON l.id = r.order_ledger_id
  LEFT JOIN payment_refunds p ON p.idempotency_key = 'refund:' || r.id
  CROSS JOIN LATERAL (
    SELECT count(*) AS events, min(type) AS type, min(order_ledger_id::text) AS order_ledger_id
    FROM events WHERE refund_id = r.id
  ) e
  LEFT JOIN deleted_events d ON d.client = l.client AND d.type = 'refund.' || lower(r.status)
) faults WHERE fault <> ''
UNION ALL
SELECT 'order_ledger ' || e.order_ledger_id, e.type || ' tells of refund ' || COALESCE(e.refund_id::text, 'NULL')
  || ', which does not exist'
FROM events e LEFT JOIN refunds r ON r.id = e.refund_id
WHERE e.type IN ('refund.succeeded', 'refund.failed') AND r.id IS NULL
UNION ALL
SELECT 'order_ledger ' || l.id, 'COMPLETED, and no refund asked for the payment''s refund ' || p.id
FROM order_ledger l JOIN payment_refunds p ON p.authorization_id = l.payment_authorization_id
LEFT JOIN refunds r ON p.idempotency_key = 'refund:' || r.id
WHERE l.status = 'COMPLETED' AND r.id IS NULL
UNION ALL
SELECT 'refund ' || id, status || ', and of product ' || product_id || ' ' || returned || ' of ' || quantity
  || ' went back into stock' || CASE WHEN is_noted THEN ', which is noted' WHEN is_refused THEN ', which is refused'
    ELSE '' END
FROM (
  SELECT r.id, r.status, x.product_id, x.quantity, COALESCE(a.quantity, 0) AS returned,
    x.product_id = ANY (r.restocked) AS is_noted, x.product_id = ANY (r.not_restocked) AS is_refused
  FROM refunds r JOIN refund_items x ON x.refund_id = r.id
  LEFT JOIN (
    SELECT reference_id, product_id, sum(quantity) AS quantity FROM inventory_adjustments
    WHERE reason = 'return_to_stock' AND reference_id IS NOT NULL GROUP BY 1, 2
  ) a ON a.reference_id = r.id::text AND a.product_id = x.product_id
  WHERE r.restock
) pieces
WHERE CASE
  WHEN is_noted THEN returned <> quantity
  WHEN is_refused OR status = 'PAYMENT_REFUNDED' THEN returned NOT IN (0, quantity)
  WHEN status IN ('RESTOCKED', 'SUCCEEDED') THEN true
  ELSE returned <> 0 END;
