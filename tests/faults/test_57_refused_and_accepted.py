"""Row 57: one key is sent twice while its product is being created. Required: one final answer for the key."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import pytest

from common.api.idempotency import StoredResponse
from common.database.database import Database
from edge_api.notifier import Notifier
from edge_api.store import Store
from tests.at_once import at_once
from tests.faults.network_faults import DelayAnswer
from tests.faults.proxied import ProxiedSystem

ROUNDS = 200
CREATE = """
INSERT INTO products (id, sku, name, price_cents, currency, stock_quantity)
VALUES (%(id)s, %(id)s, 'Coffee', 500, 'USD', 10)
"""
ADJUST = """
INSERT INTO inventory_adjustments (id, product_id, quantity, reason)
VALUES (gen_random_uuid(), %(id)s, 10, 'initial_stock')
"""
ENTRIES = "SELECT client_request_id AS key FROM order_ledger"
REFUSALS = "SELECT client_request_id AS key FROM refused_requests"


def create(proxied: ProxiedSystem, product: str) -> None:
    proxied.sql(CREATE, id=product)
    proxied.sql(ADJUST, id=product)


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


def test_refusal_after_the_entry_is_dropped(proxied: ProxiedSystem, background: ThreadPoolExecutor) -> None:
    """The first request finds no product; before it answers, the second one finds it."""
    product = str(uuid.uuid4())
    proxied.proxy.on("prices", nth=1, do=(slow := DelayAnswer()))
    first = background.submit(proxied.post, "key-1", product=product)
    slow.wait()
    create(proxied, product)
    second = proxied.post("key-1", product=product)
    slow.release()
    assert [second.status_code, first.result().status_code] == [202, 202]
    assert first.result().content == second.content == proxied.post("key-1", product=product).content
    assert proxied.sql("SELECT * FROM refused_requests") == []
    proxied.settle()


def test_entry_after_the_refusal_is_not_written(proxied: ProxiedSystem, background: ThreadPoolExecutor) -> None:
    """The first request finds the product; before it writes its entry, the second one, which is older, is refused."""
    product = str(uuid.uuid4())
    proxied.proxy.on("prices", nth=1, do=(of_second := DelayAnswer()))
    second = background.submit(proxied.post, "key-1", product=product)
    of_second.wait()
    create(proxied, product)
    proxied.proxy.on("prices", nth=1, do=(of_first := DelayAnswer()))
    first = background.submit(proxied.post, "key-1", product=product)
    of_first.wait()
    of_second.release()
    assert second.result().status_code == 422
    of_first.release()
    assert (first.result().status_code, first.result().content) == (422, second.result().content)
    assert proxied.sql("SELECT id FROM order_ledger") == []
    assert proxied.proxy.calls("authorize") == []
    proxied.settle()


def test_each_key_has_either_an_entry_or_a_refusal(url: str) -> None:
    entry = {
        "fingerprint": "f", "user_id": str(uuid.uuid4()), "email": "a@b.example", "currency": "USD", "total": 9,
        "reference": None, "metadata": None,
        "request_id": "r", "product_ids": [str(uuid.uuid4())], "quantities": [1], "prices": [9],
    }  # fmt: skip
    refusal = StoredResponse.of(422, {})
    with closing(Database(url, name="test", size=4)) as database:
        store = Store(database, 30, 60, Notifier(database, 0))
        for number in range(ROUNDS):
            key = f"key-{number}"
            insert = partial(store.insert_entry, "shop", key, entry)
            refuse = partial(store.insert_refused, "shop", key, "f", refusal)
            at_once([insert, refuse] if number % 2 else [refuse, insert])
        entries, refusals = ({row["key"] for row in database.all(keys)} for keys in (ENTRIES, REFUSALS))
        assert entries & refusals == set()
        assert len(entries | refusals) == ROUNDS
