"""The secrets of the services, in real processes: one that does not match, and one that is replaced."""

from __future__ import annotations

import json

from tests import credentials
from tests.faults.shared_stack import ORCHESTRATORS, SharedStack, new_key
from tests.system.conftest import buying
from tests.waiting import eventually

OTHER_KEY = "a-key-that-the-others-do-not-have-" * 2
NEXT_KEY = "the-next-key-of-all-services-" * 2
PARTICIPANTS = ("orders_service", "inventory_service", "payments_service")
CALLERS = ("web", *ORCHESTRATORS)


def errors(stack: SharedStack, name: str) -> list[str]:
    lines = (json.loads(line) for line in stack.log(name).splitlines() if line.startswith("{"))
    return [line["message"] for line in lines if line["level"] == "ERROR"]


def test_refused_token_undoes_no_sale_and_is_alarmed(stack: SharedStack) -> None:
    """The saga waits without using up its attempts, and goes on when the secret is right again."""
    product = stack.product()
    stack.restart("orders_service", SERVICE_TOKEN_KEYS=OTHER_KEY)
    order = stack.post_order(new_key(), product).json()["order_ledger_id"]
    eventually(lambda: any("orders refuses our token with 401" in each for each in alarms(stack)))
    tries = 8  # more than the five attempts after which a sale is undone
    eventually(lambda: stack.log("orders_service").count('"http_status": 401') >= tries)
    assert stack.sql("SELECT status, retry_count FROM order_ledger WHERE id = %(id)s", id=order) == [("AUTHORIZED", 0)]
    assert all("SERVICE_TOKEN_KEYS" in each for each in alarms(stack))
    assert len(alarms(stack)) <= 2, "each orchestrator tells once a minute"
    stack.end(*ORCHESTRATORS)  # while the service restarts, its connections are refused, which does cost attempts
    stack.restart("orders_service")
    stack.start(*ORCHESTRATORS)
    eventually(lambda: stack.by_status() == {"COMPLETED": 1})
    stack.settle()


def alarms(stack: SharedStack) -> list[str]:
    return [each for name in CALLERS[1:] for each in errors(stack, name) if "refuses our token" in each]


def test_edge_refuses_orders_while_its_token_is_refused(stack: SharedStack) -> None:
    product, key = stack.product(), new_key()
    stack.restart("payments_service", SERVICE_TOKEN_KEYS=OTHER_KEY)
    answer = stack.post_order(key, product)
    assert (answer.status_code, answer.json()["error"]) == (503, "gateway_error")
    stack.restart("payments_service")
    assert stack.post_order(key, product).status_code == 202
    stack.settle()
    assert stack.count("payment_authorizations") == 1


def test_keys_are_replaced_without_a_refused_call(stack: SharedStack) -> None:
    """All learn the next key, then it signs, then the old one goes: each process restarts three times."""
    old = credentials.TOKEN_KEY
    product = stack.product()
    patient = {"RETRY_BASE_S": "1", "RETRY_FACTOR": "4"}  # a restart takes longer than the tests' usual retries
    stack.restart(*ORCHESTRATORS, **patient)
    refused = stack_refusals(stack)
    with buying(stack, product, 150) as placed:
        for keys in (f"{old},{NEXT_KEY}", f"{NEXT_KEY},{old}", NEXT_KEY):
            for name in (*PARTICIPANTS, *CALLERS):
                stack.stop(name)
                stack.start(name, SERVICE_TOKEN_KEYS=keys, **patient)
    assert len(set(placed.values())) == 150
    stack.settle()
    assert stack_refusals(stack) == refused
    assert stack.by_status() == {"COMPLETED": 150}


def stack_refusals(stack: SharedStack) -> int:
    return sum(stack.log(name).count(f'"http_status": {status}') for name in PARTICIPANTS for status in (401, 403))
