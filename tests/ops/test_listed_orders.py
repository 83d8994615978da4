"""Orders of every kind, as the orchestrator left them, are shown and listed, also after erasure and retention."""

from __future__ import annotations

from domain.states import Status
from ops.__main__ import main
from ops.erasure import NO_ADDRESS
from tests.ops.old_orders import age, clock, place_all_kinds

__all__ = ["clock"]  # a fixture

TERMINAL = [status for status in Status if status.is_terminal]


def listed(world, **query):
    response = world.edge.test_client().get("/orders", query_string={"limit": 100, **query})
    assert response.status_code == 200
    return response.json["orders"]


def test_each_kind_is_listed_under_its_status(world):
    place_all_kinds(world)
    world.order(world.product(), key="open")
    rows = world.sql("SELECT client_request_id, status FROM order_ledger")
    assert {status for _, status in rows} == {*map(str, TERMINAL), "AUTHORIZED"}
    for status in Status:
        found = {order["client_request_id"] for order in listed(world, status=status)}
        assert found == {key for key, of_row in rows if of_row == status}


def test_erased_orders_are_shown_and_listed(world, url):
    place_all_kinds(world)
    assert main(["erase", "--user", listed(world)[0]["user_id"], "--yes"], {"DATABASE_URL": url}) == 0
    orders = listed(world, email=NO_ADDRESS)
    assert len(orders) == 6
    for order in orders:
        shown = world.edge.test_client().get(f"/orders/{order['order_ledger_id']}").json
        assert shown.pop("timeline")
        assert shown == order


def test_what_retention_leaves_of_an_order_is_shown(world, url, clock):
    clock(100)
    place_all_kinds(world)
    age(world, days=100)
    settings = {"RETAIN_HISTORY_DAYS": "90", "RETAIN_OUTBOX_DAYS": "90", "RETAIN_ANSWERS_DAYS": "90"}
    assert main(["retain"], {"DATABASE_URL": url, **settings}) == 0
    orders = listed(world)
    assert len(orders) == 6
    shown = [world.edge.test_client().get(f"/orders/{order['order_ledger_id']}").json for order in orders]
    assert shown == [{**order, "timeline": []} for order in orders]
    assert main(["retain"], {"DATABASE_URL": url, "RETAIN_ORDERS_DAYS": "90"}) == 0
    assert listed(world) == []
