"""Claims due deliveries and hands them to the thread pool. It never claims more than there are free threads."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from common.database import entry_errors
from common.database.errors import TransientDatabaseError
from webhooks.delivery import Answer, Delivery, Outcome, is_success
from webhooks.schedule import delay_after
from webhooks.store import Store

LONGEST_PAUSE_S = 1.0  # while the database does not answer
log = logging.getLogger(__name__)


class Dispatcher:
    """The loop that attempts deliveries. It looks every `poll_interval_s`, and whenever a thread becomes free.

    Endpoints that fail, and so may be slow, have at most half of the threads. They cannot hold up the others.
    """

    def __init__(
        self, store: Store, attempt: Callable[[Delivery], Outcome], threads: int, poll_interval_s: float
    ) -> None:
        self._store, self._attempt, self._threads, self._poll_interval_s = store, attempt, threads, poll_interval_s
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="delivery")
        self._lock = threading.Lock()  # guards the next two
        self._in_flight: dict[tuple[str, int], Delivery] = {}  # by id and claim number
        self._has_stranded_claims = False
        self._claiming = threading.Lock()
        self._woken = threading.Event()
        self.stopping = threading.Event()

    def wake(self) -> None:
        """Look for due deliveries now. Safe to call from any thread, at any time."""
        self._woken.set()

    def run(self) -> None:
        """Dispatch until stopped."""
        while not self.stopping.is_set():
            if not self.run_once():
                self._woken.wait(self._poll_interval_s)
            self._woken.clear()

    def run_once(self) -> int:
        """Claim what is due, and submit it. :returns: how many deliveries were claimed"""
        with self._claiming:
            if self.stopping.is_set():
                return 0
            try:
                self._release_stranded()
                return sum(self._claim(row["id"], is_failing=row["is_failing"]) for row in self._store.due())
            except TransientDatabaseError as error:
                log.warning("cannot claim deliveries, will retry: %s", error)
                self._note_stranded()  # the lost answer may have been that of a claim
                self.stopping.wait(min(self._poll_interval_s, LONGEST_PAUSE_S))
                return 0

    def stop(self) -> None:
        """Stop claiming, and wait for the deliveries in flight."""
        with self._claiming:
            self.stopping.set()
        self.wake()
        self._executor.shutdown(wait=True)

    @property
    def in_flight(self) -> int:
        """How many deliveries are being attempted."""
        with self._lock:
            return len(self._in_flight)

    def _claim(self, endpoint_id: str, *, is_failing: bool) -> int:
        free = self._free(is_failing=is_failing)
        if free <= 0:
            return 0
        deliveries = self._store.claim(endpoint_id, free)
        for delivery in deliveries:
            with self._lock:
                self._in_flight[delivery.id, delivery.claim_number] = delivery
            self._executor.submit(self._work, delivery)
        return len(deliveries)

    def _free(self, *, is_failing: bool) -> int:
        with self._lock:
            free = self._threads - len(self._in_flight)
            failing = sum(delivery.is_failing for delivery in self._in_flight.values())
        return min(free, max(self._threads // 2, 1) - failing) if is_failing else free

    def _work(self, delivery: Delivery) -> None:
        is_stranded = False
        try:
            outcome = self._attempt(delivery)
            if self._store.save(delivery, outcome):
                _log(delivery, outcome)
        except Exception as error:
            is_stranded = self._handle(delivery, error)
        finally:
            with self._lock:
                del self._in_flight[delivery.id, delivery.claim_number]
            if is_stranded:
                self._note_stranded()
            self.wake()

    def _handle(self, delivery: Delivery, error: Exception) -> bool:
        """:returns: whether to release the claim as soon as the database answers"""
        if entry_errors.may_be_one_entry(error):
            self._store.set_aside(delivery.id, error)
            return False
        log.warning("cannot save a delivery, its claim will be given back: %s", error, extra=_about(delivery))
        return True

    def _note_stranded(self) -> None:
        with self._lock:
            self._has_stranded_claims = True

    def _release_stranded(self) -> None:
        with self._lock:
            in_flight = {id_ for id_, _ in self._in_flight}
            has_stranded_claims, self._has_stranded_claims = self._has_stranded_claims, False
        if has_stranded_claims:
            self._store.release_stranded(in_flight)


def _log(delivery: Delivery, outcome: Outcome) -> None:
    """Neither the URL nor what the receiver answered: both may contain a secret."""
    if is_success(outcome):
        log.debug("delivered", extra=_about(delivery))
        return
    answer = f"status {outcome.status}" if isinstance(outcome, Answer) else outcome.reason
    if delay_after(delivery.attempts + 1) is None:
        log.warning("a delivery failed for the last time: %s", answer, extra=_about(delivery))
    else:
        log.info("a delivery failed and will be retried: %s", answer, extra=_about(delivery))


def _about(delivery: Delivery) -> dict[str, object]:
    return {
        "webhook_endpoint_id": delivery.endpoint_id,
        "webhook_delivery_id": delivery.id,
        "event_id": delivery.message_id,
        "attempt": delivery.attempts + 1,
    }
