-- The views of the audit that know about rows deleted by `python -m ops retain`. The rest are in 0005_audit.sql.

CREATE OR REPLACE VIEW audit_stock AS
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
  FULL JOIN (SELECT product_id AS id, sum(quantity) AS reserved FROM (
    SELECT product_id, quantity FROM inventory_reservations WHERE released_at IS NULL
    UNION ALL SELECT product_id, quantity FROM deleted_reservations) sold GROUP BY product_id) r USING (id)
) faults WHERE fault <> '';

CREATE OR REPLACE VIEW audit_outbox AS
SELECT 'order_ledger ' || id AS subject, fault AS detail FROM (
  SELECT COALESCE(l.id, e.order_ledger_id) AS id, concat_ws('; ',
    CASE WHEN l.id IS NULL THEN 'has an event, and does not exist' END,
    CASE WHEN l.status NOT IN ('AWAITING_AUTHORIZATION', 'AUTHORIZATION_FAILED') AND e.events IS DISTINCT FROM 1
        AND (e.events IS NOT NULL OR l.event_deleted_at IS NULL)
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

CREATE OR REPLACE VIEW audit_history AS
SELECT 'order_ledger ' || id AS subject, fault AS detail FROM (
  SELECT COALESCE(l.id, h.order_ledger_id) AS id, concat_ws('; ',
    CASE WHEN l.id IS NULL THEN 'has a history, and does not exist' END,
    CASE WHEN h.order_ledger_id IS NULL AND l.history_deleted_at IS NULL THEN 'has no history' END,
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
