"""The Stripe gateway over the double, which runs as a server in this process. Every answer of it is checked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import requests
from openapi_schema_validator import OAS30Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

from stripe_double import cards, excerpt
from stripe_double.server import serve
from tests.payments_service.worlds import AFTER, BEFORE, DELAYS_REFUND, GOOD, REFUSES_REFUND, Money

KEY = "sk_test_double"
OPERATIONS = {
    "authorize": "confirm",
    "capture": "capture",
    "void": "cancel",
    "void_by_key": "cancel",
    "refund": "refund",
}
KINDS = {BEFORE: "lost_before", AFTER: "lost_after"}


class Double:
    """A running double. What Stripe's OpenAPI refuses of its answers is in `wrong`."""

    def __init__(self, folder: Path) -> None:
        self.wrong: list[str] = []
        self.operations: list[str] = []
        self.watch: Callable[[str], object] = lambda _: None
        """Is called with each operation after its effect, while the caller waits for the answer."""
        self.file = folder / "stripe.sqlite"
        self._server = serve(self.file, seen=self._check)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def control(self, verb: str, **body: Any) -> dict[str, Any]:
        response = requests.post(f"{self.url}/_control/{verb}", json=body, timeout=30)
        response.raise_for_status()
        return dict(response.json())

    def clear(self) -> None:
        self.control("clear")
        self.wrong.clear()
        self.operations.clear()
        self.watch = lambda _: None

    def fault(self, operation: str, kind: str, **more: Any) -> None:
        self.control("fault", operation=operation, kind=kind, **more)

    def _check(self, operation: str, status: int, body: dict[str, Any]) -> None:
        self.operations.append(operation)
        self.wrong += [f"{operation} {status}: {each}" for each in violations(body)]
        self.watch(operation)


def violations(body: dict[str, Any]) -> list[str]:
    """What Stripe's OpenAPI says against an answer."""
    if body.get("object") == "list":
        return [each for item in body["data"] for each in violations(item)]
    name = "error" if "error" in body else body["object"]
    return [
        f"{'.'.join(map(str, each.absolute_path))}: {each.message}"[:300] for each in _validator(name).iter_errors(body)
    ]


@cache
def _validator(name: str) -> Any:
    spec = _closed(json.loads(excerpt.FILE.read_text(encoding="utf-8")))
    registry = Registry().with_resource("stripe:", Resource(contents=spec, specification=DRAFT4))
    return OAS30Validator({"$ref": f"stripe:#/components/schemas/{name}"}, registry=registry)


def _closed(part: Any) -> Any:
    """The schema, where an object may have no other fields than those it names."""
    if isinstance(part, list):
        return [_closed(each) for each in part]
    if not isinstance(part, dict):
        return part
    closed = {name: _closed(each) for name, each in part.items()}
    if part.get("type") == "object" and part.get("properties"):
        closed.setdefault("additionalProperties", False)
    if part.get("nullable"):  # which means null too where it is not repeated in a list of values or schemas
        null = {"nullable": True, "enum": [None]}
        closed |= {name: [*closed[name], end] for name, end in (("enum", None), ("anyOf", null)) if name in part}
    return closed


@contextmanager
def double(folder: Path) -> Iterator[Double]:
    running = Double(folder)
    try:
        yield running
    finally:
        running.stop()


class StripeWorld:
    tokens: ClassVar = {GOOD: "pm_card_visa", REFUSES_REFUND: cards.REFUSES_REFUND, DELAYS_REFUND: cards.PENDING_REFUND}
    declines: ClassVar = {
        **{token: decline_code for token, (_, decline_code) in cards.DECLINED.items()},
        cards.ASKS_THE_CUSTOMER: "authentication_required",
        "pm_unknown": "invalid_payment_method",
    }

    def __init__(self, payments: Any, double: Double) -> None:
        self.payments, self.double = payments, double

    def lose(self, verb: str, moment: str) -> None:
        self.double.fault(OPERATIONS[verb], KINDS[moment])

    def answer(self) -> None:
        self.double.control("end_faults")

    def settle(self) -> None:
        self.double.control("end_refunds", status="succeeded")

    def money(self) -> Money:
        sums = self.double.control("look")
        return Money(sums["held"], sums["captured"], sums["refunded"])
