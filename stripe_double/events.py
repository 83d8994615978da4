"""Events: written in the transaction of what they tell of, and sent by a thread until they are accepted."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import secrets
import threading
import time
from pathlib import Path

import requests

from stripe_double.store import Object, Store, opened

API_VERSION = "2026-08-26.dahlia"
CHANCE = random.SystemRandom()
REORDERS_WITHIN_S = 1.0
ANSWERS_WITHIN_S = (1.0, 5.0)  # to connect, and to read
FIRST_RETRY_S, LONGEST_RETRY_S = 0.2, 5.0  # Stripe waits for hours


def send_to(store: Store, endpoint: Object) -> None:
    """Set the endpoint: its `url` and `secret`. Without a URL nothing is sent."""
    store.set("endpoint", endpoint)
    if not endpoint["url"]:
        store.remove_webhooks()


def tell(store: Store, type_: str, thing: Object) -> Object:
    """Queue an event about an object, if there is an endpoint. :returns: the object"""
    if store.setting("endpoint").get("url"):
        ways = store.setting("webhooks")
        body = json.dumps(_event(store, type_, thing))
        for _ in range(2 if ways.get("double") else 1):
            later_s = CHANCE.uniform(0, REORDERS_WITHIN_S) if ways.get("reorder") else 0
            store.add_webhook(body, None if ways.get("hold") else time.time() + later_s)
    return thing


def _event(store: Store, type_: str, thing: Object) -> Object:
    return {
        "id": f"evt_{secrets.token_hex(12)}",
        "object": "event",
        "api_version": API_VERSION,
        "created": store.now(),
        "data": {"object": thing},
        "livemode": False,
        "pending_webhooks": 1,
        "request": store.request,
        "type": type_,
    }


class Sender:
    """`run` sends what is queued until `stop`. `wake`: there may be something new."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._woken = threading.Event()
        self._is_over = False

    def wake(self) -> None:
        self._woken.set()

    def stop(self) -> None:
        self._is_over = True
        self._woken.set()

    def run(self) -> None:
        while not self._is_over:
            self._woken.clear()
            pause_s = self._send_one()
            self._woken.wait(pause_s)

    def _send_one(self) -> float | None:
        """Send one webhook that is due. :returns: seconds until the next one; None: nothing is queued"""
        with opened(self._path) as store:
            endpoint, newest_first = store.setting("endpoint"), bool(store.setting("webhooks").get("reorder"))
            due = store.due_webhook(time.time(), newest_first=newest_first)
            if due is None:
                next_at = store.next_webhook_at()
                return None if next_at is None else max(0.0, next_at - time.time())
        number, body, attempts = due
        is_accepted = _is_accepted(endpoint["url"], endpoint["secret"], body)
        with opened(self._path) as store:
            if is_accepted:
                store.remove_webhook(number)
            else:
                store.postpone_webhook(number, time.time() + min(FIRST_RETRY_S * 2**attempts, LONGEST_RETRY_S))
        return 0.0


def _is_accepted(url: str, secret: str, body: str) -> bool:
    headers = {"Content-Type": "application/json; charset=utf-8", "Stripe-Signature": signature(secret, body)}
    with requests.Session() as session:
        session.trust_env = False
        try:
            answer = session.post(
                url, data=body.encode(), headers=headers, timeout=ANSWERS_WITHIN_S, allow_redirects=False
            )
        except requests.RequestException:
            return False
        return answer.status_code // 100 == 2


def signature(secret: str, body: str) -> str:
    """The header of a webhook that is sent now. The time is the real one, which receivers compare with theirs."""
    at = int(time.time())
    digest = hmac.new(secret.encode(), f"{at}.{body}".encode(), hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"
