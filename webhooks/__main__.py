"""The process that delivers events to the webhook endpoints of clients. It drains on SIGTERM.

Start it with `python -m webhooks`. Any number may run at once. It holds no state: what is due is in the database.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import ssl
import sys
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from common.calls.transport import trusting
from common.database import start
from common.database.database import Database
from common.process import logs
from common.process.settings import SettingError, Settings
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
        store = Store(database, self.claimant, settings.webhook_in_flight_per_endpoint)
        sender = Sender(
            _trusting(settings.ca_bundle),
            settings.webhook_allow_networks,
            settings.webhook_timeout_s,
            only_https=settings.app_env == "production",
        )
        self._stop_reader, self.stop_writer = os.pipe()
        os.set_blocking(self.stop_writer, False)
        self._failed = False

        def attempt(delivery: Delivery) -> Outcome:
            return sender.post(delivery.url, delivery.headers, delivery.body)

        interval_s = settings.webhook_poll_interval_s
        self._dispatcher = Dispatcher(store, attempt, settings.webhook_threads, interval_s)
        self._fan_out = FanOut(store, self._dispatcher.wake, interval_s, self._dispatcher.stopping)

    def run(self) -> int:
        """Work until told to stop. :returns: the exit code: 0, or 1 when a thread died"""
        self._start("fan-out", self._fan_out.run)
        self._start("dispatcher", self._dispatcher.run)
        os.read(self._stop_reader, 1)
        log.info("stopping with %d deliveries in flight", self._dispatcher.in_flight)
        drain = threading.Thread(target=self._dispatcher.stop, name="drain", daemon=True)
        drain.start()
        drain.join(DRAIN_WITHIN_S)
        if drain.is_alive():
            log.warning("%d deliveries are left to their leases after %d s", self._dispatcher.in_flight, DRAIN_WITHIN_S)
        return 1 if self._failed else 0

    def stop(self) -> None:
        """Make `run` return, once the deliveries in flight are done. Safe to call from any thread."""
        with suppress(BlockingIOError):  # the pipe is full of such requests
            os.write(self.stop_writer, b"\0")

    def _start(self, name: str, work: Callable[[], None]) -> None:
        threading.Thread(target=self._watched, args=(name, work), name=name, daemon=True).start()

    def _watched(self, name: str, work: Callable[[], None]) -> None:
        """End the process when the thread dies. The supervisor starts a new one."""
        try:
            work()
        except BaseException:
            log.critical("the %s thread died", name, exc_info=True)
            self._failed = True
        finally:
            self.stop()


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
    _stop_on_signals(webhooks)
    start.record(settings, "webhooks", webhooks.stop)
    log.info("started with %d threads", settings.webhook_threads, extra={"process_id": os.getpid()})
    code = webhooks.run()
    log.info("stopped")
    logging.shutdown()
    os._exit(code)  # the interpreter would wait for a thread that hangs; all that matters is in the database


def _stop_on_signals(webhooks: Webhooks) -> None:
    """Have the C level write to the pipe, whichever thread the signal interrupts (as in the orchestrator)."""
    signal.set_wakeup_fd(webhooks.stop_writer)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)


if __name__ == "__main__":
    sys.exit(main())
