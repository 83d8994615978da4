-- The same as in edge_api/refund_models.py, where it is explained.

CREATE OR REPLACE FUNCTION refund_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  entry order_ledger;
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.status <> 'REQUESTED' THEN
      RAISE EXCEPTION 'a refund begins as REQUESTED, not as %', NEW.status
        USING ERRCODE = 'check_violation', CONSTRAINT = 'refunds_legal_move';
    END IF;
    UPDATE order_ledger SET refund_reserved_cents = refund_reserved_cents + NEW.amount_cents
      WHERE id = NEW.order_ledger_id AND status = 'COMPLETED' RETURNING * INTO entry;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'order_ledger % is not COMPLETED, so nothing can be refunded', NEW.order_ledger_id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'refunds_of_completed';
    END IF;
    IF NEW.note IS NOT NULL AND entry.email = 'erased@erased.invalid' THEN
      INSERT INTO pending_erasures (order_ledger_id) VALUES (entry.id) ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
  END IF;
  IF NOT (CASE OLD.status
      WHEN 'REQUESTED' THEN NEW.status IN ('PAYMENT_REFUNDED', 'FAILED')
      WHEN 'PAYMENT_REFUNDED' THEN NEW.status = 'RESTOCKED' AND NEW.restock
        OR NEW.status = 'SUCCEEDED' AND NOT NEW.restock OR NEW.status = 'PAYMENT_REFUNDED'
      WHEN 'RESTOCKED' THEN NEW.status = 'SUCCEEDED'
      WHEN 'SUCCEEDED' THEN NEW.status = 'FAILED' AND NEW.failure_code = 'refund_failed_later'
        AND (NEW.restocked, NEW.not_restocked) = (OLD.restocked, OLD.not_restocked)
      ELSE false END)
      OR NEW.claim_number < OLD.claim_number OR NOT NEW.restocked @> OLD.restocked
      OR NOT NEW.not_restocked @> OLD.not_restocked
      OR (NEW.order_ledger_id, NEW.amount_cents, NEW.restock) <> (OLD.order_ledger_id, OLD.amount_cents, OLD.restock)
      THEN
    RAISE EXCEPTION 'refund %: % (claim %) may not become % (claim %)',
      OLD.id, OLD.status, OLD.claim_number, NEW.status, NEW.claim_number
      USING ERRCODE = 'check_violation', CONSTRAINT = 'refunds_legal_move';
  END IF;
  IF NEW.status = 'SUCCEEDED' THEN
    UPDATE order_ledger SET refunded_cents = refunded_cents + NEW.amount_cents, updated_at = now()
      WHERE id = NEW.order_ledger_id RETURNING * INTO entry;
    PERFORM add_event(entry, 'refund.succeeded', NEW.id);
  ELSIF NEW.status = 'FAILED' THEN
    UPDATE order_ledger SET refund_reserved_cents = refund_reserved_cents - NEW.amount_cents,
      refunded_cents = refunded_cents - CASE OLD.status WHEN 'SUCCEEDED' THEN NEW.amount_cents ELSE 0 END,
      updated_at = CASE OLD.status WHEN 'SUCCEEDED' THEN now() ELSE updated_at END
      WHERE id = NEW.order_ledger_id RETURNING * INTO entry;
    UPDATE order_ledger_items AS line SET refunded_quantity = refunded_quantity - item.quantity
      FROM refund_items AS item WHERE item.refund_id = NEW.id AND line.order_ledger_id = NEW.order_ledger_id
      AND line.product_id = item.product_id AND item.product_id <> ALL (NEW.restocked || NEW.not_restocked);
    PERFORM add_event(entry, 'refund.failed', NEW.id);
  END IF;
  RETURN NULL;
END $$;
