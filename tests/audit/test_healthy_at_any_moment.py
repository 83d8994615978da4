"""Orders with every possible course; the audit runs before and after each commit."""

from __future__ import annotations

from collections import Counter

import pytest

from domain.states import LEGAL_MOVES, Status
from tests.audit.small_world import STATES, SmallWorld

FIVE_TIMES = 5


class Auditor:
    """Runs the audit when called. `seen` counts the states of the orders at those moments."""

    def __init__(self, world: SmallWorld) -> None:
        self._world = world
        self.seen: Counter[tuple[str, ...]] = Counter()

    def __call__(self) -> None:
        assert self._world.audit() == []
        self.seen.update(self._world.sql(STATES))

    def saw(self, status: str, order: str | None, reservation: str | None, payment: str | None) -> bool:
        return (status, order, reservation, payment) in self.seen


@pytest.fixture
def auditor(world: SmallWorld) -> Auditor:
    world.look = Auditor(world)
    return world.look


def statuses(world: SmallWorld) -> list[str]:
    return [status for (status,) in world.sql("SELECT status FROM order_ledger")]


def test_audit_and_ledger_have_the_same_legal_moves(world: SmallWorld) -> None:
    moves = {(was, to) for was, targets in LEGAL_MOVES.items() for to in targets}
    rows = world.sql("SELECT from_status, to_status FROM audit_legal_moves")
    assert len(rows) == len(set(rows))
    assert set(rows) == moves | {(None, Status.AWAITING_AUTHORIZATION)}


def test_an_order_that_succeeds(world: SmallWorld, auditor: Auditor) -> None:
    assert world.order(world.product(), world.product()).status_code == 202
    world.work()
    assert statuses(world) == ["COMPLETED"]
    walk = [
        ("AWAITING_AUTHORIZATION", None, None, None),
        ("AWAITING_AUTHORIZATION", None, None, "AUTHORIZED"),
        ("AUTHORIZED", None, None, "AUTHORIZED"),
        ("AUTHORIZED", "CREATED", None, "AUTHORIZED"),
        ("ORDER_CREATED", "CREATED", None, "AUTHORIZED"),
        ("ORDER_CREATED", "CREATED", "RESERVED", "AUTHORIZED"),
        ("INVENTORY_RESERVED", "CREATED", "RESERVED", "AUTHORIZED"),
        ("INVENTORY_RESERVED", "CREATED", "RESERVED", "CAPTURED"),
        ("PAYMENT_CAPTURED", "CREATED", "RESERVED", "CAPTURED"),
        ("PAYMENT_CAPTURED", "CONFIRMED", "RESERVED", "CAPTURED"),
        ("COMPLETED", "CONFIRMED", "RESERVED", "CAPTURED"),
    ]
    assert [place for place in walk if not auditor.saw(*place)] == [], "the audit did not run in every state"


def test_an_order_that_is_declined(world: SmallWorld, auditor: Auditor) -> None:
    assert world.order(world.product(), token="decline_expired").status_code == 402
    assert auditor.saw("AWAITING_AUTHORIZATION", None, None, "DECLINED")
    auditor()
    assert statuses(world) == ["AUTHORIZATION_FAILED"]


def test_a_request_that_never_becomes_an_entry(world: SmallWorld, auditor: Auditor) -> None:
    assert world.order("7b9d2c2e-1111-4222-8333-123456789abc").status_code == 422
    auditor()


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_an_authorization_whose_client_never_returns(world: SmallWorld, auditor: Auditor, lost: str) -> None:
    """It is closed with a tombstone or a void; a lost request arrives afterwards."""
    world.faults = {"authorize": [lost], "abandon": ["answer", "request"]}
    assert world.order(world.product()).status_code == 503
    world.work()
    assert statuses(world) == ["AUTHORIZATION_FAILED"]
    assert auditor.saw("AWAITING_AUTHORIZATION", None, None, "VOIDED")
    world.arrive_late()
    assert world.sql("SELECT status FROM payment_authorizations") == [("VOIDED",)]


def test_an_authorization_that_is_repeated(world: SmallWorld, auditor: Auditor) -> None:
    world.faults = {"authorize": ["answer"]}
    product = world.product()
    assert [world.order(product, key="k").status_code for _ in range(3)] == [503, 202, 202]
    world.work()
    assert statuses(world) == ["COMPLETED"]


def test_an_order_without_stock(world: SmallWorld, auditor: Auditor) -> None:
    world.order(world.product(stock=1))
    world.work()
    assert statuses(world) == ["FAILED"]
    assert auditor.saw("COMPENSATING", "CREATED", None, "VOIDED")
    assert auditor.saw("COMPENSATING", "CANCELLED", "RELEASED", "VOIDED")


def test_an_order_whose_capture_is_refused(world: SmallWorld, auditor: Auditor) -> None:
    world.order(world.product(), token="fail_capture")
    world.work()
    assert statuses(world) == ["FAILED"]
    assert auditor.saw("COMPENSATING", "CREATED", "RESERVED", "VOIDED")


@pytest.mark.parametrize(
    ("call", "ends", "passes"),
    [
        ("create", "FAILED", ("COMPENSATING", "CREATED", None, "VOIDED")),
        ("reserve", "FAILED", ("COMPENSATING", "CREATED", "RESERVED", "VOIDED")),
        ("capture", "FAILED", ("COMPENSATING", "CREATED", "RESERVED", "REFUNDED")),
        ("confirm", "COMPLETED", ("COMPENSATING", "CONFIRMED", "RESERVED", "CAPTURED")),
    ],
)
def test_a_step_whose_answers_are_lost(
    world: SmallWorld, auditor: Auditor, call: str, ends: str, passes: tuple[str, ...]
) -> None:
    world.faults = {call: ["answer"] * FIVE_TIMES}
    world.order(world.product())
    world.work()
    assert statuses(world) == [ends]
    assert auditor.saw(*passes)


@pytest.mark.parametrize("call", ["create", "reserve", "capture", "confirm"])
def test_a_step_that_arrives_after_its_undo(world: SmallWorld, auditor: Auditor, call: str) -> None:
    world.faults = {call: ["request"] * FIVE_TIMES}
    world.order(world.product())
    world.work()
    assert statuses(world) == ["FAILED"]
    assert len(set(world.arrive_late())) == 1
    assert statuses(world) == ["FAILED"]


@pytest.mark.parametrize("undo", ["void", "refund", "release", "cancel"])
@pytest.mark.parametrize("lost", ["request", "answer"])
def test_an_undo_that_needs_attention(world: SmallWorld, auditor: Auditor, undo: str, lost: str) -> None:
    world.faults = {undo: [lost] * (FIVE_TIMES + 1), "capture": ["answer"] * FIVE_TIMES}
    world.order(world.product())
    world.work()
    assert statuses(world) == ["FAILED"]
    world.arrive_late()


def test_an_order_that_is_refunded_in_part_while_it_is_undone(world: SmallWorld, auditor: Auditor) -> None:
    """An operator refunds a part; the saga refunds the rest."""
    world.faults = {"capture": ["answer"] * FIVE_TIMES}

    def refund() -> None:
        ((payment,),) = world.sql("SELECT id FROM payment_authorizations")
        assert world.call(8300, f"/payments/refund/{payment}", idempotency_key="by hand", amount_cents=100) == 200

    world.before = {"void": refund}
    world.order(world.product())
    world.work()
    assert statuses(world) == ["FAILED"]
    assert world.sql("SELECT amount_cents FROM payment_refunds ORDER BY 1") == [(100,), (2400,)]


@pytest.mark.parametrize("action", ["create_order", "reserve_inventory", "capture_payment", "confirm_order"])
def test_a_worker_that_dies_before_saving_a_step(world: SmallWorld, auditor: Auditor, action: str) -> None:
    world.crashes_at = {action}
    world.order(world.product())
    world.work()
    assert statuses(world) == ["COMPLETED"]
    assert world.crashes_at == set()


@pytest.mark.parametrize("action", ["void_payment", "release_inventory", "cancel_order"])
def test_a_worker_that_dies_before_saving_an_undo(world: SmallWorld, auditor: Auditor, action: str) -> None:
    world.crashes_at = {action}
    world.order(world.product(), token="fail_capture")
    world.work()
    assert statuses(world) == ["FAILED"]
    assert world.crashes_at == set()


@pytest.mark.parametrize("call", ["create", "reserve", "capture", "confirm", "void", "release", "cancel"])
def test_a_worker_that_wakes_after_a_takeover(world: SmallWorld, auditor: Auditor, call: str) -> None:
    """Its lease expires while its call is in flight; the call arrives after everything else."""

    def take_over() -> None:
        world.sql("UPDATE order_ledger SET due_at = now(), claimed_until = now()")
        world.run_once(claimant="another")
        assert statuses(world)[0] in ("COMPLETED", "FAILED")

    is_undo = call in ("void", "release", "cancel")
    world.before = {call: take_over}
    world.order(world.product(), token="fail_capture" if is_undo else "tok_visa")
    world.run_once()
    assert world.before == {}
    assert statuses(world) == ["FAILED" if is_undo else "COMPLETED"]


def test_stock_that_comes_and_goes(world: SmallWorld, auditor: Auditor) -> None:
    product = world.product(stock=0)
    auditor()
    for key, quantity in (("a", 5), ("b", -2)):
        change = {"quantity": quantity, "reason": "correction"}
        headers = {"Idempotency-Key": key}
        world.apps[8200].test_client().post(f"/inventory/products/{product}/stock", json=change, headers=headers)
        auditor()
    assert world.sql("SELECT stock_quantity FROM products") == [(3,)]
