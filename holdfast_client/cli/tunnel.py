"""Posts events to an address, signed, in the order of each order, and again until the receiver accepts them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests

from holdfast_client.models import Event
from holdfast_client.webhooks import SECRET_PREFIX

TIMEOUT_S = (5, 15)  # the second is what Holdfast allows a receiver
# Seconds after each failed attempt. Holdfast waits for longer; here someone is at work on the receiver.
DELAYS_S = (2, 5, 15, 60, 300)
MOST_WAITING = 1000  # then the feed is not read on
GONE = 410


@dataclass(frozen=True)
class Answer:
    """What the receiver answered. `status` is None and `problem` a sentence if there was no answer."""

    status: int | None
    problem: str = ""

    @property
    def is_yes(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


@dataclass
class Delivery:
    """An event, and when it is due. `answer` is the last one."""

    event: Event
    attempts: int = 0
    due: float = 0
    answer: Answer | None = None


class Sender:
    """Posts single events to the address, as Standard Webhooks specifies."""

    def __init__(self, url: str, secret: str, *, now: Callable[[], float] = time.time) -> None:
        self._url, self._secret, self._now = url, secret, now
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy cannot reach this machine's ports

    def send(self, event: Event) -> Answer:
        body = json.dumps(_body(event), ensure_ascii=False, separators=(",", ":")).encode()
        timestamp = int(self._now())
        headers = {
            "Content-Type": "application/json",
            "webhook-id": event.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(self._secret, event.id, timestamp, body),
        }
        try:
            # Read no body: only the status counts.
            with self._session.post(
                self._url, data=body, headers=headers, timeout=TIMEOUT_S, allow_redirects=False, stream=True
            ) as response:
                return Answer(response.status_code)
        except requests.Timeout:
            return Answer(None, f"no answer within {TIMEOUT_S[1]} s")
        except requests.ConnectionError:
            return Answer(None, "no answer: is the receiver running?")
        except requests.RequestException as error:
            return Answer(None, f"no answer: {type(error).__name__}")


class Tunnel:
    """The events that wait for delivery. An event waits for the one before it of the same order."""

    def __init__(
        self, send: Callable[[Event], Answer], tell: Callable[[Delivery, float | None], None],
        *, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """:param tell: called after each attempt, with the seconds until the next one, or None"""
        self._send, self._tell, self._clock = send, tell, clock
        self._waiting: dict[str, deque[Delivery]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    @property
    def is_full(self) -> bool:
        return len(self) >= MOST_WAITING

    def add(self, event: Event) -> None:
        self._waiting.setdefault(event.order_ledger_id, deque()).append(Delivery(event))

    def send_due(self) -> None:
        """Send what is due, for each order as long as the receiver accepts."""
        for order, deliveries in list(self._waiting.items()):
            while deliveries and deliveries[0].due <= self._clock():
                if self._has_ended(deliveries[0]):
                    deliveries.popleft()
            if not deliveries:
                del self._waiting[order]

    def _has_ended(self, delivery: Delivery) -> bool:
        answer = delivery.answer = self._send(delivery.event)
        delivery.attempts += 1
        is_last = answer.is_yes or answer.status == GONE or delivery.attempts > len(DELAYS_S)
        delay = None if is_last else DELAYS_S[delivery.attempts - 1]
        delivery.due = self._clock() + (delay or 0)
        self._tell(delivery, delay)
        return is_last


def new_secret() -> str:
    """`whsec_` and 32 random bytes in base64."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`. :param timestamp: in seconds since 1970"""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    content = f"{message_id}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()}"


def _body(event: Event) -> dict[str, Any]:
    """What Holdfast posts: the event without its id, with every field of this server, known here or not."""
    return {name: value for name, value in event.raw.items() if name != "id"}


def as_line(delivery: Delivery, delay_s: float | None) -> dict[str, Any]:
    """An attempt, for people and for JSON."""
    event, answer = delivery.event, delivery.answer or Answer(None)
    return {
        "event_id": event.id,
        "type": event.type,
        "order_ledger_id": event.order_ledger_id,
        "sequence": event.sequence,
        "attempt": delivery.attempts,
        "status": answer.status,
        "problem": answer.problem or None,
        "next_attempt_in_s": delay_s,
    }
