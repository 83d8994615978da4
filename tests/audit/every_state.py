"""A database with an order in every state, and its audit while something is wrong in it. Constraints are off then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from common.database.database import Database
from domain.states import Status
from tests.audit.small_world import SmallWorld
from tests.database.conftest import Trial
from tests.waiting import eventually
from webhooks.store import Store

Books = tuple[str, dict[str, str]]
Plant = Callable[[str], list[tuple[Any, ...]]]

# The status in which each open order is left.
OPEN = {
    "authorized": None,
    "created": Status.ORDER_CREATED,
    "reserved": Status.INVENTORY_RESERVED,
    "captured": Status.PAYMENT_CAPTURED,
    "turned_back": Status.COMPENSATING,
}
DROP_CONSTRAINTS = """
SET LOCAL session_replication_role = replica;
DO $$ DECLARE statement text; BEGIN
  FOR statement IN SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) FROM pg_constraint
    WHERE (contype IN ('c', 'u') OR conname = 'pk_outbox') AND connamespace = 'public'::regnamespace
  LOOP EXECUTE statement; END LOOP;
END $$
"""
NOT_DUE = """
UPDATE order_ledger SET due_at = now() + interval '1 hour' WHERE due_at IS NOT NULL;
UPDATE refunds SET due_at = now() + interval '1 hour' WHERE due_at IS NOT NULL
"""
# Completed orders with a refund: the key of both, and the token that decides how the refund ends.
REFUNDS = {"returned": "tok_visa", "not_returned": "fail_refund", "returning": "pending_refund"}
ENDPOINT = """
INSERT INTO webhook_endpoints (id, client, url, event_types, cursor_xid)
SELECT 'we_1', min(client), 'https://shop.example', '{*}', '3' FROM order_ledger
"""
WITHOUT_DELIVERY = """
SELECT 1 FROM events LEFT JOIN webhook_deliveries AS d ON d.event_id = events.id WHERE d.id IS NULL LIMIT 1
"""
TEST_DELIVERY = """
INSERT INTO webhook_deliveries (endpoint_id, message_id, type, due_at) VALUES ('we_1', 'evt_1', 'webhook.test', now())
"""
REFUND_IDS = "SELECT 'refund_' || idempotency_key, id::text FROM refunds"


def fill(world: SmallWorld) -> str:
    """Make an order in every state; return its product."""
    product = world.product(stock=100)

    def order(key: str, *faults: str, **changes: Any) -> None:
        world.faults = {fault: ["answer"] * 5 for fault in faults}
        world.order(product, key=key, **changes)
        world.faults.pop("authorize", None)

    order("completed")
    order("declined", token="decline_expired")
    world.work()
    order("failed", quantity=99)
    world.work()
    order("refunded", "capture")
    world.work()
    order("abandoned", "authorize")
    world.work()
    refund_some(world)
    order("held", "authorize")
    world.sql(NOT_DUE)
    for key, status in OPEN.items():
        order(key, quantity=99 if key == "turned_back" else 2)
        if status:
            world.run_once(until=status)
        world.sql(NOT_DUE)
    return product


def refund_some(world: SmallWorld) -> None:
    """Refund one piece each of three orders for another product."""
    product = world.product(stock=100)
    for key, token in REFUNDS.items():
        placed = world.order(product, key=key, token=token).json["order_ledger_id"]
        world.work()
        world.refund(placed, key=key, items=[{"product_id": product, "quantity": 1}], restock=True)
        world.run_once()
        world.sql(NOT_DUE)


def deliver(world: SmallWorld, url: str) -> None:
    """Make a delivery of each event, and one of a test event."""
    world.sql(ENDPOINT)
    with closing(Database(url, name="deliveries", size=1)) as database:
        store = Store(database, "me", in_flight=1, lease_s=60)
        eventually(lambda: (store.fan_out() or True) and not world.sql(WITHOUT_DELIVERY))
    world.sql(TEST_DELIVERY)


@pytest.fixture(scope="module")
def books(new_migrated_database: Callable[[], str]) -> Books:
    """The address of a database with an order in every state; the ids of the orders and their product."""
    url = new_migrated_database()
    with closing(SmallWorld(url)) as world, world.network():
        product = fill(world)
        deliver(world, url)
        ids = dict(world.sql("SELECT client_request_id, id::text FROM order_ledger") + world.sql(REFUND_IDS))
    return url, ids | {"product": product}


@pytest.fixture
def trial(books: Books) -> Iterator[Trial]:
    """Statements on the books without constraints and triggers. Everything is rolled back."""
    with closing(Trial(books[0])) as trial:
        trial(DROP_CONSTRAINTS)
        yield trial


@pytest.fixture
def plant(books: Books, trial: Trial) -> Plant:
    """Change the books; return the audit's findings."""

    def do(statements: str) -> list[tuple[Any, ...]]:
        trial(statements, **books[1])
        return trial("SELECT check_name, subject || ': ' || detail FROM audit_violations")

    return do
