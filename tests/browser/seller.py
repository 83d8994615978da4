"""A shop that sells through the real system, and the operators of its console."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from tests.browser.console_site import Site
from tests.console.desk import new_key
from tests.credentials import edge_headers
from tests.system.stack import Stack
from tests.waiting import eventually

ON_THIS_MACHINE = {"WEBHOOK_ALLOW_NETWORKS": "127.0.0.0/8", "WEBHOOK_POLL_INTERVAL_S": "0.05"}


class Seller:
    def __init__(self, stack: Stack, url: str) -> None:
        """:param url: of the database"""
        self.stack, self.url = stack, url

    def order(self, product: str, quantity: int = 1, **more: object) -> str:
        body = {
            "user_id": "7b9d2c2e-1111-4222-8333-123456789abc", "email": "a@b.example",
            "items": [{"product_id": product, "quantity": quantity}],
            "payment": {"method": "card", "token": "tok_visa"},
        } | more  # fmt: skip
        return str(self.post("/orders", body)["order_ledger_id"])

    def sold(self, product: str, quantity: int = 1) -> str:
        """A completed order."""
        order = self.order(product, quantity)
        self.wait_for(order, "COMPLETED")
        return order

    def endpoint(self, address: str) -> str:
        """A webhook endpoint of the shop."""
        return str(self.post("/webhook_endpoints", {"url": address, "event_types": ["*"]})["id"])

    def post(self, path: str, body: dict[str, object]) -> dict[str, Any]:
        headers = edge_headers() | {"Idempotency-Key": uuid.uuid4().hex}
        answer = requests.post(f"{self.stack.url('web')}{path}", json=body, headers=headers, timeout=30)
        assert answer.ok, answer.text
        return dict(answer.json())

    def get(self, path: str) -> dict[str, Any]:
        answer = requests.get(f"{self.stack.url('web')}{path}", headers=edge_headers(), timeout=30)
        assert answer.ok, answer.text
        return dict(answer.json())

    def wait_for(self, order: str, status: str) -> None:
        eventually(lambda: self.get(f"/orders/{order}")["status"] == status, 60)

    def site(self, role: str = "admin") -> Site:
        return Site(self.stack.url("console"), new_key(self.url, role))

    @contextmanager
    def without(self, process: str) -> Iterator[None]:
        """The process is stopped meanwhile."""
        self.stack.stop(process)
        try:
            yield
        finally:
            self.stack.start(process)


class Api:
    """The console's API, with an operator's key."""

    def __init__(self, site: Site) -> None:
        self._site, self._headers = site, {"Authorization": f"Bearer {site.key}"}

    def get(self, path: str) -> dict[str, Any]:
        answer = requests.get(f"{self._site.url}/api{path}", headers=self._headers, timeout=30)
        assert answer.ok, answer.text
        return dict(answer.json())

    def post(self, path: str, body: dict[str, object]) -> dict[str, Any]:
        headers = self._headers | {"Idempotency-Key": uuid.uuid4().hex}
        answer = requests.post(f"{self._site.url}/api{path}", json=body, headers=headers, timeout=30)
        assert answer.ok, answer.text
        return dict(answer.json())

    def wait_for_order(self, order: str, *, failed: int, status: str | None = None) -> None:
        """Wait until so many tries of its next step have failed, and the order waits."""

        def waits() -> bool:
            found = self.get(f"/orders/{order}")
            return status in (None, found["status"]) and _waits(found, failed)

        eventually(waits, 60)

    def wait_for_refund(self, order: str, *, failed: int) -> None:
        """The same for the only refund of an order."""
        eventually(lambda: all(_waits(each, failed) for each in self.get(f"/orders/{order}")["refunds"]), 60)


def _waits(entry: dict[str, Any], failed: int) -> bool:
    return bool(entry["retry_count"] >= failed and not entry["claimed_until"])
