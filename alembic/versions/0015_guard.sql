-- Writes the history and the events of the ledger, and refuses a change that the state machine does not allow.
CREATE OR REPLACE FUNCTION order_ledger_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  is_legal boolean;
  last_id bigint;
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.status <> 'AWAITING_AUTHORIZATION' THEN
      RAISE EXCEPTION 'an order_ledger entry begins as AWAITING_AUTHORIZATION, not as %', NEW.status
        USING ERRCODE = 'check_violation', CONSTRAINT = 'order_ledger_legal_move';
    END IF;
    INSERT INTO order_ledger_history (order_ledger_id, id, at, from_status, to_status, detail, claim_number)
      VALUES (NEW.id, 1, clock_timestamp(), NULL, NEW.status, NEW.status_detail, NEW.claim_number);
    RETURN NULL;
  END IF;
  is_legal := CASE OLD.status
    WHEN 'AWAITING_AUTHORIZATION' THEN NEW.status IN ('AUTHORIZED', 'AUTHORIZATION_FAILED')
    WHEN 'AUTHORIZED' THEN NEW.status IN ('ORDER_CREATED', 'COMPENSATING')
    WHEN 'ORDER_CREATED' THEN NEW.status IN ('INVENTORY_RESERVED', 'COMPENSATING')
    WHEN 'INVENTORY_RESERVED' THEN NEW.status IN ('PAYMENT_CAPTURED', 'COMPENSATING')
    WHEN 'PAYMENT_CAPTURED' THEN NEW.status IN ('COMPLETED', 'COMPENSATING')
    WHEN 'COMPENSATING' THEN NEW.status IN ('COMPENSATING', 'FAILED')
      OR NEW.status = 'COMPLETED' AND OLD.compensating_from = 'PAYMENT_CAPTURED' AND OLD.undone = '{}'
    ELSE false END;
  IF NOT is_legal OR NEW.claim_number < OLD.claim_number OR NOT NEW.undone @> OLD.undone
      OR NEW.compensating_from IS DISTINCT FROM
        COALESCE(OLD.compensating_from, CASE WHEN NEW.status = 'COMPENSATING' THEN OLD.status END) THEN
    RAISE EXCEPTION 'order_ledger %: % (claim %) may not become % (claim %)',
      OLD.id, OLD.status, OLD.claim_number, NEW.status, NEW.claim_number
      USING ERRCODE = 'check_violation', CONSTRAINT = 'order_ledger_legal_move';
  END IF;
  SELECT id INTO last_id FROM order_ledger_history WHERE order_ledger_id = NEW.id ORDER BY id DESC LIMIT 1;
  INSERT INTO order_ledger_history (order_ledger_id, id, at, from_status, to_status, detail, claim_number)
    VALUES (NEW.id, COALESCE(last_id, 0) + 1, clock_timestamp(), OLD.status, NEW.status, NEW.status_detail,
      NEW.claim_number);
  IF NEW.status IN ('AUTHORIZED', 'AUTHORIZATION_FAILED', 'COMPLETED', 'FAILED') THEN
    PERFORM add_event(NEW, CASE
      WHEN NEW.status = 'AUTHORIZED' THEN 'order.authorized'
      WHEN NEW.status = 'COMPLETED' THEN 'order.completed'
      WHEN NEW.failure_code = 'cancelled' THEN 'order.cancelled'
      WHEN NEW.status = 'FAILED' THEN 'order.failed'
      ELSE 'order.authorization_failed' END, NULL);
  END IF;
  RETURN NULL;
END $$;
