"""Row 52: the database refuses to write one ledger entry. Required: that entry alone is set aside and marked with the
real error; the other orders complete, and no orchestrator dies.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from tests.audit.test_audit_command import run
from tests.faults.shared_stack import ORCHESTRATORS, SharedStack
from tests.waiting import eventually

OTHERS = 10
CAUSE = "the shipping plugin cannot read order"
REFUSE = f"RAISE EXCEPTION '{CAUSE} of a@b.example: %', NEW.id"
TRIGGER = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NEW; END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON order_ledger FOR EACH ROW WHEN (OLD.id = '{id}' AND {when})
  EXECUTE FUNCTION refuse();
"""
NO_TRIGGER = "DROP FUNCTION refuse CASCADE"
MARKED = "SELECT attention_reason FROM audit_attention WHERE order_ledger_id = %(id)s"

CONFLICT = f"RAISE EXCEPTION '{CAUSE}' USING ERRCODE = 'serialization_failure'"
NO_TABLE, NO_TABLE_CAUSE = "PERFORM FROM plugin_orders", 'relation "plugin_orders" does not exist'
CLAIM, FIRST_STEP, LAST_STEP = (
    "NEW.claim_number > OLD.claim_number",
    "NEW.status = 'ORDER_CREATED'",
    "NEW.status = 'COMPLETED'",
)
# What the trigger does, for which writes, and the error that the operator should see.
REFUSALS = {
    "every write": (REFUSE, "true", CAUSE),
    "claim": (REFUSE, CLAIM, CAUSE),
    "first step": (REFUSE, FIRST_STEP, CAUSE),
    "last step": (REFUSE, LAST_STEP, CAUSE),
    "every write, missing table": (NO_TABLE, "true", NO_TABLE_CAUSE),
    "first step, missing table": (NO_TABLE, FIRST_STEP, NO_TABLE_CAUSE),
    "every write, conflict": (CONFLICT, "true", CAUSE),
    "first step, conflict": (CONFLICT, FIRST_STEP, CAUSE),
}


@contextmanager
def refused(stack: SharedStack, id_: str, body: str, when: str) -> Iterator[None]:
    stack.sql(TRIGGER.format(id=id_, body=body, when=when))
    try:
        yield
    finally:
        stack.sql(NO_TRIGGER)


@pytest.mark.parametrize("refusal", REFUSALS)
def test_refused_entry_is_set_aside_and_the_others_complete(stack: SharedStack, refusal: str) -> None:
    stack.end(*ORCHESTRATORS)
    bad, *_ = stack.backlog(1 + OTHERS, [stack.product()])
    body, when, cause = REFUSALS[refusal]
    with refused(stack, bad, body, when):
        stack.start(*ORCHESTRATORS)
        processes = [stack.processes[name] for name in ORCHESTRATORS]
        eventually(lambda: stack.by_status().get("COMPLETED") == OTHERS)
        ((reason,),) = eventually(lambda: stack.sql(MARKED, id=bad))
        assert cause in reason
        assert "a@b.example" not in reason
        shown = requests.get(f"{stack.url('web')}/orders/{bad}", timeout=10).json()
        assert shown["needs_attention_at"]
        assert all(process.poll() is None for process in processes), "an orchestrator has died"
    eventually(lambda: run(stack.server.url, "attention", "retry", bad)[0] == 0)
    stack.settle()
    assert stack.by_status() == {"COMPLETED": 1 + OTHERS}
    assert stack.count("audit_attention") == 0


def test_refused_entry_does_not_stop_later_orders(stack: SharedStack) -> None:
    stack.end(*ORCHESTRATORS)
    product = stack.product()
    (bad,) = stack.backlog(1, [product])
    with refused(stack, bad, REFUSE, "true"):
        stack.start(*ORCHESTRATORS)
        eventually(lambda: stack.sql(MARKED, id=bad))
        for number in range(OTHERS):
            assert stack.post_order(f"later {number}", product).status_code == 202
        eventually(lambda: stack.by_status().get("COMPLETED") == OTHERS)
    assert run(stack.server.url, "attention", "retry", bad)[0] == 0
    stack.settle()


def test_abandoned_request_that_cannot_be_closed_is_set_aside(stack: SharedStack) -> None:
    """The sweeper claims it like any other entry."""
    stack.end(*ORCHESTRATORS, "payments_service")
    product = stack.product()
    assert stack.post_order("abandoned", product).json()["error"] == "gateway_error"
    ((bad,),) = stack.sql("UPDATE order_ledger SET due_at = now() RETURNING id::text")
    stack.start("payments_service")
    stack.backlog(OTHERS, [product])
    with refused(stack, bad, REFUSE, "true"):
        stack.start(*ORCHESTRATORS)
        eventually(lambda: stack.by_status().get("COMPLETED") == OTHERS)
        ((reason,),) = eventually(lambda: stack.sql(MARKED, id=bad))
        assert CAUSE in reason
    eventually(lambda: run(stack.server.url, "attention", "retry", bad)[0] == 0)
    stack.settle()
    assert stack.by_status() == {"COMPLETED": OTHERS, "AUTHORIZATION_FAILED": 1}
