-- The audit of refunds that the gateway has failed after they had succeeded. The rest is in 0017_audit.sql and
-- 0019_audit.sql.

-- An order that was undone by a refund keeps its money if the gateway fails that refund later. Nothing in the books can
-- mend it: it needs attention, which audit_attention lists, and its payment counts as if it kept nothing.
CREATE OR REPLACE VIEW audit_payments AS
SELECT p.order_ledger_id, p.entry_status, p.total_amount_cents, p.entry_currency, p.undone, p.reached, p.id, p.status,
  p.currency, p.amount_cents, p.captured_amount_cents, p.refunded_amount_cents,
  p.kept_cents - COALESCE(f.amount_cents, 0) AS kept_cents
FROM (
  SELECT l.id AS order_ledger_id, l.status AS entry_status, l.total_amount_cents, l.currency AS entry_currency, l.undone,
    CASE l.status WHEN 'COMPENSATING' THEN l.compensating_from ELSE l.status END AS reached,
    a.id, a.status, a.currency, a.amount_cents, a.captured_amount_cents, a.refunded_amount_cents,
    COALESCE(a.captured_amount_cents, 0) - a.refunded_amount_cents AS kept_cents
  FROM order_ledger l JOIN payment_authorizations a ON a.idempotency_key = 'authorize:' || l.id
  UNION ALL
  SELECT l.id, l.status, l.total_amount_cents, l.currency, l.undone,
    CASE l.status WHEN 'COMPENSATING' THEN l.compensating_from ELSE l.status END,
    a.id, a.status, a.currency, a.amount_cents, a.captured_amount_cents, a.refunded_amount_cents,
    COALESCE(a.captured_amount_cents, 0) - a.refunded_amount_cents
  FROM order_ledger l JOIN payment_authorizations a ON a.id = l.payment_authorization_id
  WHERE a.idempotency_key <> 'authorize:' || l.id
) p LEFT JOIN payment_refunds f ON f.authorization_id = p.id AND f.status = 'FAILED'
  AND f.idempotency_key = 'refund:' || p.order_ledger_id;

-- The books of the payments service know of such a failure first: until the refund is FAILED, too, less is refunded than
-- the order says.
CREATE OR REPLACE VIEW audit_completed AS
SELECT 'order_ledger ' || id AS subject, fault AS detail FROM (
  SELECT l.id, concat_ws('; ',
    CASE WHEN o.id IS NULL THEN 'there is no order' END,
    CASE WHEN o.status <> 'CONFIRMED' THEN 'the order is ' || o.status END,
    CASE WHEN o.id IS DISTINCT FROM l.order_id THEN 'order ' || o.id || ' is not the entry''s order' END,
    CASE WHEN o.total_amount_cents <> l.total_amount_cents
      THEN 'the order is for ' || o.total_amount_cents || ' instead of ' || l.total_amount_cents END,
    CASE WHEN p.captures IS DISTINCT FROM 1 THEN COALESCE(p.captures, 0) || ' captures instead of one' END,
    CASE WHEN p.captured <> l.total_amount_cents
      THEN 'captured are ' || p.captured || ' instead of ' || l.total_amount_cents END,
    CASE WHEN p.refunded NOT BETWEEN l.refunded_cents - COALESCE(f.failed, 0) AND l.refund_reserved_cents
      THEN 'refunded are ' || p.refunded || '; its refunds returned ' || l.refunded_cents || ' and reserve '
        || l.refund_reserved_cents END
  ) AS fault
  FROM order_ledger l LEFT JOIN orders o ON o.order_ledger_id = l.id
  LEFT JOIN (
    SELECT order_ledger_id, count(captured_amount_cents) AS captures, sum(captured_amount_cents) AS captured,
      sum(refunded_amount_cents) AS refunded
    FROM audit_payments WHERE entry_status = 'COMPLETED' GROUP BY order_ledger_id
  ) p ON p.order_ledger_id = l.id
  LEFT JOIN (
    SELECT r.order_ledger_id, sum(r.amount_cents) AS failed
    FROM payment_refunds p JOIN refunds r ON p.idempotency_key = 'refund:' || r.id
    WHERE p.status = 'FAILED' AND r.status = 'SUCCEEDED' GROUP BY r.order_ledger_id
  ) f ON f.order_ledger_id = l.id
  WHERE l.status = 'COMPLETED'
) faults WHERE fault <> ''
UNION ALL
SELECT 'order_ledger ' || order_ledger_id, 'of product ' || product_id || ' ' || COALESCE(r.quantity, 0)
  || ' are reserved instead of ' || COALESCE(i.quantity, 0)
FROM (
  SELECT i.order_ledger_id, i.product_id, i.quantity
  FROM order_ledger l JOIN order_ledger_items i ON i.order_ledger_id = l.id WHERE l.status = 'COMPLETED'
) i FULL JOIN (
  SELECT l.id AS order_ledger_id, r.product_id, r.quantity
  FROM order_ledger l JOIN inventory_reservations r ON r.order_id = l.order_id
  WHERE l.status = 'COMPLETED' AND r.released_at IS NULL
) r USING (order_ledger_id, product_id)
WHERE i.quantity IS DISTINCT FROM r.quantity;

CREATE OR REPLACE VIEW audit_money AS
SELECT 'currency ' || COALESCE(currency, 'unknown') AS subject, 'captured less refunded are ' || sum(taken)
  || '; completed orders and live sagas account for ' || sum(accounted) AS detail
FROM (
  SELECT currency, captured_amount_cents AS taken, 0::bigint AS accounted FROM payment_authorizations
    WHERE captured_amount_cents IS NOT NULL
  UNION ALL SELECT a.currency, -r.amount_cents, 0 FROM payment_refunds r
    LEFT JOIN payment_authorizations a ON a.id = r.authorization_id WHERE r.status = 'REFUNDED'
  UNION ALL SELECT currency, 0, total_amount_cents FROM order_ledger WHERE status = 'COMPLETED'
  UNION ALL SELECT l.currency, 0, -r.amount_cents FROM refunds r JOIN order_ledger l ON l.id = r.order_ledger_id
    LEFT JOIN payment_refunds p ON p.idempotency_key = 'refund:' || r.id
    WHERE r.status IN ('PAYMENT_REFUNDED', 'RESTOCKED', 'SUCCEEDED') AND p.status IS DISTINCT FROM 'FAILED'
      OR p.status = 'REFUNDED'
  UNION ALL SELECT currency, 0, kept_cents FROM audit_payments
    WHERE entry_status NOT IN ('AUTHORIZATION_FAILED', 'COMPLETED', 'FAILED')
  UNION ALL SELECT a.currency, 0, p.amount_cents FROM payment_refunds p JOIN audit_payments a ON a.id = p.authorization_id
    WHERE p.status = 'FAILED' AND p.idempotency_key = 'refund:' || a.order_ledger_id
) movements GROUP BY currency HAVING sum(taken) <> sum(accounted)
UNION ALL
SELECT 'order_ledger ' || order_ledger_id, entry_status || COALESCE(' from ' || NULLIF(reached, entry_status), '')
  || ', and payment ' || id || ' keeps ' || kept_cents
FROM audit_payments
WHERE entry_status NOT IN ('AUTHORIZATION_FAILED', 'COMPLETED', 'FAILED') AND kept_cents <> 0
  AND (reached NOT IN ('INVENTORY_RESERVED', 'PAYMENT_CAPTURED') OR 'void_payment' = ANY (undone))
UNION ALL
SELECT 'order_ledger ' || order_ledger_id, 'was PAYMENT_CAPTURED, and captured of payment ' || id || ' are '
  || COALESCE(captured_amount_cents, 0) || ' of ' || total_amount_cents
FROM audit_payments
WHERE reached = 'PAYMENT_CAPTURED' AND captured_amount_cents IS DISTINCT FROM total_amount_cents;

-- An order's sums follow from its refunds. Each refund has at most one movement in the books of the payments service,
-- which may be one commit ahead of the refund, and up to an hour where the gateway has failed it. Its pieces return
-- once, one product after the other. An operator may have put back those that were refused. Its end is told exactly
-- once; that it failed after it had succeeded is told then.
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
  FROM refunds r JOIN refund_items x ON x.refund_id = r.id
  WHERE r.status <> 'FAILED' OR x.product_id = ANY (r.restocked || r.not_restocked) GROUP BY 1, 2
) r ON r.order_ledger_id = i.order_ledger_id AND r.product_id = i.product_id
WHERE i.refunded_quantity <> COALESCE(r.quantity, 0) OR i.refunded_quantity > i.quantity
UNION ALL
SELECT 'refund ' || id, fault FROM (
  SELECT r.id, concat_ws('; ',
    CASE WHEN r.status IN ('PAYMENT_REFUNDED', 'RESTOCKED', 'SUCCEEDED') AND p.status IS DISTINCT FROM 'REFUNDED'
        AND (p.status = 'FAILED' AND (r.status <> 'SUCCEEDED' OR GREATEST(p.failed_at, r.updated_at) > now() - interval '1 hour')) IS NOT TRUE
      THEN r.status || ', and the payment''s refund is ' || COALESCE(p.status, 'not in the books') END,
    CASE WHEN r.status = 'FAILED' AND p.id IS NOT NULL AND p.status <> 'FAILED'
      THEN 'FAILED, and the payment''s refund ' || p.id || ' is ' || p.status END,
    CASE WHEN p.amount_cents <> r.amount_cents
      THEN 'is for ' || r.amount_cents || ', and the payment''s refund for ' || p.amount_cents END,
    CASE WHEN p.authorization_id <> l.payment_authorization_id
      THEN 'refunds payment ' || p.authorization_id || ' instead of ' || l.payment_authorization_id END,
    CASE WHEN r.status IN ('SUCCEEDED', 'FAILED') AND e.events = 0 AND (r.updated_at <= d.at) IS NOT TRUE
      THEN r.status || ', without its event' END,
    CASE WHEN e.events > CASE WHEN r.failure_code = 'refund_failed_later' THEN 2 ELSE 1 END
      THEN e.events || ' events tell of its end' END,
    CASE WHEN e.type <> 'refund.' || lower(r.status) THEN r.status || ', and its event is ' || e.type END,
    CASE WHEN e.order_ledger_id <> r.order_ledger_id::text
      THEN 'its event is of order_ledger ' || e.order_ledger_id END
  ) AS fault
  FROM refunds r JOIN order_ledger l ON l.id = r.order_ledger_id
  LEFT JOIN payment_refunds p ON p.idempotency_key = 'refund:' || r.id
  CROSS JOIN LATERAL (
    SELECT count(*) AS events, (array_agg(type ORDER BY sequence DESC))[1] AS type,
      min(order_ledger_id::text) AS order_ledger_id
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
