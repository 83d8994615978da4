-- The audit of webhook deliveries. The rest is in 0005_audit.sql, 0012_audit.sql, 0016_audit.sql, 0017_audit.sql and
-- 0019_audit.sql.

CREATE OR REPLACE VIEW audit_checks (check_number, check_name) AS VALUES
  (1, 'stock'), (2, 'completed'), (3, 'nothing_left'), (4, 'confirmed_unpaid'), (5, 'stuck'), (6, 'money'), (7, 'keys'),
  (8, 'outbox'), (9, 'history'), (10, 'amounts'), (11, 'tombstones_and_orphans'), (12, 'events'), (13, 'refunds'),
  (14, 'deliveries');

-- Each delivery tells one endpoint of one event of its client, as the event is. A test event is in no feed.
-- No rule says which events must have a delivery: an endpoint's event types can change, and nothing tells which types it
-- had when it came past an event.
CREATE OR REPLACE VIEW audit_deliveries AS
SELECT 'webhook_delivery ' || id AS subject, fault AS detail FROM (
  SELECT d.id, concat_ws('; ',
    CASE WHEN d.event_id IS NULL AND d.type <> 'webhook.test' THEN d.type || ', and of no event' END,
    CASE WHEN d.event_id IS NOT NULL AND e.id IS NULL
      THEN 'is of event ' || d.event_id || ', which does not exist' END,
    CASE WHEN d.message_id <> d.event_id THEN 'is sent as ' || d.message_id || ', and is of event ' || d.event_id END,
    CASE WHEN p.client IS DISTINCT FROM e.client AND e.id IS NOT NULL
      THEN 'is for client ' || COALESCE(p.client, 'NULL') || ', and its event of client ' || e.client END,
    CASE WHEN d.type <> e.type THEN 'is of type ' || d.type || ', and its event of type ' || e.type END,
    CASE WHEN d.order_ledger_id IS DISTINCT FROM e.order_ledger_id AND e.id IS NOT NULL
      THEN 'is of order_ledger ' || COALESCE(d.order_ledger_id::text, 'NULL') || ', and its event of order_ledger '
        || e.order_ledger_id END,
    CASE WHEN d.sequence IS DISTINCT FROM e.sequence AND e.id IS NOT NULL
      THEN 'has sequence ' || COALESCE(d.sequence::text, 'NULL') || ', and its event ' || e.sequence END
  ) AS fault
  FROM webhook_deliveries d
  LEFT JOIN webhook_endpoints p ON p.id = d.endpoint_id
  LEFT JOIN events e ON e.id = d.event_id
) faults WHERE fault <> ''
UNION ALL
SELECT 'webhook_endpoint ' || endpoint_id, count(*) || ' deliveries of event ' || event_id
FROM webhook_deliveries WHERE event_id IS NOT NULL GROUP BY endpoint_id, event_id HAVING count(*) > 1;

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
  UNION ALL SELECT 14, subject, detail FROM audit_deliveries
) violations USING (check_number);
