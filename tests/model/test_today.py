"""The protocol as it is keeps every rule in every state of every scenario."""

from __future__ import annotations

from typing import Any

import pytest

from common.database.database import Database
from domain.refunds import RefundStatus
from domain.states import Status
from orchestrator.definitions import SALE
from tests.model.rules import OF_THE_AUDIT
from tests.model.scenarios import SCENARIOS, check
from tests.model.state import is_end
from tests.model.story import tell

SALE_ENDS = {Status.COMPLETED, Status.FAILED, Status.AUTHORIZATION_FAILED}
ENDS: dict[str, set[Any]] = {
    "a sale": SALE_ENDS,
    "nothing in stock": {Status.FAILED, Status.AUTHORIZATION_FAILED},
    "a declined card": {Status.AUTHORIZATION_FAILED},
    "a refused capture": {Status.FAILED, Status.AUTHORIZATION_FAILED},
    "two orders for the last pieces": SALE_ENDS,
    "a cancel": SALE_ENDS,
    "two cancels, two requests": SALE_ENDS,
    "a cancel, and nothing in stock": {Status.FAILED, Status.AUTHORIZATION_FAILED},
    "a cancel, and a declined card": {Status.AUTHORIZATION_FAILED},
    "a cancel or a refund": {Status.COMPLETED, Status.FAILED, RefundStatus.SUCCEEDED},
    "a cancel, and the refund is pending": {Status.COMPLETED, Status.FAILED},
    "a refund": {Status.COMPLETED, RefundStatus.SUCCEEDED},
    "two refunds at once": {Status.COMPLETED, RefundStatus.SUCCEEDED},
    "two refunds of a piece": {Status.COMPLETED, RefundStatus.SUCCEEDED},
    "a refused refund": {Status.COMPLETED, RefundStatus.FAILED},
    "a pending refund": {Status.COMPLETED, RefundStatus.SUCCEEDED},
    "a product that is gone": {Status.COMPLETED, RefundStatus.SUCCEEDED},
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_rule_holds_in_every_state(name: str) -> None:
    seen = check(SCENARIOS[name])
    assert seen.violation is None, f"\n{tell(seen.violation)}"
    ends = {row.status for world in seen.states if is_end(world) for row in (*world.entries, *world.refunds) if row}
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


def test_a_cancel_wins_or_comes_too_late() -> None:
    seen = check(SCENARIOS["a cancel or a refund"]._replace(faults=1))
    ends = {
        (entry.status, client.told_of_cancel, client.cancelled_at)
        for world in seen.states
        if is_end(world)
        for client, entry in zip(world.clients, world.entries, strict=True)
        if entry
    }
    assert (Status.FAILED, (202,), Status.PAYMENT_CAPTURED) in ends
    assert (Status.COMPLETED, (202,), Status.PAYMENT_CAPTURED) in ends, "the confirm was on its way"
    assert (Status.COMPLETED, (409,), "") in ends
    assert (Status.FAILED, (202, 409), Status.PAYMENT_CAPTURED) in ends
    assert (Status.FAILED, (), Status.PAYMENT_CAPTURED) in ends, "the answer was lost"


def test_two_refunds_share_what_is_left() -> None:
    seen = check(SCENARIOS["two refunds at once"]._replace(faults=0))
    accepted = {tuple(refund is not None for refund in world.refunds) for world in seen.states}
    told = {tuple(wanted.told for wanted in world.wanted) for world in seen.states}
    assert (True, True) in accepted, "some, and then all that is left"
    assert (409, 202) in told, "all, and nothing is left"


def test_the_rules_are_those_of_the_audit(url: str) -> None:
    database = Database(url, name="test", size=1)
    checks = {(row["check_number"], row["check_name"]) for row in database.all("SELECT * FROM audit_checks")}
    database.close()
    elsewhere = {(1, "stock"), (5, "stuck"), (9, "history"), (14, "deliveries")}
    # of all orders, of all states, of a step, of what no order waits for
    assert checks == {*OF_THE_AUDIT, *elsewhere}
