"""Row 36: a poison event (bad JSON, unknown version, deleted ledger row). Required: set aside, marked; others flow.

The ledger is the authority. Nobody reads an event's text, so only a ledger entry can be poison.
"""

from __future__ import annotations

import psycopg2
import pytest

from tests.audit.test_audit_command import run
from tests.books import violations
from tests.faults.shared_stack import ORCHESTRATORS, SharedStack
from tests.waiting import eventually

OTHERS = 10
# Delete a row of the ledger but not its dependent rows, as an operator might with the constraints disabled.
LOSE = """
CREATE SCHEMA lost;
CREATE TABLE lost.entry AS SELECT * FROM order_ledger WHERE id = %(id)s;
SET session_replication_role = replica;
DELETE FROM order_ledger WHERE id = %(id)s;
"""
RESTORE = """
SET session_replication_role = replica;
INSERT INTO order_ledger SELECT * FROM lost.entry;
DROP SCHEMA lost CASCADE;
"""


def backlog(stack: SharedStack) -> tuple[str, list[str]]:
    """Insert one order to become the poison, and others; no orchestrator runs yet."""
    stack.end(*ORCHESTRATORS)
    poison, *others = stack.backlog(1 + OTHERS, [stack.product()])
    return poison, others


def others_complete(stack: SharedStack, poison: str) -> None:
    open_ = f"order_ledger WHERE status <> 'COMPLETED' AND id <> '{poison}'"
    eventually(lambda: stack.count(open_) == 0)


def test_malformed_events_do_no_harm(stack: SharedStack) -> None:
    """The database refuses malformed JSON, but accepts JSON that is not an event."""
    stack.end(*ORCHESTRATORS)
    payloads = ["null", "[]", '"{"', '{"version": 99}', '{"version": 1, "order_ledger_id": "unknown"}']
    ids = stack.backlog(len(payloads) + OTHERS, [stack.product()])
    with pytest.raises(psycopg2.errors.InvalidTextRepresentation):
        stack.sql("UPDATE outbox SET payload = '{'")
    for id_, payload in zip(ids, payloads, strict=False):
        stack.sql("UPDATE outbox SET payload = %(payload)s WHERE order_ledger_id = %(id)s", payload=payload, id=id_)
    stack.start(*ORCHESTRATORS)
    stack.settle()
    assert stack.by_status() == {"COMPLETED": len(payloads) + OTHERS}


def test_unreadable_entry_is_set_aside_and_marked(stack: SharedStack) -> None:
    poison, _ = backlog(stack)
    (lines,) = stack.sql(
        "DELETE FROM order_ledger_items WHERE order_ledger_id = %(id)s"
        " RETURNING position, product_id, quantity, unit_price_cents",
        id=poison,
    )
    stack.start(*ORCHESTRATORS, LEASE_S="0.3")
    others_complete(stack, poison)
    marked = "SELECT attention_reason FROM order_ledger WHERE needs_attention_at IS NOT NULL"
    assert eventually(lambda: stack.sql(marked)) == [("ValueError: the entry has no lines",)]
    assert stack.sql("SELECT due_at > now() + interval '1 minute' FROM order_ledger WHERE due_at IS NOT NULL") == [
        (True,)
    ]
    put_back = "INSERT INTO order_ledger_items VALUES (%(id)s, %(a)s, %(b)s, %(c)s, %(d)s)"
    stack.sql(put_back, id=poison, **dict(zip("abcd", lines, strict=True)))
    # Retried: the command refuses while the lease of the last claim is valid.
    eventually(lambda: run(stack.server.url, "attention", "retry", poison)[0] == 0)
    stack.settle()
    assert stack.by_status() == {"COMPLETED": 1 + OTHERS}


def test_event_without_entry_is_audited_and_others_flow(stack: SharedStack) -> None:
    poison, _ = backlog(stack)
    stack.sql(LOSE, id=poison)
    stack.start(*ORCHESTRATORS)
    others_complete(stack, poison)
    assert violations(stack.server.url), "its hold and its event have no ledger entry"
    stack.sql(RESTORE)
    stack.settle()
    assert stack.by_status() == {"COMPLETED": 1 + OTHERS}
