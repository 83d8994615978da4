"""The functions and triggers of the ledger, in SQL. `models` adds them to the tables."""

# A key gets one final answer: an entry or a stored refusal, never both. Each of the two statements that give a key its
# answer calls the function that looks for the other kind. The lock makes the second of two transactions wait for the
# first to commit, and the query below it, unlike the calling statement, then sees what the first has written.
KEY_FUNCTIONS = """
CREATE FUNCTION order_key_is_refused(of_client text, key text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended(key, hashtextextended(of_client, 0)));
  RETURN EXISTS (SELECT FROM refused_requests r WHERE r.client = of_client AND r.client_request_id = key);
END $$;

CREATE FUNCTION order_key_has_entry(of_client text, key text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended(key, hashtextextended(of_client, 0)));
  RETURN EXISTS (SELECT FROM order_ledger l WHERE l.client = of_client AND l.client_request_id = key);
END $$;
"""

# The database itself writes the history and the events, and refuses a change that the state machine does not allow. The
# function has the owner's rights, because no role of a process may write either. It names the schema of what it uses,
# and looks for functions and operators in pg_catalog only, where nobody else can make any.
LEDGER_GUARD = """
CREATE FUNCTION order_ledger_guard() RETURNS trigger LANGUAGE plpgsql
  SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  is_legal boolean;
  last_id bigint;
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.status <> 'AWAITING_AUTHORIZATION' THEN
      RAISE EXCEPTION 'an order_ledger entry begins as AWAITING_AUTHORIZATION, not as %', NEW.status
        USING ERRCODE = 'check_violation', CONSTRAINT = 'order_ledger_legal_move';
    END IF;
    INSERT INTO public.order_ledger_history (order_ledger_id, id, at, from_status, to_status, detail, claim_number)
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
  SELECT id INTO last_id FROM public.order_ledger_history WHERE order_ledger_id = NEW.id ORDER BY id DESC LIMIT 1;
  INSERT INTO public.order_ledger_history (order_ledger_id, id, at, from_status, to_status, detail, claim_number)
    VALUES (NEW.id, COALESCE(last_id, 0) + 1, clock_timestamp(), OLD.status, NEW.status, NEW.status_detail,
      NEW.claim_number);
  IF NEW.status IN ('AUTHORIZED', 'AUTHORIZATION_FAILED', 'COMPLETED', 'FAILED') THEN
    PERFORM public.add_event(NEW, CASE
      WHEN NEW.status = 'AUTHORIZED' THEN 'order.authorized'
      WHEN NEW.status = 'COMPLETED' THEN 'order.completed'
      WHEN NEW.failure_code = 'cancelled' THEN 'order.cancelled'
      WHEN NEW.status = 'FAILED' THEN 'order.failed'
      ELSE 'order.authorization_failed' END, NULL);
  END IF;
  RETURN NULL;
END $$;

CREATE TRIGGER order_ledger_begins AFTER INSERT ON order_ledger
  FOR EACH ROW EXECUTE FUNCTION order_ledger_guard();

CREATE TRIGGER order_ledger_moves AFTER UPDATE ON order_ledger
  FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status OR OLD.undone IS DISTINCT FROM NEW.undone
    OR OLD.compensating_from IS DISTINCT FROM NEW.compensating_from OR NEW.claim_number < OLD.claim_number)
  EXECUTE FUNCTION order_ledger_guard();

REVOKE EXECUTE ON FUNCTION order_ledger_guard() FROM PUBLIC;
"""
