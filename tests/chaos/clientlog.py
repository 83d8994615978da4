"""The clients' own log: one line per order to place and per answer received.

It is the evidence against the ledger, so it is written where the answer arrives, without the database.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter

# The kinds of lines: what a client is about to ask for, and the answers to its calls.
BEGIN, WISH = "begin", "wish"
PLACE, LOOK, FIND, CANCEL, REFUND, LOOK_AT_REFUND = "place", "look", "find", "cancel", "refund", "look at refund"
FEED, ENDPOINT = "feed", "endpoint"
CALLS = (  # with their methods and paths
    (PLACE, "POST", "/orders"),
    (LOOK, "GET", "/orders/[^/]+"),
    (FIND, "GET", "/orders"),
    (CANCEL, "POST", "/orders/[^/]+/cancel"),
    (REFUND, "POST", "/orders/[^/]+/refunds"),
    (LOOK_AT_REFUND, "GET", "/refunds/[^/]+"),
    (FEED, "GET", "/events"),
    (ENDPOINT, "[A-Z]+", "/webhook_endpoints.*"),
)
# Of an answer's body, and of its details.
KEPT = """order_ledger_id status total_amount_cents error refund_id amount_cents items restock failure cancellation
    refunded_cents events id secret resent""".split()
KEPT_DETAILS = {
    "decline_code": "decline_code",
    "status": "present_status",
    "use": "use",
    "remaining_cents": "remaining",
}


class ClientLog:
    """JSON lines. Thread-safe; `write` hands the line to the operating system."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._file = path.open("a", buffering=1)

    def write(self, call: str, key: str, **facts: Any) -> None:
        line = json.dumps({"at": round(time.time(), 3), "call": call, "key": key, **facts})
        with self._lock:
            self._file.write(line + "\n")

    def close(self) -> None:
        self._file.close()


def read(path: Path) -> Iterator[dict[str, Any]]:
    """All lines, in order."""
    with path.open() as lines:
        yield from map(json.loads, lines)


class Recorder(HTTPAdapter):
    """A transport adapter that logs each attempt of each call with its outcome."""

    def __init__(self, log: ClientLog) -> None:
        super().__init__(max_retries=0)
        self._log = log

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        path = str(request.path_url).partition("?")[0]
        call = next(name for name, *form in CALLS if re.fullmatch(" ".join(form), f"{request.method} {path}"))
        name = str(request.headers.get("Idempotency-Key") or path.rpartition("/")[2])
        sent = round(time.time(), 3)
        try:
            response = super().send(request, *args, **kwargs)
            response.content  # noqa: B018  # read here because the connection may break in the middle
        except requests.RequestException as error:
            self._log.write(call, name, sent=sent, answer=None, why=type(error).__name__)
            raise
        self._log.write(call, name, sent=sent, answer=response.status_code, **_facts(response))
        return response


def _facts(response: requests.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {"unreadable": response.text[:200]}
    facts = {name: body[name] for name in KEPT if name in body}
    details = body.get("details") or {}
    facts |= {ours: details[name] for name, ours in KEPT_DETAILS.items() if name in details}
    return facts | {"replayed": True} if response.headers.get("Idempotency-Replayed") == "true" else facts
