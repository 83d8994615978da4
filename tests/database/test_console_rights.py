"""The rights of the console's role suffice for the pages about products, webhooks and keys."""

import uuid

import pytest

from common.credentials import client_keys
from console import (
    endpoint_statements,
    endpoints,
    key_statements,
    keys,
    product_statements,
    products,
    search,
    session_statements,
    sessions,
    write_statements,
)
from console.endpoints import Change
from console.keys import By
from console.writes import Unanswered, Write, around
from edge_api.cursor import Position
from edge_api.errors import InsufficientStock
from edge_api.webhooks import Endpoints
from inventory_service.operations import create_product
from tests.database.test_table_ownership import database, never_ran, ran, roles

__all__ = ["database", "ran", "roles"]  # fixtures


@pytest.fixture
def console(database):
    return database("console")


@pytest.fixture
def endpoint(database):
    made = Endpoints(database("edge_api"), only_https=False).create(
        f"shop-{uuid.uuid4()}", {"url": "http://shop.example", "event_types": ["*"]}
    )
    return made["id"]


def test_products_are_read_with_the_consoles_rights(console, database, ran):
    new = {"sku": str(uuid.uuid4()), "name": "Widget", "price_cents": 1, "initial_stock": 5}
    made = create_product(database("inventory_service"), new, "USD")
    (found,) = products.page(console, {"sku": made["sku"]})["products"]
    assert (found["id"], found["reserved"]) == (made["id"], 0)
    assert products.page(console, {"limit": 1})["products"]
    page = products.read(console, made["id"], {"limit": 1})
    after = Position(page["adjustments"][0]["created_at"], page["adjustments"][0]["id"])
    assert products.read(console, made["id"], {"limit": 1, "cursor": after})["adjustments"] == []
    assert never_ran(product_statements, ran) == set()


def test_endpoints_are_changed_with_the_consoles_rights(console, endpoint, ran):
    read = endpoints.read(console, endpoint)
    change = Change("ada", str(uuid.uuid4()), read)
    tested = endpoints.send_test(console, change).result
    assert endpoints.delivery(console, endpoint, tested["id"])["status"] == "pending"
    for number, status in enumerate(("disabled", "enabled")):
        endpoints.set_status(console, Change("ada", f"{change.key}{number}", read), status, "why")
    endpoints.resend(console, Change("ada", f"{change.key}r", read), tested["id"])
    again = Endpoints(console, only_https=False)
    assert endpoints.resend_since(
        again, Change("ada", f"{change.key}s", read), read["created_at"], only_failed=True
    ).result
    both = {"client": read["client"], "in_trouble": True}
    for query in ({}, {"client": read["client"]}, {"in_trouble": True}, both):
        endpoints.page(console, {"limit": 1, **query})
        endpoints.page(console, {"limit": 1, "cursor": endpoint, **query})
    assert never_ran(endpoint_statements, ran) == set()


def test_keys_are_made_and_ended_with_the_consoles_rights(console, database, ran):
    owner = database("owner")
    new = keys.create_operator_key(console, By("ada", str(uuid.uuid4())), "ada", "admin", None)
    second = keys.create_operator_key(console, By("ada", str(uuid.uuid4())), "grace", "admin", None)
    keys.revoke_operator_key(console, By("ada", str(uuid.uuid4())), second.id)
    made = keys.create_client_key(console, By("ada", str(uuid.uuid4())), "till", ["orders:read"], None)
    assert client_keys.parts(made.text)
    keys.rotate_client_key(console, By("ada", str(uuid.uuid4())), made.id, None)
    keys.revoke_client_key(console, By("ada", str(uuid.uuid4())), made.id)
    for query in ({"limit": 1}, {"limit": 1, "cursor": made.id}, {"limit": 1, "cursor": new.id, "with_ended": True}):
        keys.client_keys_page(console, query)
        keys.operator_keys_page(console, query)
    assert never_ran(key_statements, ran) == set()
    by = owner.all("SELECT DISTINCT actor FROM operator_log WHERE action IN ('keys.create', 'operators.revoke')")
    assert by == [{"actor": "ada"}]


def test_sessions_are_ended_with_the_consoles_rights(console, ran):
    assert sessions.names(console) == []
    assert sessions.end(console, "ada", str(uuid.uuid4()), "grace").result == {
        "name": "grace",
        "sessions": 0,
        "jobs": 0,
    }
    assert never_ran(session_statements, ran) == set()


def test_every_id_is_looked_for_with_the_consoles_rights(console, ran):
    for text in (str(uuid.uuid4()), "pi_0123456789", "re_0123456789", "we_0123456789", "sku-1"):
        assert search.search(console, text) == search.things(console, text) == []
    tried = [*search.BY_UUID.values(), *search.BY_WORDS.values(), *search.THINGS_BY_UUID.values()]
    tried += [*search.THINGS_BY_WORDS.values(), *search.BY_PREFIX["pi"].values(), *search.BY_PREFIX["re"].values()]
    assert set(tried) <= ran


def test_change_by_a_call_needs_only_the_consoles_rights(console, ran):
    write = Write("ada", str(uuid.uuid4()), "products.change", {"product_id": "1"})

    def refuse():
        raise InsufficientStock()

    def silent():
        raise Unanswered()

    with pytest.raises(InsufficientStock):
        around(console, write, refuse, may_repeat=True)
    with pytest.raises(Unanswered):
        around(console, write, silent, may_repeat=True)
    assert around(console, write, lambda: {"a": 1}, may_repeat=True).result == {"a": 1}
    assert around(console, write, silent, may_repeat=True).is_repeat
    assert never_ran(write_statements, ran) == set()
