"""The audit of the running system, and what an operator sees of an undo that fails."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest

from holdfast_client import Order
from tests.audit.test_audit_command import run
from tests.books import violations
from tests.system.conftest import place
from tests.system.stack import Stack, running
from tests.waiting import eventually

ORDERS = 60
OPEN = "SELECT count(*) FROM order_ledger WHERE due_at IS NOT NULL"


def value(url: str, statement: str) -> object:
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        (found,) = cursor.fetchone()
    connection.close()
    return found


@pytest.fixture(scope="module")
def system(
    new_migrated_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Stack, str]]:
    url = new_migrated_database()
    with running(url, tmp_path_factory.mktemp("audit"), orchestrators=2, MOCK_FAILURE_RATE="0.3") as stack:
        yield stack, url


def test_audit_finds_nothing_while_orders_fail_and_workers_die(system: tuple[Stack, str]) -> None:
    stack, url = system
    scarce, plenty = stack.product(stock=ORDERS // 4), stack.product()
    audits = {"of open orders": 0}
    with ThreadPoolExecutor(3) as pool:
        buying = [
            pool.submit(place, stack, scarce, ORDERS // 2, buyers=4),
            pool.submit(place, stack, plenty, ORDERS // 4, buyers=2),
            pool.submit(place, stack, plenty, ORDERS // 4, buyers=2, token="fail_capture"),
        ]

        def has_ended() -> bool:
            opened = bool(value(url, OPEN))
            assert violations(url, at_rest=False) == {}
            audits["of open orders"] += opened
            return not opened and all(each.done() for each in buying)

        for name in ("orchestrator.1", "orchestrator.2"):
            eventually(lambda: has_ended() or audits["of open orders"] % 5 == 4, 120)
            stack.kill(name)
            stack.start(name)
            assert violations(url, at_rest=False) == {}
        eventually(has_ended, 120)
        assert len({id_ for each in buying for id_ in each.result().values()}) == ORDERS
    assert audits["of open orders"] >= 1, "no audit ran while orders were open"
    assert violations(url) == {}


def test_failing_undo_is_visible_everywhere_and_can_be_retried_at_once(system: tuple[Stack, str]) -> None:
    """After it is marked, the next attempt is a minute away."""
    stack, url = system
    scarce = stack.product(stock=1)
    for name in ("orchestrator.1", "orchestrator.2"):
        stack.stop(name)
    with stack.client() as client:
        items = [{"product_id": scarce, "quantity": 2}]
        id_ = client.place_order(
            user_id=uuid.uuid4(), email="a@b.example", items=items, payment_token="tok_visa"
        ).order_ledger_id
        stack.kill("payments_service")
        stack.start("orchestrator.1", RETRY_BASE_S="0.2", RETRY_FACTOR="1")

        def marked() -> Order | None:
            order = client.get_order(id_)
            return order if order.needs_attention_at and order.next_retry_at else None

        order = eventually(marked, 60)
        assert order.status == "COMPENSATING"
        eventually(lambda: "needs attention: void_payment got no answer" in stack.log("orchestrator.1"))
        code, out, _ = run(url, "audit")
        assert code == 0
        assert re.search(rf"^{id_}  COMPENSATING  .*void_payment got no answer", out, re.MULTILINE)
        assert id_ in run(url, "attention")[1]

        stack.start("payments_service", MOCK_FAILURE_RATE="0")
        assert run(url, "attention", "retry", id_)[0] == 0
        ended = client.wait_until_terminal(id_, timeout=60)
        assert (ended.status, ended.needs_attention_at) == ("FAILED", None)
        assert ended.updated_at < order.next_retry_at, "it waited for its scheduled retry"
        assert run(url, "attention", "retry", id_)[0] == 1
    eventually(lambda: "no longer needs attention" in stack.log("orchestrator.1"))
    assert run(url, "attention")[1] == "Nothing needs attention.\n"
    assert violations(url) == {}
