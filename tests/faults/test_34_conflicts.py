"""Row 34: 40001, 40P01, 55P03. Required: at most three more tries, then 503."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest
import requests

from tests.faults.shared_stack import PATIENCE_S, SharedStack
from tests.system.conftest import place

# A change of the table fails with a conflict if the condition holds for `n`, the number of the attempt. A sequence is
# not rolled back, so it counts the attempts.
CONFLICT = """
CREATE SCHEMA fault;
CREATE SEQUENCE fault.tries;
CREATE FUNCTION fault.conflict() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE n bigint := nextval('fault.tries'); BEGIN
  IF {condition} THEN RAISE EXCEPTION USING ERRCODE = '{code}'; END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER conflict AFTER {change} ON {table} FOR EACH ROW EXECUTE FUNCTION fault.conflict();
"""
CODES = ("40001", "40P01", "55P03")
Arrange = Callable[..., None]


@pytest.fixture
def conflict(stack: SharedStack) -> Iterator[Arrange]:
    """`conflict("orders", "40001", "n <= 3")`"""
    yield lambda table, code, condition, change="INSERT": stack.sql(
        CONFLICT.format(table=table, code=code, condition=condition, change=change)
    )
    stack.sql("DROP SCHEMA IF EXISTS fault CASCADE")


def call(stack: SharedStack, table: str) -> requests.Response:
    """Make a call whose first write is to this table."""
    product = stack.product()
    if table == "order_ledger":
        return stack.post_order("k", product)
    items = [{"product_id": product, "quantity": 1}]
    service, path, body = {
        "inventory_reservations": (
            "inventory_service", "/inventory/reservations", {"order_id": str(uuid.uuid4()), "items": items}
        ),
        "orders": (
            "orders_service",
            "/orders",
            {"order_ledger_id": str(uuid.uuid4()), "user_id": str(uuid.uuid4()), "total_amount_cents": 500,
             "currency": "USD", "items": [items[0] | {"unit_price_cents": 500}]},
        ),
        "payment_authorizations": (
            "payments_service",
            "/payments/authorize",
            {"user_id": str(uuid.uuid4()), "amount_cents": 500, "currency": "USD", "payment_token": "tok_visa",
             "idempotency_key": "k"},
        ),
    }[table]  # fmt: skip
    return requests.post(stack.url(service) + path, json=body, timeout=PATIENCE_S)


def tries(stack: SharedStack) -> int:
    ((last,),) = stack.sql("SELECT last_value FROM fault.tries")
    return int(last)


TABLES = ("order_ledger", "inventory_reservations", "orders", "payment_authorizations")


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("code", CODES)
def test_fourth_conflict_gives_503_and_changes_nothing(
    stack: SharedStack, conflict: Arrange, table: str, code: str
) -> None:
    conflict(table, code, "true")
    response = call(stack, table)
    expected = "busy" if code == "55P03" else "service_unavailable"
    assert (response.status_code, response.json()["error"]) == (503, expected)
    assert int(response.headers["Retry-After"]) >= 1
    assert tries(stack) == 4
    assert stack.count(table) == 0
    stack.settle()


@pytest.mark.parametrize("code", CODES)
def test_three_conflicts_at_every_step_are_survived(stack: SharedStack, conflict: Arrange, code: str) -> None:
    """Edge API and orchestrators: every write to the ledger succeeds at its fourth attempt at the latest."""
    conflict("order_ledger", code, "n % 4 <> 0", change="INSERT OR UPDATE")
    assert stack.post_order("k", stack.product()).status_code == 202
    stack.settle()
    assert stack.by_status() == {"COMPLETED": 1}
    assert tries(stack) >= 4 * 7


def test_regular_conflicts_are_survived(stack: SharedStack, conflict: Arrange) -> None:
    conflict("order_ledger", "40001", "n % 13 = 0", change="INSERT OR UPDATE")
    assert len(set(place(stack, stack.product(), 30).values())) == 30
    stack.settle()
    assert stack.by_status() == {"COMPLETED": 30}
