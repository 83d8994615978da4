"""The process that delivers events to the webhook endpoints of clients. It drains on SIGTERM.

Start it with `python -m webhooks`. Any number may run at once. It holds no state: what is due is in the database.
"""

from __future__ import annotations

import logging
import os
import socket
import ssl
import sys
import threading
import time
import uuid
from pathlib import Path

from common.calls.transport import trusting
from common.database import start
from common.database.database import Database
from common.heartbeats.heartbeat import Heartbeat, Pool, State
from common.process import logs, measures
from common.process.settings import SettingError, Settings
from common.process.threads import Threads, drained
from common.tracing import tracer
from webhooks.alert_store import AlertStore
from webhooks.alerts import Alerts, Receiver
from webhooks.delivery import Delivery, Outcome, word
from webhooks.dispatcher import Dispatcher
from webhooks.fan_out import FanOut
from webhooks.sending import Sender
from webhooks.store import Store
from webhooks.tracing import attempt

log = logging.getLogger("webhooks")

END_WITHIN_S = 2  # to tell the database that it has stopped
CONNECTIONS = 4  # one claims, one makes deliveries, the others save outcomes and look for alerts
DRAIN_WITHIN_S = 22  # a platform kills after 25 to 30 s; an attempt takes at most 15 s


class Webhooks:
    """A thread that makes deliveries of new events, one that claims them, and the threads that attempt them.

    One more tells operators, if ALERT_WEBHOOK_URL is set.
    """

    def __init__(self, settings: Settings) -> None:
        database = Database(settings.database_url, name="webhooks", size=CONNECTIONS)
        self.pool = database.usage
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

        interval_s = settings.webhook_poll_interval_s
        self._dispatcher = Dispatcher(
            store, lambda delivery: _measured(sender, delivery), settings.webhook_threads, interval_s
        )
        self._fan_out = FanOut(store, self._dispatcher.wake, interval_s, self._dispatcher.stopping)
        self._heartbeat = Heartbeat(
            settings.database_url, "webhooks", self.claimant, self._state, self.threads.stopping
        )
        self._alerts = _alerts(settings, database, sender, self._dispatcher.stopping)

    def run(self) -> int:
        """Work until told to stop. :returns: the exit code: 0, or 1 when a thread died"""
        self.threads.start("fan-out", self._fan_out.run)
        self.threads.start("dispatcher", self._dispatcher.run)
        self.threads.start("heartbeat", self._heartbeat.run)
        if self._alerts:
            self.threads.start("alerts", self._alerts.run)
        self.threads.wait()
        log.info("stopping with %d deliveries in flight", self._dispatcher.in_flight)
        if not drained(self._stop, DRAIN_WITHIN_S):
            log.warning("%d deliveries are left to their leases after %d s", self._dispatcher.in_flight, DRAIN_WITHIN_S)
        if self.threads.has_failed:
            return 1
        drained(self._heartbeat.end, END_WITHIN_S)
        return 0

    def _state(self) -> State:
        return State(
            pools={"deliveries": Pool(self._dispatcher.in_flight, self._dispatcher.threads)},
            loops={"dispatcher": self._dispatcher.progress, "fan-out": self._fan_out.progress},
        )

    def _stop(self) -> None:
        self._dispatcher.stop()
        if self._alerts:
            self._alerts.wait()


def _measured(sender: Sender, delivery: Delivery) -> Outcome:
    began = time.perf_counter()
    outcome = attempt(sender, delivery)
    measures.delivery(word(outcome), time.perf_counter() - began)
    return outcome


def _alerts(settings: Settings, database: Database, sender: Sender, stopping: threading.Event) -> Alerts | None:
    """What tells operators. None: they have no webhook."""
    url = settings.alert_webhook_url
    if not url:
        return None
    form, secret = settings.alert_webhook_format, settings.alert_webhook_secret
    receiver = Receiver(sender.post, url, form, secret, settings.holdfast_console_url)
    return Alerts(AlertStore(database, settings.webhook_lease_s), receiver, stopping)


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
    tracer.start(settings, "webhooks")
    webhooks = Webhooks(settings)
    webhooks.threads.stop_on_signals()
    start.record(settings, "webhooks", webhooks.threads.stop)
    if settings.metrics_port:
        from webhooks.metrics import serve  # noqa: PLC0415  # only where it is wanted

        serve(settings, webhooks.pool)
    log.info("started with %d threads", settings.webhook_threads, extra={"process_id": os.getpid()})
    code = webhooks.run()
    tracer.stop()
    log.info("stopped")
    logging.shutdown()
    os._exit(code)  # the interpreter would wait for a thread that hangs; all that matters is in the database


if __name__ == "__main__":
    sys.exit(main())
