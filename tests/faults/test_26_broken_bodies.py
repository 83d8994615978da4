"""Row 26: a 2xx with a broken body. Required: it counts as *nothing*, not as a failure, and the call is repeated."""

from tests.faults.network_faults import Corrupt, DropRequest
from tests.faults.proxied import ProxiedSystem

BROKEN = (b"{", b"<html>Welcome</html>", [], {"status": "ok"})  # four; the fifth and last attempt succeeds


def break_answers(proxied: ProxiedSystem, *operations: str) -> None:
    for operation in operations:
        for body in BROKEN:
            proxied.proxy.on(operation, times=1, do=Corrupt(body))


def test_unreadable_2xx_is_retried(proxied: ProxiedSystem) -> None:
    steps = ("prices", "authorize", "create_order", "reserve", "capture", "confirm_order")
    break_answers(proxied, *steps)
    answers = [proxied.post("key-1", quantity=3) for _ in range(2 * len(BROKEN) + 1)]
    assert [answer.json().get("error") for answer in answers] == [
        *["service_unavailable"] * len(BROKEN), *["gateway_error"] * len(BROKEN), None,
    ]  # fmt: skip
    order = proxied.ended(answers[-1].json()["order_ledger_id"])
    assert order.status == "COMPLETED"
    for step in steps:
        calls = proxied.proxy.calls(step)
        assert [call.fault for call in calls] == ["Corrupt"] * len(BROKEN) + [""], step
        assert len({call.body for call in calls}) == 1, step
    assert proxied.movements(order) == ["authorize", "capture"]
    assert proxied.stock() == 997
    proxied.settle()


def test_unreadable_answer_to_an_undo_is_retried(proxied: ProxiedSystem) -> None:
    undos = ("cancel_order", "refund", "release")
    break_answers(proxied, *undos)
    proxied.proxy.on("confirm_order", do=DropRequest())
    order = proxied.ended(proxied.order(quantity=3))
    assert order.status == "FAILED"
    for undo in undos:
        assert [call.fault for call in proxied.proxy.calls(undo)] == ["Corrupt"] * len(BROKEN) + [""], undo
    assert proxied.movements(order) == ["authorize", "capture", "refund"]
    assert proxied.stock() == 1000
    proxied.settle()


def test_unreadable_answer_to_a_void_is_retried(proxied: ProxiedSystem) -> None:
    break_answers(proxied, "void")
    order = proxied.ended(proxied.order(token="tok_fail_capture"))
    assert order.status == "FAILED"
    assert [call.statuses for call in proxied.proxy.calls("void")] == [[200]] * 5
    assert proxied.movements(order) == ["authorize", "void"]
    proxied.settle()
