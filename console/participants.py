"""Whether the participants are healthy, as their own `/health` says.

They are asked in the background, and only while somebody looks. No page waits for them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import requests

from common.process.settings import Settings

EVERY_S = 5.0
STALE_S = 30.0  # an answer that is older says nothing about now: nobody has looked since
# A service answers /health within 2 s, whatever state its database is in.
CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 1.0, 3.0
MAX_BYTES = 4096
HEALTHY, UNHEALTHY, SILENT, ASKING = "healthy", "unhealthy", "silent", "not asked yet"
Ask = Callable[[str], tuple[str, str]]
log = logging.getLogger(__name__)


@dataclass
class _Participant:
    name: str
    url: str
    state: str = ASKING
    detail: str = ""
    answered: float | None = None
    """By the monotonic clock."""
    asked: float = float("-inf")
    is_being_asked: bool = False


class Participants:
    """Each is asked at most every five seconds, by a thread of its own that ends with the answer."""

    def __init__(self, urls: Mapping[str, str], ask: Ask, clock: Callable[[], float] = time.monotonic) -> None:
        """:param ask: address → state and detail"""
        self._known = [_Participant(name, url) for name, url in urls.items()]
        self._ask, self._clock = ask, clock
        self._lock = threading.Lock()

    @classmethod
    def of(cls, settings: Settings) -> Participants:
        urls = {
            "orders_service": settings.orders_service_url,
            "inventory_service": settings.inventory_service_url,
            "payments_service": settings.payments_service_url,
        }
        return cls(urls, lambda url: health_at(url, settings.ca_bundle))

    def latest(self) -> list[dict[str, Any]]:
        """What each has last answered. Returns at once, and asks those that have not been asked for five seconds.

        Where nobody has looked for half a minute, the state is unknown until the answer comes.
        """
        now = self._clock()
        with self._lock:
            due = [each for each in self._known if not each.is_being_asked and now - each.asked >= EVERY_S]
            for each in due:
                if now - each.asked >= STALE_S:
                    each.state, each.detail = ASKING, ""
                each.is_being_asked, each.asked = True, now
            found = [
                {
                    "name": each.name,
                    "state": each.state,
                    "detail": each.detail,
                    "answered_ago_s": None if each.answered is None else round(now - each.answered, 1),
                }
                for each in self._known
            ]
        for each in due:
            threading.Thread(target=self._refresh, args=(each,), name=f"health {each.name}", daemon=True).start()
        return found

    def _refresh(self, participant: _Participant) -> None:
        try:
            state, detail = self._ask(participant.url)
        except Exception:  # otherwise the participant would never be asked again
            log.exception("cannot ask %s for its health", participant.name)
            state, detail = SILENT, "see the console's log"
        with self._lock:
            participant.state, participant.detail, participant.is_being_asked = state, detail, False
            if state != SILENT:
                participant.answered = self._clock()


def health_at(url: str, ca_bundle: str = "") -> tuple[str, str]:
    """Ask the service at this address for its health."""
    with requests.Session() as session:
        session.trust_env = False  # the participants are not behind a proxy
        session.verify = ca_bundle or True
        try:
            with session.get(
                f"{url}/health", timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S), allow_redirects=False, stream=True
            ) as answer:
                body = answer.raw.read(MAX_BYTES, decode_content=True)
        except (requests.RequestException, OSError) as error:
            return SILENT, "timeout" if isinstance(error, requests.Timeout) else "no connection"
    if answer.status_code == requests.codes.ok:
        return HEALTHY, ""
    if answer.status_code == requests.codes.unavailable and b'"unhealthy"' in body:
        return UNHEALTHY, "its database is not migrated" if b"not migrated" in body else "it has no database"
    return UNHEALTHY, f"answers {answer.status_code}"
