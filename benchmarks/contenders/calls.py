"""The saga of all contenders: four calls to a participant, with the leanest use of `requests`.

The methods, paths and bodies are those of orchestrator/participants.py. The peers' environment loads this module
too, so it imports nothing but `requests`.
"""

from __future__ import annotations

import json
import threading
import uuid
from dataclasses import dataclass
from typing import Any

import requests
from requests.adapters import HTTPAdapter

USER_ID = "5f1c9a64-27d3-4f0e-9a51-3c8f3b1f7a10"
ITEMS = (
    {"product_id": "0b8e5b1e-6a59-4a0b-8f5d-5b7a0f6f2c01", "quantity": 1, "unit_price_cents": 499},
    {"product_id": "9d2f7c44-1c3a-4c7e-b0a2-7e6d1a9b3c02", "quantity": 1, "unit_price_cents": 500},
)
AMOUNT_CENTS = 999
TIMEOUT_S = (2, 8)  # connect and read, as the orchestrator's


@dataclass(frozen=True)
class Call:
    method: str
    path: str
    body: dict[str, Any] | None
    status: str
    """A field of its successful response."""


def calls(ledger_id: str) -> tuple[Call, ...]:
    """The steps of one ledger entry's saga, in order."""
    order_id = order_id_for(ledger_id)
    wanted = [{"product_id": item["product_id"], "quantity": item["quantity"]} for item in ITEMS]
    order = {
        "order_ledger_id": ledger_id,
        "user_id": USER_ID,
        "total_amount_cents": AMOUNT_CENTS,
        "currency": "USD",
        "items": ITEMS,
    }
    capture = {"idempotency_key": f"capture:{ledger_id}", "amount_cents": AMOUNT_CENTS}
    return (
        Call("POST", "/orders", order, "PENDING"),
        Call("POST", "/inventory/reservations", {"order_id": order_id, "items": wanted}, "RESERVED"),
        Call("POST", f"/payments/capture/{authorization_id_for(ledger_id)}", capture, "CAPTURED"),
        Call("PUT", f"/orders/{order_id}/confirm", None, "CONFIRMED"),
    )


def order_id_for(ledger_id: str) -> str:
    """The same as in domain.ids, which the peers' environment does not have."""
    return str(uuid.uuid5(uuid.UUID(ledger_id), "order"))


def authorization_id_for(ledger_id: str) -> str:
    return f"auth_{ledger_id}"


def request_id_for(ledger_id: str) -> str:
    """Return what the stub must know about a saga, for a header of every call."""
    return f"{ledger_id}.{order_id_for(ledger_id)}"


class NotAsExpected(Exception):
    """The stub gave an unexpected response."""


class LeanClient:
    """One thread's connection to the stub. A request is prepared once, then only changed and sent again."""

    def __init__(self, url: str, ledger_id: str = str(uuid.UUID(int=0))) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.trust_env = False  # ignores proxies in the environment and .netrc
        self._session.mount("http://", HTTPAdapter(pool_connections=1, pool_maxsize=1))
        headers = {"Content-Type": "application/json", "X-Request-ID": request_id_for(ledger_id)}
        self._calls = calls(ledger_id)
        self._prepared = [
            self._session.prepare_request(
                requests.Request(call.method, url + call.path, headers=headers, data=_json(call.body))
            )
            for call in self._calls
        ]

    def step(self, number: int, ledger_id: str) -> None:
        """Make one of the saga's calls, 0 to 3."""
        call, prepared = calls(ledger_id)[number], self._prepared[number]
        prepared.url = self._url + call.path
        prepared.headers["X-Request-ID"] = request_id_for(ledger_id)
        prepared.body = _json(call.body)  # the length stays, because all ids have the same
        self.send(number)

    def send(self, number: int) -> None:
        """Repeat the last call unchanged.

        :raises NotAsExpected: if the response is not a success
        """
        response = self._session.send(self._prepared[number], timeout=TIMEOUT_S, allow_redirects=False)
        check(response, self._calls[number].status)


class UsualClient:
    """One thread's connection, with the usual use of `requests`."""

    def __init__(self, url: str) -> None:
        self._url, self._session = url, requests.Session()

    def saga(self, ledger_id: str) -> None:
        for number in range(4):
            self.step(number, ledger_id)

    def step(self, number: int, ledger_id: str) -> None:
        call, headers = calls(ledger_id)[number], {"X-Request-ID": request_id_for(ledger_id)}
        response = self._session.request(
            call.method, self._url + call.path, json=call.body, headers=headers, timeout=TIMEOUT_S
        )
        check(response, call.status)


def check(response: requests.Response, status: str) -> None:
    if response.status_code != 200 or json.loads(response.content)["status"] != status:
        raise NotAsExpected(f"{response.status_code} {response.text[:100]}")


def _json(body: dict[str, Any] | None) -> bytes | None:
    return None if body is None else json.dumps(body, separators=(",", ":")).encode()


_local = threading.local()


def usual_client(url: str) -> UsualClient:
    """The client of this thread."""
    if not hasattr(_local, "usual"):
        _local.usual = UsualClient(url)
    client: UsualClient = _local.usual
    return client


def lean_client(url: str) -> LeanClient:
    """The client of this thread."""
    if not hasattr(_local, "client"):
        _local.client = LeanClient(url)
    client: LeanClient = _local.client
    return client
