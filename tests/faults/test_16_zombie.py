"""Row 16: a stopped orchestrator (a zombie) wakes after a takeover, before and after each call.

Required: its writes change no row, and its late calls are refused.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import pytest

from domain.ids import order_id_for
from tests.faults.network_faults import Delay, DelayAnswer, DropRequest
from tests.faults.proxied import PATIENCE_S, ProxiedSystem
from tests.faults.proxy import Call
from tests.waiting import eventually

STEPS = ("create_order", "reserve", "capture", "confirm_order")
UNDOS = ("void", "release", "cancel_order")
TAKER = "orchestrator.3"


class Log:
    """The lines that an orchestrator logs from now on."""

    def __init__(self, proxied: ProxiedSystem, name: str) -> None:
        self._read = lambda: proxied.stack.log(name)
        self._begins_at = len(self._read())

    @property
    def lost(self) -> set[str]:
        """The orders that it found to be claimed by another process."""
        whole_lines = self._read()[self._begins_at :].split("\n")[:-1]
        lines = [json.loads(line) for line in whole_lines]
        return {line["order_ledger_id"] for line in lines if "another process has claimed it" in line["message"]}


class Zombie:
    """An orchestrator that hangs in calls, is stopped with its orders in flight, and wakes too late."""

    def __init__(self, proxied: ProxiedSystem, name: str) -> None:
        self._proxied, self._log = proxied, Log(proxied, name)
        self.process = proxied.stack.processes[name]
        self._delays: list[Delay] = []
        self._in_flight: dict[str, str] = {}

    def gets_stuck(self, operation: str, delay: Delay, **order: str) -> str:
        """Place an order and wait until this call of it hangs. :returns: the order's ledger id"""
        self._proxied.proxy.on(operation, nth=1, do=delay)
        id_ = self._proxied.order(**order)
        delay.wait()
        self._delays.append(delay)
        self._in_flight[id_] = operation
        return id_

    def is_overtaken(self) -> None:
        """Stop it, end its leases, and let another orchestrator finish all of its orders."""
        self.process.send_signal(signal.SIGSTOP)
        self._proxied.end_leases()
        self._proxied.stack.start(TAKER)
        eventually(lambda: self._proxied.open_orders() == 0, PATIENCE_S)

    def late_calls(self) -> list[Call]:
        """Release the held calls and return them once they are finished."""
        for delay in self._delays:
            delay.release()
        calls = [
            self._proxied.proxy.calls(operation, about=about(operation, id_))[0]
            for id_, operation in self._in_flight.items()
        ]
        eventually(lambda: all(call.ended_at for call in calls))
        return calls

    def wakes(self) -> None:
        """Resume it, and wait until it notices that another process claimed each of its orders."""
        self.process.send_signal(signal.SIGCONT)
        eventually(lambda: self._log.lost == set(self._in_flight))


def about(operation: str, order_ledger_id: str) -> str:
    """Return the id that a call for an order carries."""
    by_order_id = operation in ("reserve", "release", "confirm_order", "cancel_order")
    return order_id_for(order_ledger_id) if by_order_id else order_ledger_id


@pytest.fixture
def zombie(proxied: ProxiedSystem) -> Iterator[Zombie]:
    """The lease is too long to end by itself while the test prepares the orders."""
    with proxied.other("orchestrator", LEASE_S="600") as name:
        yield (zombie := Zombie(proxied, name))
        zombie.process.send_signal(signal.SIGCONT)  # in case the test failed before it
        proxied.stack.stop(TAKER)


def books(proxied: ProxiedSystem) -> list[list[dict[str, object]]]:
    tables = ("order_ledger", "order_ledger_history", "outbox", "orders", "inventory_reservations", "products",
              "payment_authorizations", "payment_refunds")  # fmt: skip
    return [proxied.sql(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]


def test_zombie_waking_before_its_call_is_refused(proxied: ProxiedSystem, zombie: Zombie) -> None:
    """Its orders have been undone: the orchestrator that took them over could not do these steps either."""
    for step in STEPS:
        id_ = zombie.gets_stuck(step, Delay())
        proxied.proxy.on(step, about=about(step, id_), do=DropRequest())
    zombie.is_overtaken()
    before = books(proxied)
    assert [call.code for call in zombie.late_calls()] == [
        "invalid_status_transition", "reservation_released", "already_voided", "invalid_status_transition",
    ]  # fmt: skip
    zombie.wakes()
    assert books(proxied) == before
    assert {row["status"] for row in proxied.sql("SELECT status FROM order_ledger")} == {"FAILED"}
    assert proxied.stock() == 1000
    proxied.settle()


def test_zombie_waking_after_its_call_changes_nothing(proxied: ProxiedSystem, zombie: Zombie) -> None:
    """Each step and each undo is done and its answer has arrived unread. Another orchestrator repeats it."""
    sold = [zombie.gets_stuck(step, DelayAnswer()) for step in STEPS]
    failed = [zombie.gets_stuck(undo, DelayAnswer(), token="tok_fail_capture") for undo in UNDOS]
    failed.append(zombie.gets_stuck("capture", Delay(), token="tok_fail_capture"))
    zombie.is_overtaken()
    before = books(proxied)
    assert [call.status for call in zombie.late_calls()] == [201, 201, 200, 200, 200, 200, 200, 402]
    zombie.wakes()
    assert books(proxied) == before
    orders = {id_: proxied.look(id_) for id_ in sold + failed}
    assert {orders[id_].status for id_ in sold} == {"COMPLETED"}
    assert {orders[id_].status for id_ in failed} == {"FAILED"}
    assert {tuple(proxied.movements(orders[id_])) for id_ in sold} == {("authorize", "capture")}
    assert {tuple(proxied.movements(orders[id_])) for id_ in failed} == {("authorize", "void")}
    assert proxied.stock() == 1000 - len(sold)
    proxied.settle()


def test_zombie_waking_during_the_same_step_changes_nothing(proxied: ProxiedSystem) -> None:
    """Taken over after the lease has ended by itself. Only the claim number tells the two orchestrators apart."""
    proxied.proxy.on("capture", times=12, do=(zombies := DelayAnswer()))
    with proxied.other("orchestrator", LEASE_S="2") as name:
        process = proxied.stack.processes[name]
        process.send_signal(signal.SIGSTOP)  # so that all calls start after the last order is placed
        orders = {proxied.order() for _ in range(12)}
        process.send_signal(signal.SIGCONT)
        eventually(lambda: len(proxied.proxy.calls("capture")) == 12)
        process.send_signal(signal.SIGSTOP)
        log = Log(proxied, name)
        proxied.proxy.on("capture", times=12, do=(takers := Delay()))
        proxied.stack.start(TAKER, LEASE_S="600")
        eventually(lambda: len(proxied.proxy.calls("capture")) == 24)
        before = books(proxied)
        zombies.release()
        process.send_signal(signal.SIGCONT)
        eventually(lambda: log.lost == orders)
        assert books(proxied) == before
        takers.release()
        assert {proxied.ended(id_).status for id_ in orders} == {"COMPLETED"}
        proxied.stack.stop(TAKER)
    proxied.settle()
