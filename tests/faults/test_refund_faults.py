"""The faults of the catalogue, made to refunds that are carried out. Numbers are those of docs/guarantees.md."""

from __future__ import annotations

import signal
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.faults.network_faults import Corrupt, Cut, Delay, Repeat
from tests.faults.proxied import PATIENCE_S, ProxiedSystem
from tests.faults.proxy import Fault
from tests.faults.shared_stack import SharedStack, new_key
from tests.faults.test_52_entry_cannot_be_written import CAUSE, REFUSE
from tests.system.conftest import place
from tests.waiting import eventually

ORDERS = 12
TAKER = "orchestrator.3"
TRIGGER = f"""
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {REFUSE}; RETURN NEW; END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON refunds FOR EACH ROW WHEN (OLD.id = '{{id}}') EXECUTE FUNCTION refuse()
"""


def refund(proxied: ProxiedSystem, order: str) -> str:
    url = f"{proxied.stack.url('web')}/orders/{order}/refunds"
    body = {"reason": "other", "restock": True}
    answer = requests.post(url, json=body, headers={"Idempotency-Key": uuid.uuid4().hex}, timeout=PATIENCE_S)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["refund_id"])


def sold(proxied: ProxiedSystem) -> str:
    order = proxied.order()
    assert proxied.ended(order).status == "COMPLETED"
    return order


def statuses(proxied: ProxiedSystem) -> list[str]:
    return [row["status"] for row in proxied.sql("SELECT status FROM refunds ORDER BY created_at")]


def ends(proxied: ProxiedSystem, refunds: int, sales: int = 0) -> None:
    """Each refund has refunded and put back once."""
    eventually(lambda: statuses(proxied) == ["SUCCEEDED"] * refunds, PATIENCE_S)
    assert proxied.sql("SELECT count(*) AS n FROM payment_refunds") == [{"n": refunds}]
    assert proxied.stock() == 1000 - sales
    proxied.settle()


@pytest.mark.parametrize("path", ["/payments/refund/", "/stock"])
@pytest.mark.parametrize("fault", [Repeat(1), Cut(), Corrupt()], ids=["twice", "cut", "corrupt"])
def test_answers_that_are_repeated_or_broken(proxied: ProxiedSystem, path: str, fault: Fault) -> None:
    """Rows 25 and 26."""
    order = sold(proxied)
    proxied.proxy.on(times=1, do=fault, when=lambda call: path in call.path)
    refund(proxied, order)
    ends(proxied, 1)


def test_refunds_that_hang_hold_up_no_sale(proxied: ProxiedSystem) -> None:
    """Row 47: they have threads of their own. There are three, and five refunds."""
    orders = [sold(proxied) for _ in range(5)]
    hanging = Delay()
    proxied.proxy.on("refund", do=hanging)
    for order in orders:
        refund(proxied, order)
    hanging.wait()
    assert sold(proxied)
    assert set(statuses(proxied)) == {"REQUESTED"}
    proxied.proxy.heal()
    hanging.release()
    ends(proxied, 5, sales=1)


def test_paused_orchestrator_wakes_after_a_takeover(proxied: ProxiedSystem) -> None:
    """Row 16: its late call has the key of the one that was answered, and its writes change no row."""
    order = sold(proxied)
    with proxied.other("orchestrator", LEASE_S="600") as name:
        zombie, late = proxied.stack.processes[name], Delay()
        proxied.proxy.on("refund", nth=1, do=late)
        refund(proxied, order)
        late.wait()
        zombie.send_signal(signal.SIGSTOP)
        proxied.sql("UPDATE refunds SET claimed_until = now(), due_at = now()")
        proxied.stack.start(TAKER)
        eventually(lambda: statuses(proxied) == ["SUCCEEDED"], PATIENCE_S)
        before = proxied.sql("SELECT * FROM refunds")
        late.release()
        zombie.send_signal(signal.SIGCONT)
        proxied.stack.stop(TAKER)
        assert sold(proxied), "it goes on with other work"
        assert proxied.sql("SELECT * FROM refunds") == before
    assert proxied.sql("SELECT count(*) AS n FROM payment_refunds") == [{"n": 1}]
    proxied.settle()


def test_database_restarts_under_cancellations_and_refunds(stack: SharedStack) -> None:
    """Rows 32, 33 and 49: each request is repeated with its key until it is answered."""
    product = stack.product(stock=100)
    orders = list(place(stack, product, ORDERS).values())
    stack.settle()
    later = {order: new_key() for order in place(stack, product, ORDERS).values()}

    def answered(path: str, key: str, body: dict[str, object]) -> bool:
        try:
            answer = requests.post(
                f"{stack.url('web')}/orders/{path}", json=body, headers={"Idempotency-Key": key}, timeout=PATIENCE_S
            )
        except requests.RequestException:
            return False
        return answer.status_code in (202, 409) and answer.json().get("error") != "request_in_progress"

    def ask(order: str) -> None:
        path, body = ("cancel", {}) if order in later else ("refunds", {"restock": True})
        key = new_key()
        eventually(lambda: answered(f"{order}/{path}", key, {"reason": "other", **body}), PATIENCE_S)

    with ThreadPoolExecutor(8) as clients:
        asked = [clients.submit(ask, order) for pair in zip(orders, later, strict=True) for order in pair]
        stack.server.restart("immediate")
        eventually(lambda: sum(each.done() for each in asked) > ORDERS // 2, PATIENCE_S)
        stack.server.restart("immediate")
        for each in asked:
            each.result()
    stack.settle()
    assert stack.sql("SELECT status, count(*) FROM refunds GROUP BY 1") == [("SUCCEEDED", ORDERS)]
    completed = stack.count("order_ledger WHERE status = 'COMPLETED' AND refunded_cents = 0")
    assert stack.sql("SELECT stock_quantity FROM products") == [(100 - completed,)]


def test_refused_refund_is_set_aside_and_the_others_succeed(stack: SharedStack) -> None:
    """Rows 36 and 52."""
    orders = list(place(stack, stack.product(), 4).values())
    stack.settle()
    names = [name for name in stack.processes if name.startswith("orchestrator")]
    stack.end(*names)
    bad, *others = [stack.post_refund(order, new_key()).json()["refund_id"] for order in orders]
    stack.sql(TRIGGER.format(id=bad))
    try:
        stack.start(*names)
        eventually(lambda: stack.count("refunds WHERE status = 'SUCCEEDED'") == len(others))
        marked = "SELECT attention_reason FROM audit_attention WHERE refund_id = %(id)s"
        assert CAUSE in eventually(lambda: stack.sql(marked, id=bad))[0][0]
    finally:
        stack.sql("DROP FUNCTION refuse CASCADE")
    stack.sql("UPDATE set_aside_refunds SET retry_at = now()")
    stack.sql("UPDATE refunds SET due_at = now() WHERE due_at IS NOT NULL")
    stack.settle()
    assert stack.count("refunds WHERE status = 'SUCCEEDED'") == len(orders)
