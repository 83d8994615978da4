"""The process that delivers events to the webhook endpoints of clients. It drains on SIGTERM.

Start it with `python -m webhooks`. Any number may run at once. It holds no state: what is due is in the database.
"""

from __future__ import annotations

import logging
import os
import socket
import ssl
import sys
import uuid
from pathlib import Path

from common.calls.transport import trusting
from common.database import start
from common.database.database import Database
from common.process import logs
from common.process.settings import SettingError, Settings
from common.process.threads import Threads, drained
from webhooks.delivery import Delivery, Outcome
from webhooks.dispatcher import Dispatcher
from webhooks.fan_out import FanOut
from webhooks.sending import Sender
from webhooks.store import Store

log = logging.getLogger("webhooks")

CONNECTIONS = 4  # one claims, one makes deliveries, the others save outcomes
DRAIN_WITHIN_S = 22  # a platform kills after 25 to 30 s; an attempt takes at most 15 s


class Webhooks:
    """A thread that makes deliveries of new events, one that claims them, and the threads that attempt them."""

    def __init__(self, settings: Settings) -> None:
        database = Database(settings.database_url, name="webhooks", size=CONNECTIONS)
        self.claimant = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4()}"
        in_flight, lease_s = settings.webhook_in_flight_per_endpoint, settings.webhook_lease_s
        store = Store(database, self.claimant, in_flight, lease_s)
        sender = Sender(
            _trusting(settings.ca_bundle),
            settings.webhook_allow_networks,
            settings.webhook_timeout_s,
            only_https=settings.app_env == "production",
        )
        self.threads = Threads(log)

        def attempt(delivery: Delivery) -> Outcome:
            return sender.post(delivery.url, delivery.headers, delivery.body)

        interval_s = settings.webhook_poll_interval_s
        self._dispatcher = Dispatcher(store, attempt, settings.webhook_threads, interval_s)
        self._fan_out = FanOut(store, self._dispatcher.wake, interval_s, self._dispatcher.stopping)

    def run(self) -> int:
        """Work until told to stop. :returns: the exit code: 0, or 1 when a thread died"""
        self.threads.start("fan-out", self._fan_out.run)
        self.threads.start("dispatcher", self._dispatcher.run)
        self.threads.wait()
        log.info("stopping with %d deliveries in flight", self._dispatcher.in_flight)
        if not drained(self._dispatcher.stop, DRAIN_WITHIN_S):
            log.warning("%d deliveries are left to their leases after %d s", self._dispatcher.in_flight, DRAIN_WITHIN_S)
        return 1 if self.threads.has_failed else 0


def _trusting(ca_bundle: str) -> ssl.SSLContext:
    """How to verify receivers: with the usual certificates, and with those of a private CA as well."""
    context = trusting()
    if ca_bundle:
        is_folder = Path(ca_bundle).is_dir()
        context.load_verify_locations(capath=ca_bundle if is_folder else None, cafile=None if is_folder else ca_bundle)
    return context


def main() -> int:
    try:
        settings = Settings.load(process="webhooks")
    except SettingError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if problem := start.role_problem(settings, "webhooks"):
        sys.stderr.write(f"{problem}\n")
        return 1
    logs.configure("webhooks", settings.log_level, settings.log_format)
    webhooks = Webhooks(settings)
    webhooks.threads.stop_on_signals()
    start.record(settings, "webhooks", webhooks.threads.stop)
    log.info("started with %d threads", settings.webhook_threads, extra={"process_id": os.getpid()})
    code = webhooks.run()
    log.info("stopped")
    logging.shutdown()
    os._exit(code)  # the interpreter would wait for a thread that hangs; all that matters is in the database


if __name__ == "__main__":
    sys.exit(main())
