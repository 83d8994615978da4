-- The views of the audit that know about refunds. The rest are in 0005_audit.sql, 0012_audit.sql and 0016_audit.sql.

CREATE OR REPLACE VIEW audit_checks (check_number, check_name) AS VALUES
  (1, 'stock'), (2, 'completed'), (3, 'nothing_left'), (4, 'confirmed_unpaid'), (5, 'stuck'), (6, 'money'), (7, 'keys'),
  (8, 'outbox'), (9, 'history'), (10, 'amounts'), (11, 'tombstones_and_orphans'),
  (12, 'events'), (13, 'refunds');

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
    CASE WHEN p.refunded NOT BETWEEN l.refunded_cents AND l.refund_reserved_cents THEN 'refunded are ' || p.refunded
      || '; its refunds returned ' || l.refunded_cents || ' and reserve ' || l.refund_reserved_cents END
  ) AS fault
  FROM order_ledger l LEFT JOIN orders o ON o.order_ledger_id = l.id
  LEFT JOIN (
    SELECT order_ledger_id, count(captured_amount_cents) AS captures, sum(captured_amount_cents) AS captured,
      sum(refunded_amount_cents) AS refunded
    FROM audit_payments WHERE entry_status = 'COMPLETED' GROUP BY order_ledger_id
  ) p ON p.order_ledger_id = l.id
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

CREATE OR REPLACE VIEW audit_stuck AS
SELECT of || ' ' || id AS subject, status || CASE
    WHEN is_far THEN ', and not due before ' || free_at
    ELSE COALESCE(', due since ' || due_at || ' and claimed by nobody', ', and never due') END AS detail
FROM (
  SELECT 'order_ledger' AS of, id, status, due_at, claimed_until, GREATEST(due_at, claimed_until) AS free_at,
    COALESCE(GREATEST(due_at, claimed_until) > now() + interval '2 days', false) AS is_far
  FROM order_ledger
  WHERE status NOT IN ('AUTHORIZATION_FAILED', 'COMPLETED', 'FAILED') AND needs_attention_at IS NULL
    AND NOT EXISTS (SELECT FROM set_aside_entries WHERE order_ledger_id = order_ledger.id AND retry_at IS NOT NULL)
  UNION ALL
  SELECT 'refund', id, status, due_at, claimed_until, GREATEST(due_at, claimed_until),
    COALESCE(GREATEST(due_at, claimed_until) > now() + interval '2 days', false)
  FROM refunds WHERE status NOT IN ('SUCCEEDED', 'FAILED') AND needs_attention_at IS NULL
    AND NOT EXISTS (SELECT FROM set_aside_refunds WHERE refund_id = refunds.id AND retry_at IS NOT NULL)
) open_sagas
WHERE is_far OR (claimed_until IS NULL OR claimed_until <= now())
  AND (due_at IS NULL OR due_at < now() - CASE status WHEN 'AWAITING_AUTHORIZATION' THEN interval '120 s'
    ELSE interval '60 s' END);

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
    WHERE r.status IN ('PAYMENT_REFUNDED', 'RESTOCKED', 'SUCCEEDED') OR p.status = 'REFUNDED'
  UNION ALL SELECT currency, 0, kept_cents FROM audit_payments
    WHERE entry_status NOT IN ('AUTHORIZATION_FAILED', 'COMPLETED', 'FAILED')
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

CREATE OR REPLACE VIEW audit_amounts AS
SELECT 'order_ledger ' || l.id AS subject,
  'the total is ' || l.total_amount_cents || ', its lines add up to ' || COALESCE(i.cents, 0) AS detail
FROM order_ledger l LEFT JOIN (SELECT order_ledger_id, sum(quantity * unit_price_cents) AS cents
  FROM order_ledger_items GROUP BY order_ledger_id) i ON i.order_ledger_id = l.id
WHERE l.total_amount_cents <> COALESCE(i.cents, 0)
UNION ALL
SELECT 'order ' || o.id, 'the total is ' || o.total_amount_cents || ', its lines add up to ' || COALESCE(i.cents, 0)
FROM orders o LEFT JOIN (SELECT order_id, sum(quantity * unit_price_cents) AS cents
  FROM order_items GROUP BY order_id) i ON i.order_id = o.id
WHERE o.total_amount_cents <> COALESCE(i.cents, 0)
UNION ALL
SELECT 'order ' || o.id, 'is for ' || o.total_amount_cents || ' ' || o.currency || ', its entry for '
  || l.total_amount_cents || ' ' || l.currency
FROM orders o JOIN order_ledger l ON l.id = o.order_ledger_id
WHERE (o.total_amount_cents, o.currency) <> (l.total_amount_cents, l.currency)
UNION ALL
SELECT 'order_ledger ' || order_ledger_id, 'is for ' || total_amount_cents || ' ' || entry_currency || ', and payment '
  || id || ' for ' || amount_cents || ' ' || currency
FROM audit_payments WHERE (amount_cents, currency) <> (total_amount_cents, entry_currency)
UNION ALL
SELECT 'payment ' || id, fault FROM (
  SELECT a.id, concat_ws('; ',
    CASE WHEN captured_amount_cents > COALESCE(a.amount_cents, 0)
      THEN 'captured are ' || captured_amount_cents || ' of ' || COALESCE(a.amount_cents, 0) END,
    CASE WHEN refunded_amount_cents > COALESCE(captured_amount_cents, 0)
      THEN 'refunded are ' || refunded_amount_cents || ' of ' || COALESCE(captured_amount_cents, 0) END,
    CASE WHEN refunded_amount_cents <> COALESCE(r.cents, 0)
      THEN 'refunded are ' || refunded_amount_cents || ', its refunds add up to ' || COALESCE(r.cents, 0) END,
    CASE WHEN pending_refund_cents <> COALESCE(r.pending, 0)
      THEN 'pending are ' || pending_refund_cents || ', its pending refunds add up to ' || COALESCE(r.pending, 0) END,
    CASE WHEN refunded_amount_cents <= captured_amount_cents
        AND refunded_amount_cents + pending_refund_cents > captured_amount_cents
      THEN 'refunded and pending are more than the captured ' || captured_amount_cents END,
    CASE WHEN (status = 'VOIDED' OR voided_at IS NOT NULL)
        AND num_nonnulls(capture_id, captured_amount_cents, captured_at) > 0 THEN 'captured and voided' END
  ) AS fault
  FROM payment_authorizations a LEFT JOIN (SELECT authorization_id,
      sum(amount_cents) FILTER (WHERE status = 'REFUNDED') AS cents,
      sum(amount_cents) FILTER (WHERE status = 'PENDING') AS pending
    FROM payment_refunds GROUP BY authorization_id) r ON r.authorization_id = a.id
) faults WHERE fault <> '';

-- An order's sums follow from its refunds. Each refund has at most one movement in the books of the payments service,
-- which may be one commit ahead of the refund. Its pieces return once, one product after the other.
CREATE VIEW audit_refunds AS
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
      THEN 'refunds payment ' || p.authorization_id || ' instead of ' || l.payment_authorization_id END
  ) AS fault
  FROM refunds r JOIN order_ledger l ON l.id = r.order_ledger_id
  LEFT JOIN payment_refunds p ON p.idempotency_key = 'refund:' || r.id
) faults WHERE fault <> ''
UNION ALL
SELECT 'order_ledger ' || l.id, 'COMPLETED, and no refund asked for the payment''s refund ' || p.id
FROM order_ledger l JOIN payment_refunds p ON p.authorization_id = l.payment_authorization_id
LEFT JOIN refunds r ON p.idempotency_key = 'refund:' || r.id
WHERE l.status = 'COMPLETED' AND r.id IS NULL
UNION ALL
SELECT 'refund ' || id, status || ', and of product ' || product_id || ' ' || returned || ' of ' || quantity
  || ' went back into stock' || CASE WHEN is_noted THEN ', which is noted' ELSE '' END
FROM (
  SELECT r.id, r.status, x.product_id, x.quantity, COALESCE(a.quantity, 0) AS returned,
    x.product_id = ANY (r.restocked) AS is_noted
  FROM refunds r JOIN refund_items x ON x.refund_id = r.id
  LEFT JOIN (
    SELECT reference_id, product_id, sum(quantity) AS quantity FROM inventory_adjustments
    WHERE reason = 'return_to_stock' AND reference_id IS NOT NULL GROUP BY 1, 2
  ) a ON a.reference_id = r.id::text AND a.product_id = x.product_id
  WHERE r.restock
) pieces
WHERE CASE
  WHEN is_noted THEN returned <> quantity
  WHEN status = 'PAYMENT_REFUNDED' THEN returned NOT IN (0, quantity)
  WHEN status IN ('RESTOCKED', 'SUCCEEDED') THEN true
  ELSE returned <> 0 END;

CREATE OR REPLACE VIEW audit_violations (check_number, check_name, subject, detail) AS
SELECT check_number, check_name, subject, detail FROM audit_checks JOIN (
  SELECT 1 AS check_number, subject, detail FROM audit_stock
  UNION ALL SELECT 2, subject, detail FROM audit_completed
  UNION ALL SELECT 3, subject, detail FROM audit_nothing_left
  UNION ALL SELECT 4, subject, detail FROM audit_confirmed_unpaid
  UNION ALL SELECT 5, subject, detail FROM audit_stuck
  UNION ALL SELECT 6, subject, detail FROM audit_money
  UNION ALL SELECT 7, subject, detail FROM audit_keys
  UNION ALL SELECT 8, subject, detail FROM audit_outbox
  UNION ALL SELECT 9, subject, detail FROM audit_history
  UNION ALL SELECT 10, subject, detail FROM audit_amounts
  UNION ALL SELECT 11, subject, detail FROM audit_tombstones_and_orphans
  UNION ALL SELECT 12, subject, detail FROM audit_events
  UNION ALL SELECT 13, subject, detail FROM audit_refunds
) violations USING (check_number);

-- Orders and refunds without a violation that need attention. They are listed until they are done.
CREATE OR REPLACE VIEW audit_attention AS
SELECT id AS order_ledger_id, status, needs_attention_at, attention_reason, retry_count, due_at, NULL::uuid AS refund_id
FROM order_ledger WHERE needs_attention_at IS NOT NULL
UNION ALL
SELECT entry.id, entry.status, aside.since, aside.reason, entry.retry_count, aside.retry_at, NULL
FROM set_aside_entries aside JOIN order_ledger entry ON entry.id = aside.order_ledger_id
WHERE aside.retry_at IS NOT NULL AND entry.due_at IS NOT NULL AND entry.needs_attention_at IS NULL
UNION ALL
SELECT order_ledger_id, status, needs_attention_at, attention_reason, retry_count, due_at, id
FROM refunds WHERE needs_attention_at IS NOT NULL
UNION ALL
SELECT refund.order_ledger_id, refund.status, aside.since, aside.reason, refund.retry_count, aside.retry_at, refund.id
FROM set_aside_refunds aside JOIN refunds refund ON refund.id = aside.refund_id
WHERE aside.retry_at IS NOT NULL AND refund.due_at IS NOT NULL AND refund.needs_attention_at IS NULL;
