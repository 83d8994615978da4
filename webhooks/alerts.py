"""The loop that tells operators of what needs them, by a webhook of their own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

from common.database import entry_errors
from common.database.errors import TransientDatabaseError
from common.webhooks.secrets import signature
from webhooks import alert_text
from webhooks.alert_store import AlertStore, Message
from webhooks.delivery import Answer, Outcome, is_success
from webhooks.store import USER_AGENT

LOOK_EVERY_S = 30.0
log = logging.getLogger(__name__)

Post = Callable[[str, Mapping[str, str], bytes], Outcome]


class Receiver:
    """Where operators are told, and in which form. Its URL may be a secret, and is not logged."""

    def __init__(self, post: Post, url: str, form: str, secret: str, console_url: str) -> None:
        """:param secret: signs as the webhooks of clients are signed; empty: no signature"""
        self._post, self._url, self._form, self._secret, self._console_url = post, url, form, secret, console_url

    def tell(self, message: Message) -> Outcome:
        """Send a message, once."""
        body = alert_text.body(message, self._form, self._console_url)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "webhook-id": message.id,
            "webhook-timestamp": str(message.timestamp),
        }
        if self._secret:
            headers["webhook-signature"] = signature([self._secret], message.id, message.timestamp, body)
        return self._post(self._url, headers, body)


class Alerts:
    """Looks every 30 s. Nothing that goes wrong here holds up a delivery to a client."""

    def __init__(self, store: AlertStore, receiver: Receiver, stopping: threading.Event) -> None:
        self._store, self._receiver, self._stopping = store, receiver, stopping
        self._telling = threading.Lock()

    def run(self) -> None:
        """Look and tell until stopped."""
        while not self._stopping.is_set():
            self.run_once()
            self._stopping.wait(LOOK_EVERY_S)

    def run_once(self) -> int:
        """Look, and send what is due. :returns: how many messages have arrived"""
        try:
            self._store.look()
            return self._tell_all()
        except TransientDatabaseError as error:
            log.warning("cannot look for what operators must be told, will retry: %s", error)
        except Exception as error:  # a process that dies here would hold up the deliveries to clients
            log.error("cannot tell operators, will retry: %s", entry_errors.reason(error), exc_info=error)
        return 0

    def wait(self) -> None:
        """Wait until the message in flight is sent and noted. To be called once the process is stopping."""
        with self._telling:
            pass

    def _tell_all(self) -> int:
        told = 0
        while True:
            with self._telling:
                if self._stopping.is_set() or not (message := self._store.claim()):
                    return told
                told += self._tell(message)

    def _tell(self, message: Message) -> bool:
        outcome = self._receiver.tell(message)
        if is_success(outcome):
            self._store.save_told(message)
            return True
        pause_s = self._store.save_failed(message)
        why = f"it answered {outcome.status}" if isinstance(outcome, Answer) else outcome.reason
        log.warning(
            "the receiver of alerts (ALERT_WEBHOOK_URL) does not take one, will retry in %.0f s: %s",
            pause_s, why, extra={"alert": message.kind, "attempts": message.attempts},
        )  # fmt: skip
        return False
