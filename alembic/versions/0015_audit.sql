-- The audit of events. The rest is in 0005_audit.sql and 0012_audit.sql.

CREATE OR REPLACE VIEW audit_checks (check_number, check_name) AS VALUES
  (1, 'stock'), (2, 'completed'), (3, 'nothing_left'), (4, 'confirmed_unpaid'), (5, 'stuck'), (6, 'money'), (7, 'keys'),
  (8, 'outbox'), (9, 'history'), (10, 'amounts'), (11, 'tombstones_and_orphans'), (12, 'events');

-- What may follow what, and with which status of the order.
CREATE OR REPLACE VIEW audit_legal_events (before, type, status) AS VALUES
  ('the beginning', 'order.authorized', 'AUTHORIZED'),
  ('the beginning', 'order.authorization_failed', 'AUTHORIZATION_FAILED'),
  ('the beginning', 'order.cancelled', 'AUTHORIZATION_FAILED'),
  ('order.authorized', 'order.completed', 'COMPLETED'),
  ('order.authorized', 'order.failed', 'FAILED'), ('order.authorized', 'order.cancelled', 'FAILED'),
  ('order.completed', 'refund.succeeded', 'COMPLETED'), ('order.completed', 'refund.failed', 'COMPLETED'),
  ('refund.succeeded', 'refund.succeeded', 'COMPLETED'), ('refund.succeeded', 'refund.failed', 'COMPLETED'),
  ('refund.failed', 'refund.succeeded', 'COMPLETED'), ('refund.failed', 'refund.failed', 'COMPLETED');

-- An order's events are deleted from the first one on. Those of an order that began before there were events may begin
-- anywhere.
CREATE OR REPLACE VIEW audit_events AS
SELECT 'order_ledger ' || id AS subject, fault AS detail FROM (
  SELECT COALESCE(l.id, e.order_ledger_id) AS id, concat_ws('; ',
    CASE WHEN l.id IS NULL THEN 'has events, and does not exist' END,
    e.faults,
    CASE WHEN e.first_client <> l.client OR e.last_client <> l.client
      THEN 'is of client ' || l.client || ', and an event is not' END,
    CASE WHEN l.status <> 'AWAITING_AUTHORIZATION' AND e.events IS NULL AND l.has_events
        AND (l.created_at <= d.at) IS NOT TRUE
      THEN l.status || ', with no events' END,
    CASE WHEN e.first > 1 AND (l.created_at <= d.at) IS NOT TRUE
      THEN l.status || ', and its first event is ' || e.first END,
    CASE WHEN e.first = 1 AND l.has_events AND NOT e.begins THEN 'begins with ' || e.first_type END,
    CASE WHEN e.first = 1 AND l.status = 'AWAITING_AUTHORIZATION' THEN l.status || ', with events' END,
    CASE WHEN e.ended <> l.must_end THEN l.status || ', and its last event is ' || e.ended || ' instead of '
      || l.must_end END,
    CASE WHEN l.must_end <> '' AND e.ended IS NULL AND e.first = 1 AND l.has_events
      THEN l.status || ', without ' || l.must_end END
  ) AS fault
  FROM (
    SELECT id, client, status, has_events, created_at, CASE
      WHEN status = 'COMPLETED' THEN 'order.completed'
      WHEN status NOT IN ('FAILED', 'AUTHORIZATION_FAILED') THEN ''
      WHEN failure_code = 'cancelled' THEN 'order.cancelled'
      WHEN status = 'FAILED' THEN 'order.failed' ELSE 'order.authorization_failed' END AS must_end
    FROM order_ledger
  ) l
  LEFT JOIN (SELECT client, max(at) AS at FROM deleted_events GROUP BY client) d ON d.client = l.client
  FULL JOIN (
    SELECT order_ledger_id, NULLIF(string_agg(fault, '; '), '') AS faults, count(*) AS events, min(sequence) AS first,
      min(client) AS first_client, max(client) AS last_client,
      min(type) FILTER (WHERE before IS NULL) AS first_type,
      bool_or(before IS NULL AND type IN ('order.authorized', 'order.authorization_failed', 'order.cancelled'))
        AS begins,
      min(type) FILTER (WHERE type NOT IN ('order.authorized', 'refund.succeeded', 'refund.failed')) AS ended
    FROM (
      SELECT order_ledger_id, client, sequence, type, before, NULLIF(concat_ws('; ',
        CASE WHEN sequence <> number_before + 1
          THEN 'a gap between event ' || number_before || ' and event ' || sequence END,
        CASE WHEN before IS NOT NULL
            AND (before, type, status) NOT IN (SELECT before, type, status FROM audit_legal_events)
          OR (type, status) NOT IN (SELECT type, status FROM audit_legal_events)
          THEN type || ' with status ' || status || ' after ' || COALESCE(before, 'the beginning') END,
        CASE WHEN (xid, position) <= (xid_before, position_before)
          THEN 'event ' || sequence || ' comes before event ' || number_before || ' in the feed' END), '') AS fault
      FROM (
        SELECT order_ledger_id, client, sequence, type, status, xid, position, lag(type) OVER walk AS before,
          lag(sequence) OVER walk AS number_before, lag(xid) OVER walk AS xid_before,
          lag(position) OVER walk AS position_before
        FROM events WINDOW walk AS (PARTITION BY order_ledger_id ORDER BY sequence)
      ) steps
    ) walks GROUP BY order_ledger_id
  ) e ON e.order_ledger_id = l.id
) faults WHERE fault <> '';

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
) violations USING (check_number);
