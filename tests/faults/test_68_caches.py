"""Fault 68: caches in front. Required: `no-store` on every response about an order, a key or a person."""

from __future__ import annotations

import pytest
import requests

from tests.faults.raw_http import HEAD, send
from tests.faults.shared_stack import SharedStack, new_key
from tests.system.stack import WEB_PROCESSES

PUBLIC = {
    "/openapi.json": "public, no-cache",
    "/docs": "public, no-cache",
    "/docs/rapidoc-min.js": "public, max-age=86400",
    "/docs/page.css": "public, max-age=86400",
}


def cache_control(response: requests.Response) -> str:
    return response.headers.get("Cache-Control", "")


def test_responses_about_orders_are_not_stored(stack: SharedStack) -> None:
    product, key = stack.product(), new_key()
    responses = [stack.post_order(key, product), stack.post_order(key, product), stack.post_order(new_key(), new_key())]
    responses.append(requests.get(stack.url("web") + responses[0].headers["Location"], timeout=30))
    responses.append(requests.get(f"{stack.url('web')}/nowhere", timeout=30))
    assert [(each.status_code, cache_control(each)) for each in responses] == [
        (202, "no-store"), (202, "no-store"), (400, "no-store"), (200, "no-store"), (404, "no-store")
    ]  # fmt: skip
    stack.settle()


@pytest.mark.parametrize("service", WEB_PROCESSES)
def test_only_the_documentation_may_be_stored(stack: SharedStack, service: str) -> None:
    for path in ("/", "/health", "/live"):
        assert cache_control(requests.get(stack.url(service) + path, timeout=30)) == "no-store"
    for path, expected in PUBLIC.items():
        assert cache_control(requests.get(stack.url(service) + path, timeout=30)) == expected


def test_refusal_of_malformed_http_is_not_stored(stack: SharedStack) -> None:
    answer = send(stack.address("inventory_service"), [HEAD + b"X-A : a\r\n\r\n"])
    assert (answer.status, answer.headers["cache-control"]) == (400, "no-store")
