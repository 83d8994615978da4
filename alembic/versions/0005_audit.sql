-- The audit: one view for each group of rules about the books. audit_violations collects what they find.
--
-- No rows means that every rule holds. A rule holds at any moment, even between two commits, so it allows for a step
-- that a participant has done and the ledger does not show yet. Each view reads whole tables. Its joins compare for
-- equality and never use OR, so that PostgreSQL hashes and never loops over two tables. A row names one subject and
-- everything that is wrong with it.

CREATE VIEW audit_checks (check_number, check_name) AS VALUES
  (1, 'stock'), (2, 'completed'), (3, 'nothing_left'), (4, 'confirmed_unpaid'), (5, 'stuck'), (6, 'money'), (7, 'keys'),
  (8, 'outbox'), (9, 'history'), (10, 'amounts'), (11, 'tombstones_and_orphans');

-- The moves that the history may show. A test compares them with domain.states.LEGAL_MOVES.
CREATE VIEW audit_legal_moves (from_status, to_status) AS VALUES
  (NULL::text, 'AWAITING_AUTHORIZATION'),
  ('AWAITING_AUTHORIZATION', 'AUTHORIZED'), ('AWAITING_AUTHORIZATION', 'AUTHORIZATION_FAILED'),
  ('AUTHORIZED', 'ORDER_CREATED'), ('AUTHORIZED', 'COMPENSATING'),
  ('ORDER_CREATED', 'INVENTORY_RESERVED'), ('ORDER_CREATED', 'COMPENSATING'),
  ('INVENTORY_RESERVED', 'PAYMENT_CAPTURED'), ('INVENTORY_RESERVED', 'COMPENSATING'),
  ('PAYMENT_CAPTURED', 'COMPLETED'), ('PAYMENT_CAPTURED', 'COMPENSATING'),
  ('COMPENSATING', 'COMPENSATING'), ('COMPENSATING', 'COMPLETED'), ('COMPENSATING', 'FAILED');

-- Every payment of a ledger entry: found by key, because the gateway has it before the ledger does, and by id.
CREATE VIEW audit_payments AS
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
WHERE a.idempotency_key <> 'authorize:' || l.id;

CREATE VIEW audit_stock AS
SELECT 'product ' || id AS subject, fault AS detail FROM (
  SELECT id, concat_ws('; ',
    CASE WHEN stock_quantity IS NULL THEN 'has adjustments or reservations, and does not exist' END,
    CASE WHEN stock_quantity < 0 THEN 'the stock is ' || stock_quantity END,
    CASE WHEN stock_quantity <> COALESCE(adjusted, 0) - COALESCE(reserved, 0) THEN 'the stock is ' || stock_quantity
      || ', and ' || COALESCE(adjusted, 0) || ' adjusted less ' || COALESCE(reserved, 0) || ' reserved is not that' END
  ) AS fault
  FROM (SELECT id, stock_quantity FROM products) p
  FULL JOIN (SELECT product_id AS id, sum(quantity) AS adjusted FROM inventory_adjustments GROUP BY product_id) a
    USING (id)
  FULL JOIN (SELECT product_id AS id, sum(quantity) AS reserved FROM inventory_reservations
    WHERE released_at IS NULL GROUP BY product_id) r USING (id)
) faults WHERE fault <> '';

CREATE VIEW audit_completed AS
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
    CASE WHEN p.refunded <> 0 THEN 'refunded are ' || p.refunded END
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

CREATE VIEW audit_nothing_left AS
SELECT 'order_ledger ' || order_ledger_id AS subject, entry_status || ', and payment ' || id || ' is ' || status
  || ' and keeps ' || kept_cents AS detail
FROM audit_payments
WHERE entry_status IN ('FAILED', 'AUTHORIZATION_FAILED') AND (status = 'AUTHORIZED' OR kept_cents <> 0)
UNION ALL
SELECT 'order_ledger ' || l.id, l.status || ', and ' || r.quantity || ' of product ' || r.product_id || ' are reserved'
FROM order_ledger l JOIN inventory_reservations r ON r.order_id = l.order_id
WHERE l.status IN ('FAILED', 'AUTHORIZATION_FAILED') AND r.released_at IS NULL
UNION ALL
SELECT 'order_ledger ' || l.id, l.status || ', and order ' || o.id || ' is ' || o.status
FROM order_ledger l JOIN orders o ON o.order_ledger_id = l.id
WHERE l.status IN ('FAILED', 'AUTHORIZATION_FAILED') AND o.status <> 'CANCELLED';

-- A saga compensating from PAYMENT_CAPTURED may find its order confirmed when it sends its first undo, the cancel.
CREATE VIEW audit_confirmed_unpaid AS
SELECT 'order ' || id AS subject, fault AS detail FROM (
  SELECT o.id, concat_ws('; ',
    CASE WHEN (l.status IN ('PAYMENT_CAPTURED', 'COMPLETED') OR l.status = 'COMPENSATING'
        AND l.compensating_from = 'PAYMENT_CAPTURED' AND NOT 'cancel_order' = ANY (l.undone)) IS NOT TRUE
      THEN 'CONFIRMED, and its entry ' || COALESCE('is ' || l.status, 'does not exist') END,
    CASE WHEN a.captured_amount_cents >= o.total_amount_cents IS NOT TRUE THEN 'CONFIRMED, and captured are '
      || COALESCE(a.captured_amount_cents, 0) || ' of ' || COALESCE(o.total_amount_cents, 0) END
  ) AS fault
  FROM orders o LEFT JOIN order_ledger l ON l.id = o.order_ledger_id
  LEFT JOIN payment_authorizations a ON a.id = l.payment_authorization_id
  WHERE o.status = 'CONFIRMED'
) faults WHERE fault <> '';

-- Two days: an order waits at most one day for its client, and usually a minute for a retry.
CREATE VIEW audit_stuck AS
SELECT 'order_ledger ' || id AS subject, status || CASE
    WHEN is_far THEN ', and not due before ' || free_at
    ELSE COALESCE(', due since ' || due_at || ' and claimed by nobody', ', and never due') END AS detail
FROM (
  SELECT id, status, due_at, claimed_until, GREATEST(due_at, claimed_until) AS free_at,
    COALESCE(GREATEST(due_at, claimed_until) > now() + interval '2 days', false) AS is_far
  FROM order_ledger
  WHERE status NOT IN ('AUTHORIZATION_FAILED', 'COMPLETED', 'FAILED') AND needs_attention_at IS NULL
) open_orders
WHERE is_far OR (claimed_until IS NULL OR claimed_until <= now())
  AND (due_at IS NULL OR due_at < now() - CASE status WHEN 'AWAITING_AUTHORIZATION' THEN interval '120 s'
    ELSE interval '60 s' END);

-- A saga's progress limits the money it can have taken: no earlier step requests the capture.
CREATE VIEW audit_money AS
SELECT 'currency ' || COALESCE(currency, 'unknown') AS subject, 'captured less refunded are ' || sum(taken)
  || '; completed orders and live sagas account for ' || sum(accounted) AS detail
FROM (
  SELECT currency, captured_amount_cents AS taken, 0::bigint AS accounted FROM payment_authorizations
    WHERE captured_amount_cents IS NOT NULL
  UNION ALL SELECT a.currency, -r.amount_cents, 0 FROM payment_refunds r
    LEFT JOIN payment_authorizations a ON a.id = r.authorization_id
  UNION ALL SELECT currency, 0, total_amount_cents FROM order_ledger WHERE status = 'COMPLETED'
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

CREATE VIEW audit_keys AS
SELECT 'client ' || client || ', key ' || client_request_id AS subject, count(*) || ' ledger entries' AS detail
FROM order_ledger GROUP BY client, client_request_id HAVING count(*) > 1
UNION ALL
SELECT 'order_ledger ' || order_ledger_id, count(*) || ' payments: ' || string_agg(id, ', ')
FROM audit_payments GROUP BY order_ledger_id HAVING count(*) > 1
UNION ALL
SELECT 'payment ' || payment_authorization_id, 'is that of ' || count(*) || ' ledger entries'
FROM order_ledger GROUP BY payment_authorization_id HAVING count(payment_authorization_id) > 1
UNION ALL
SELECT 'order_ledger ' || l.id, 'payment ' || l.payment_authorization_id || ' is not in the books under its key'
FROM order_ledger l LEFT JOIN payment_authorizations a ON a.idempotency_key = 'authorize:' || l.id
WHERE l.payment_authorization_id IS DISTINCT FROM a.id AND l.payment_authorization_id IS NOT NULL;

CREATE VIEW audit_outbox AS
SELECT 'order_ledger ' || id AS subject, fault AS detail FROM (
  SELECT COALESCE(l.id, e.order_ledger_id) AS id, concat_ws('; ',
    CASE WHEN l.id IS NULL THEN 'has an event, and does not exist' END,
    CASE WHEN l.status NOT IN ('AWAITING_AUTHORIZATION', 'AUTHORIZATION_FAILED') AND e.events IS DISTINCT FROM 1
      THEN l.status || ', with ' || COALESCE(e.events, 0) || ' events' END,
    CASE WHEN l.status IN ('AWAITING_AUTHORIZATION', 'AUTHORIZATION_FAILED') AND e.events > 0
      THEN l.status || ', with an event' END,
    CASE WHEN (l.status = 'COMPLETED' AND e.events <> e.processed) OR (l.status = 'FAILED' AND e.events <> e.failed)
      THEN l.status || ', and its event is ' || e.statuses END,
    CASE WHEN l.status NOT IN ('COMPLETED', 'FAILED') AND e.events <> e.pending
      THEN l.status || ', and its event is closed: ' || e.statuses END
  ) AS fault
  FROM order_ledger l FULL JOIN (
    SELECT order_ledger_id, count(*) AS events, count(*) FILTER (WHERE status = 'PENDING') AS pending,
      count(*) FILTER (WHERE status = 'PROCESSED') AS processed, count(*) FILTER (WHERE status = 'FAILED') AS failed,
      string_agg(status, ', ') AS statuses
    FROM outbox GROUP BY order_ledger_id
  ) e ON e.order_ledger_id = l.id
) faults WHERE fault <> '';

-- The history has one row for each change of status and for each undo. The last undo is also the end of the saga.
CREATE VIEW audit_history AS
SELECT 'order_ledger ' || id AS subject, fault AS detail FROM (
  SELECT COALESCE(l.id, h.order_ledger_id) AS id, concat_ws('; ',
    CASE WHEN l.id IS NULL THEN 'has a history, and does not exist' END,
    CASE WHEN h.order_ledger_id IS NULL THEN 'has no history' END,
    h.faults,
    CASE WHEN h.ends_at <> l.status THEN 'ends at ' || h.ends_at || ', and the entry is ' || l.status END,
    CASE WHEN h.last_claim > l.claim_number THEN 'claim ' || h.last_claim || ' is later than the entry''s '
      || l.claim_number END,
    CASE WHEN l.status IN ('COMPENSATING', 'FAILED')
        AND h.undos <> cardinality(l.undone) - CASE l.status WHEN 'FAILED' THEN 1 ELSE 0 END
      THEN h.undos || ' undos before the end, and undone are ' || cardinality(l.undone) END
  ) AS fault
  FROM order_ledger l FULL JOIN (
    SELECT order_ledger_id, NULLIF(string_agg(fault, '; '), '') AS faults,
      max(to_status) FILTER (WHERE is_last) AS ends_at, max(claim_number) FILTER (WHERE is_last) AS last_claim,
      count(*) FILTER (WHERE from_status = to_status) AS undos
    FROM (
      SELECT order_ledger_id, from_status, to_status, claim_number, is_last, NULLIF(concat_ws('; ',
        CASE WHEN from_status IS DISTINCT FROM was THEN 'a gap between ' || COALESCE(was, 'the beginning') || ' and '
          || COALESCE(from_status, 'a beginning') || ' → ' || to_status END,
        CASE WHEN (COALESCE(from_status, ''), to_status) NOT IN (
            SELECT COALESCE(from_status, ''), to_status FROM audit_legal_moves)
          OR from_status = 'COMPENSATING' AND to_status = 'COMPLETED' AND before IS DISTINCT FROM 'PAYMENT_CAPTURED'
          THEN 'not a legal move: ' || COALESCE(from_status, 'the beginning') || ' → ' || to_status END,
        CASE WHEN claim_number < claim_before
          THEN 'the claim number falls from ' || claim_before || ' to ' || claim_number END), '') AS fault
      FROM (
        SELECT order_ledger_id, from_status, to_status, claim_number, lag(to_status) OVER walk AS was,
          lag(from_status) OVER walk AS before, lag(claim_number) OVER walk AS claim_before,
          lead(id) OVER walk IS NULL AS is_last
        FROM order_ledger_history WINDOW walk AS (PARTITION BY order_ledger_id ORDER BY id)
      ) steps
    ) moves GROUP BY order_ledger_id
  ) h ON h.order_ledger_id = l.id
) faults WHERE fault <> '';

CREATE VIEW audit_amounts AS
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
    CASE WHEN (status = 'VOIDED' OR voided_at IS NOT NULL)
        AND num_nonnulls(capture_id, captured_amount_cents, captured_at) > 0 THEN 'captured and voided' END
  ) AS fault
  FROM payment_authorizations a LEFT JOIN (SELECT authorization_id, sum(amount_cents) AS cents
    FROM payment_refunds GROUP BY authorization_id) r ON r.authorization_id = a.id
) faults WHERE fault <> '';

-- A saga requests its order once the entry is AUTHORIZED, and its reservation once it is ORDER_CREATED. The hold comes
-- first.
CREATE VIEW audit_tombstones_and_orphans AS
SELECT 'order ' || o.id AS subject, o.status || ', and no authorized entry asked for it' AS detail
FROM orders o LEFT JOIN order_ledger l ON l.id = o.order_ledger_id AND l.status <> 'AWAITING_AUTHORIZATION'
WHERE o.status <> 'CANCELLED' AND l.id IS NULL
UNION ALL
SELECT 'reservation of order ' || r.order_id,
  r.quantity || ' of product ' || r.product_id || ', and no entry has this order'
FROM inventory_reservations r LEFT JOIN order_ledger l ON l.order_id = r.order_id
WHERE r.released_at IS NULL AND l.id IS NULL
UNION ALL
SELECT 'payment ' || a.id, a.status || ', and no entry asked for it'
FROM payment_authorizations a LEFT JOIN audit_payments p ON p.id = a.id
WHERE p.id IS NULL AND (a.status = 'AUTHORIZED' OR COALESCE(a.captured_amount_cents, 0) <> a.refunded_amount_cents)
UNION ALL
SELECT 'reservation of order ' || COALESCE(r.order_id, o.order_id), COALESCE(o.status, 'not there') || ', and '
  || COALESCE(r.live, 0) || ' of its lines are live, ' || COALESCE(r.released, 0) || ' released'
FROM order_reservations o FULL JOIN (
  SELECT order_id, count(*) FILTER (WHERE released_at IS NULL) AS live, count(released_at) AS released
  FROM inventory_reservations GROUP BY order_id
) r ON r.order_id = o.order_id
WHERE CASE o.status WHEN 'RESERVED' THEN r.live > 0 AND r.released = 0 ELSE COALESCE(r.live, 0) = 0 END IS NOT TRUE
UNION ALL
SELECT 'order_ledger ' || l.id,
  'release_inventory is done, and the reservation is ' || COALESCE(r.status, 'not refused')
FROM order_ledger l LEFT JOIN order_reservations r ON r.order_id = l.order_id
WHERE 'release_inventory' = ANY (l.undone) AND r.status IS DISTINCT FROM 'RELEASED'
UNION ALL
SELECT 'order_ledger ' || l.id, 'cancel_order is done, and the order is ' || COALESCE(o.status, 'not refused')
FROM order_ledger l LEFT JOIN orders o ON o.id = l.order_id
WHERE 'cancel_order' = ANY (l.undone) AND o.status IS DISTINCT FROM 'CANCELLED'
UNION ALL
SELECT 'order_ledger ' || order_ledger_id, 'void_payment is done, and payment ' || id || ' is ' || status
FROM audit_payments WHERE 'void_payment' = ANY (undone) AND (status = 'AUTHORIZED' OR kept_cents <> 0)
UNION ALL
SELECT 'order_ledger ' || l.id, 'abandoned, and its authorization is ' || COALESCE(a.status, 'not refused')
FROM order_ledger l LEFT JOIN payment_authorizations a ON a.idempotency_key = 'authorize:' || l.id
WHERE l.status = 'AUTHORIZATION_FAILED' AND l.failure_code = 'abandoned'
  AND COALESCE(a.status NOT IN ('VOIDED', 'DECLINED'), true);

CREATE VIEW audit_violations (check_number, check_name, subject, detail) AS
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
) violations USING (check_number);

-- Orders without a violation that need attention. They are listed until they are done.
CREATE VIEW audit_attention AS
SELECT id AS order_ledger_id, status, needs_attention_at, attention_reason, retry_count, due_at
FROM order_ledger WHERE needs_attention_at IS NOT NULL;

CREATE VIEW audit_summary AS
SELECT count(*) AS orders, count(due_at) AS open_orders, count(needs_attention_at) AS needs_attention FROM order_ledger;
