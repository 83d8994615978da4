"""Row 8: one key, two clients. Required: two orders, and none sees the other's."""

from __future__ import annotations

from functools import partial

import requests

from tests import credentials
from tests.at_once import at_once
from tests.faults.shared_stack import PATIENCE_S, SharedStack

SECRETS = {"alice": credentials.new_key(), "bob": credentials.new_key()}


def test_same_key_of_two_clients_gives_two_orders(stack: SharedStack) -> None:
    for client, secret in SECRETS.items():
        credentials.add_key_at(stack.server.url, key=secret, client=client)
    product = stack.product(stock=10)
    calls = [
        partial(stack.post_order, "k", product, quantity, api_key=secret)
        for quantity, secret in enumerate(SECRETS.values(), start=1)
    ]
    first, second = at_once(calls)
    assert (first.status_code, second.status_code) == (202, 202)
    assert [answer.json()["total_amount_cents"] for answer in (first, second)] == [500, 1000]
    stack.settle()
    assert stack.by_status() == {"COMPLETED": 2}
    assert [call().content for call in calls] == [first.content, second.content]
    for order, seen_by in ((first, [200, 404]), (second, [404, 200])):
        assert [look(stack, order, secret) for secret in SECRETS.values()] == seen_by


def look(stack: SharedStack, order: requests.Response, secret: str) -> int:
    headers = {"Authorization": f"Bearer {secret}"}
    return requests.get(stack.url("web") + order.headers["Location"], headers=headers, timeout=PATIENCE_S).status_code
