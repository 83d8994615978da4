"""The orchestrator process: wires its parts, runs its threads, drains on SIGTERM.

`python -m orchestrator`. Any number may run at once.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Callable

from common.calls.breaker import Breaker
from common.calls.client import ServiceClient
from common.database.database import Database
from common.process import logs
from common.process.settings import SettingError, Settings
from crash_points import points as crash_points
from orchestrator.dispatcher import Dispatcher
from orchestrator.engine import Engine
from orchestrator.listener import Listener
from orchestrator.participants import Participant, Participants
from orchestrator.saga import RetryPolicy
from orchestrator.store import Store

log = logging.getLogger("orchestrator")

CONNECTIONS = 4  # one writes for all threads, one claims; the others are for what is given back at the end
SIGNAL_SEEN_WITHIN_S = 0.5
DRAIN_WITHIN_S = 22  # a platform kills after 25 to 30 s; two calls of 10 s each are the most that a thread has in hand


class Orchestrator:
    """A listener thread, a polling thread and the saga threads; `wait` returns when asked to stop or when one died."""

    def __init__(self, settings: Settings) -> None:
        database = Database(settings.database_url, name="orchestrator", size=CONNECTIONS)
        self.claimant = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4()}"
        store = Store(database, self.claimant, settings.lease_s)
        self._stop = threading.Event()
        self._failed = False
        engine = Engine(
            ask=_participants(settings).ask,
            save=store.save,
            release=store.release,
            policy=RetryPolicy(
                settings.retry_base_s, settings.retry_factor, settings.retry_max_attempts, settings.retry_jitter
            ),
            is_stopping=self._stop.is_set,
        )
        self._dispatcher = Dispatcher(store, engine.run, settings.worker_threads, settings.poll_interval_s)
        self._listener = Listener(settings.database_direct_url, self._dispatcher.wake, self._stop)

    def run(self) -> int:
        """Work until told to stop. :returns: the exit code: 0, or 1 when a thread died"""
        self._start("listener", self._listener.run)
        self._start("dispatcher", self._dispatcher.run)
        # In short turns: a signal that the kernel hands to another thread does not end an unlimited wait of this one.
        while not self._stop.wait(SIGNAL_SEEN_WITHIN_S):
            pass
        log.info("stopping with %d orders in hand", self._dispatcher.in_hand)
        drain = threading.Thread(target=self._dispatcher.stop, name="drain", daemon=True)
        drain.start()
        drain.join(DRAIN_WITHIN_S)
        if drain.is_alive():
            log.warning("after %d s, %d orders are left to their leases", DRAIN_WITHIN_S, self._dispatcher.in_hand)
        return 1 if self._failed else 0

    def stop(self) -> None:
        self._stop.set()

    def _start(self, name: str, work: Callable[[], None]) -> None:
        threading.Thread(target=self._watched, args=(name, work), name=name, daemon=True).start()

    def _watched(self, name: str, work: Callable[[], None]) -> None:
        """A thread that dies takes the process with it: the supervisor starts a new one."""
        try:
            work()
        except BaseException:
            log.critical("the %s thread died", name, exc_info=True)
            self._failed = True
        finally:
            self._stop.set()


def _participants(settings: Settings) -> Participants:
    def participant(name: str, url: str) -> Participant:
        return Participant(ServiceClient(name, url), Breaker(pause_s=settings.retry_base_s))

    return Participants(
        orders=participant("orders", settings.orders_service_url),
        inventory=participant("inventory", settings.inventory_service_url),
        payments=participant("payments", settings.payments_service_url),
    )


def main() -> int:
    try:
        settings = Settings.load()
        crash_points.arm(settings.crash_at)
    except SettingError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    logs.configure("orchestrator", settings.log_level, settings.log_format)
    orchestrator = Orchestrator(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: orchestrator.stop())
    log.info("started with %d threads", settings.worker_threads, extra={"process_id": os.getpid()})
    code = orchestrator.run()
    log.info("stopped")
    logging.shutdown()
    os._exit(code)  # the interpreter would wait for a saga's thread that hangs; whatever is saved is in the database


if __name__ == "__main__":
    sys.exit(main())
