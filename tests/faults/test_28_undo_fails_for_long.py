"""Row 28: an undo fails for minutes.

Required: COMPENSATING, marked, still retried; it completes when the participant is back. (A marked undo is retried
every five minutes; here all delays are divided by 200, so every 1.5 s.)
"""

from __future__ import annotations

from domain.ids import order_id_for
from holdfast_client.models import Order
from tests.faults.network_faults import Answer, Delay, DropRequest
from tests.faults.proxied import ProxiedSystem
from tests.waiting import eventually


def test_failing_undo_is_marked_and_retried_until_done(proxied: ProxiedSystem) -> None:
    """Four orders, one for each undo. There is no stock for the first three; the last cannot be confirmed."""
    scarce = proxied.stack.product(stock=1)
    proxied.proxy.on("create_order", do=(gate := Delay()))
    stuck = {undo: proxied.order(product=scarce, quantity=2) for undo in ("void", "release", "cancel_order")}
    stuck["refund"] = proxied.order()
    proxied.proxy.on("confirm_order", do=DropRequest())
    for undo, id_ in stuck.items():
        about = order_id_for(id_) if undo in ("release", "cancel_order") else id_
        proxied.proxy.on(undo, about=about, do=Answer(503, {"error": "gateway_error"}))
    gate.release()

    marked = {id_: eventually(lambda id_=id_: needs_attention(proxied, id_)) for id_ in stuck.values()}
    assert {order.status for order in marked.values()} == {"COMPENSATING"}
    for undo in stuck:
        eventually(lambda undo=undo: len([call for call in proxied.proxy.calls(undo) if call.fault == "Answer"]) > 5)
    assert {proxied.look(id_).status for id_ in stuck.values()} == {"COMPENSATING"}
    for id_ in stuck.values():
        assert log_says(proxied, "needs attention", id_)

    assert proxied.proxy.unmet == []
    proxied.proxy.heal()
    ended = {undo: proxied.ended(id_) for undo, id_ in stuck.items()}
    assert {order.status for order in ended.values()} == {"FAILED"}
    assert {order.needs_attention_at for order in ended.values()} == {None}
    assert ended["void"].failure == marked[stuck["void"]].failure, "the failure is still the original one"
    assert (proxied.stock(scarce), proxied.stock()) == (1, 1000)
    proxied.settle()


def test_order_waits_for_a_dead_participant(proxied: ProxiedSystem) -> None:
    scarce = proxied.stack.product(stock=1)
    proxied.proxy.on("reserve", do=(gate := Delay()))
    id_ = proxied.order(product=scarce, quantity=2)
    gate.wait()
    proxied.stack.kill("payments_service")
    gate.release()
    assert eventually(lambda: needs_attention(proxied, id_)).status == "COMPENSATING"
    assert log_says(proxied, "needs attention", id_)

    proxied.stack.start("payments_service")
    order = proxied.ended(id_)
    assert (order.status, order.needs_attention_at) == ("FAILED", None)
    assert order.failure is not None
    assert order.failure.code == "insufficient_stock"
    assert proxied.movements(order) == ["authorize", "void"]
    proxied.settle()


def needs_attention(proxied: ProxiedSystem, order_ledger_id: str) -> Order | None:
    order = proxied.look(order_ledger_id)
    return order if order.needs_attention_at else None


def log_says(proxied: ProxiedSystem, text: str, order_ledger_id: str) -> bool:
    lines = proxied.stack.log("orchestrator.1").splitlines()
    return any(text in line and order_ledger_id in line for line in lines)
