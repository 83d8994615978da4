"""The protocol as it is keeps every rule in every state of every scenario."""

from __future__ import annotations

import pytest

from common.database.database import Database
from domain.states import Status
from orchestrator.definitions import SALE
from tests.model.rules import OF_THE_AUDIT
from tests.model.scenarios import SCENARIOS, check
from tests.model.state import is_end
from tests.model.story import tell

ENDS = {
    "a sale": {Status.COMPLETED, Status.FAILED, Status.AUTHORIZATION_FAILED},
    "nothing in stock": {Status.FAILED, Status.AUTHORIZATION_FAILED},
    "a declined card": {Status.AUTHORIZATION_FAILED},
    "a refused capture": {Status.FAILED, Status.AUTHORIZATION_FAILED},
    "two orders for one piece": {Status.COMPLETED, Status.FAILED, Status.AUTHORIZATION_FAILED},
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_rule_holds_in_every_state(name: str) -> None:
    seen = check(SCENARIOS[name])
    assert seen.violation is None, f"\n{tell(seen.violation)}"
    ends = {entry.status for world in seen.states if is_end(world) for entry in world.entries if entry}
    assert ends == ENDS[name], "the scenario does not reach what it is for"


def test_two_faults_lead_to_every_compensation() -> None:
    """Otherwise the rules would hold because nothing happens."""
    seen = check(SCENARIOS["a sale"]._replace(faults=2))
    entries = {entry for world in seen.states for entry in world.entries if entry}
    payments = {payment.status for world in seen.states for payment in world.books.payments}
    turned_back = {Status(entry.compensating_from) for entry in entries if entry.compensating_from}
    assert turned_back == {step.at for step in SALE}
    assert any(entry.compensating_from and entry.status == Status.COMPLETED for entry in entries), "none goes forward"
    assert payments == {"AUTHORIZED", "CAPTURED", "VOIDED", "REFUNDED"}
    assert {order.sent == "" for world in seen.states for order in world.books.orders} == {True, False}
    assert {row.sent == "" for world in seen.states for row in world.books.reservations} == {True, False}


def test_the_rules_are_those_of_the_audit(url: str) -> None:
    database = Database(url, name="test", size=1)
    checks = {(row["check_number"], row["check_name"]) for row in database.all("SELECT * FROM audit_checks")}
    database.close()
    elsewhere = {(1, "stock"), (5, "stuck"), (9, "history")}  # of all orders, of all states, of a step
    not_modelled = {(12, "events"), (13, "refunds")}
    assert checks == {*OF_THE_AUDIT, *elsewhere, *not_modelled}
