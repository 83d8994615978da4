"""A trigger in the database that records every claim an orchestrator makes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.shared_stack import SharedStack

WITNESS = """
CREATE SCHEMA witness;
CREATE TABLE witness.claims (
  number serial, order_ledger_id uuid, claim_number integer, claimed_by text,
  was_owned boolean,  -- whether another process still had a valid lease
  lease_s float,      -- how long from now it is claimed
  late_s float,       -- how long it had been due
  overtaken bigint,   -- how many entries visible to the claim had been due for longer and were not claimed
  claimed bigint      -- how many entries the claimant holds now
);
CREATE FUNCTION witness.see() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
  INSERT INTO witness.claims (order_ledger_id, claim_number, claimed_by, was_owned, lease_s, late_s, overtaken, claimed)
  SELECT NEW.id, NEW.claim_number, NEW.claimed_by, COALESCE(OLD.claimed_until > now(), false),
    extract(epoch FROM NEW.claimed_until - now()), extract(epoch FROM now() - OLD.due_at),
    (SELECT count(*) FROM order_ledger WHERE due_at < OLD.due_at
      AND pg_visible_in_snapshot(xmin::text::xid8, current_setting('witness.snapshot')::pg_snapshot)),
    (SELECT count(*) FROM order_ledger WHERE claimed_by = NEW.claimed_by);
  RETURN NULL;
END $$;
-- The WHEN condition runs within the claim and stores its snapshot; the function would also see later changes.
CREATE TRIGGER witness AFTER UPDATE ON order_ledger FOR EACH ROW
  WHEN (NEW.claimed_by NOT LIKE 'edge:%' AND (OLD.claimed_by, OLD.claim_number)
    IS DISTINCT FROM (NEW.claimed_by, NEW.claim_number)
    AND set_config('witness.snapshot', pg_current_snapshot()::text, true) <> '')
  EXECUTE FUNCTION witness.see();
"""


class Claims:
    """The recorded claims."""

    def __init__(self, stack: SharedStack) -> None:
        self._stack = stack

    def worst(self, expression: str) -> float:
        """Return the largest value of the expression over all claims: `worst("late_s")`."""
        ((value,),) = self._stack.sql(f"SELECT COALESCE(max({expression}), 0)::float FROM witness.claims")
        return float(value)

    def owners(self) -> set[str]:
        return {owner for (owner,) in self._stack.sql("SELECT DISTINCT claimed_by FROM witness.claims")}

    def with_two_owners(self) -> int:
        """Count the claim numbers that were given to two claimants."""
        return self._stack.count(
            "(SELECT FROM witness.claims GROUP BY order_ledger_id, claim_number HAVING count(*) > 1) AS twice"
        )

    def of_leased_orders(self) -> int:
        """Count the claims of orders whose owner still had a valid lease."""
        return self._stack.count("witness.claims WHERE was_owned")


@contextmanager
def watching_claims(stack: SharedStack) -> Iterator[Claims]:
    stack.sql(WITNESS)
    try:
        yield Claims(stack)
    finally:
        stack.sql("DROP SCHEMA witness CASCADE")
