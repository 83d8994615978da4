"""Claims due deliveries and hands them to the thread pool. It never claims more than there are free threads."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from common.database import entry_errors
from common.database.errors import TransientDatabaseError
from common.process.progress import Progress
from webhooks.delivery import Answer, Claim, Delivery, Done, Outcome, is_success
from webhooks.schedule import delay_after
from webhooks.slow import SlowEndpoints
from webhooks.store import Store

LONGEST_PAUSE_S = 1.0  # while the database does not answer
SAVE_WITHIN_S, TRY_AGAIN_EVERY_S = 5.0, 0.1  # after the last attempt of a process that stops
NONE = 0, 0  # the limits of a turn that claims nothing
log = logging.getLogger(__name__)


class Dispatcher:
    """The loop that claims deliveries, and saves what became of them.

    One transaction saves the outcomes of an endpoint that have come in and claims its next deliveries, so the busier an
    endpoint is, the less a delivery costs. An endpoint that is slow or failing has one delivery in flight, and those
    endpoints together have at most half of the threads. They cannot hold up the others.
    """

    def __init__(
        self, store: Store, attempt: Callable[[Delivery], Outcome], threads: int, poll_interval_s: float
    ) -> None:
        self._store, self._attempt, self._threads, self._poll_interval_s = store, attempt, threads, poll_interval_s
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="delivery")
        self._lock = threading.Lock()  # guards the next three
        # By id and claim number, until the outcome is saved
        self._in_flight: dict[Claim, Delivery] = {}
        self._done: dict[Claim, Done] = {}
        self._has_stranded_claims = False
        self._look_at = 0.0  # when to look for endpoints with due deliveries
        self._slow = SlowEndpoints()
        self._claiming = threading.Lock()
        self._woken = threading.Event()
        self.stopping = threading.Event()
        self.progress = Progress(max(poll_interval_s, LONGEST_PAUSE_S))

    def wake(self) -> None:
        """Look for due deliveries now. Safe to call from any thread, at any time."""
        self._look_at = 0.0
        self._woken.set()

    def run(self) -> None:
        """Dispatch until stopped."""
        while not self.stopping.is_set():
            self.progress.mark()
            if not self.run_once() and not self._woken.wait(self._poll_interval_s):
                self._look_at = 0.0
            self._woken.clear()

    def run_once(self) -> int:
        """Save outcomes, claim what is due, and submit it. :returns: how many deliveries were claimed"""
        with self._claiming:
            if self.stopping.is_set():
                return 0
            try:
                self._release_stranded()
                return self._settle() + self._look()
            except TransientDatabaseError as error:
                log.warning("cannot claim deliveries or save outcomes, will retry: %s", error)
                self._note_stranded()  # the lost answer may have been that of a claim
                self.stopping.wait(min(self._poll_interval_s, LONGEST_PAUSE_S))
                return 0

    def stop(self) -> None:
        """Stop claiming, wait for the deliveries in flight, and save their outcomes."""
        with self._claiming:
            self.stopping.set()
        self.wake()
        self._executor.shutdown(wait=True)
        deadline = time.monotonic() + SAVE_WITHIN_S
        while self._done and time.monotonic() < deadline:
            with self._claiming, suppress(TransientDatabaseError):
                self._settle()
            time.sleep(TRY_AGAIN_EVERY_S if self._done else 0)

    @property
    def in_flight(self) -> int:
        """How many deliveries are being attempted, or wait for their outcome to be saved."""
        with self._lock:
            return len(self._in_flight)

    @property
    def threads(self) -> int:
        """How many deliveries can be attempted at once."""
        return self._threads

    def _look(self) -> int:
        """Claim deliveries of every endpoint that has due ones."""
        if time.monotonic() < self._look_at:
            return 0
        self._look_at = time.monotonic() + self._poll_interval_s
        return sum(self._claim(row["id"]) for row in self._store.due())

    def _claim(self, endpoint_id: str) -> int:
        free, free_if_failing = self._free(endpoint_id)
        if free <= 0:
            self._look_at = 0.0  # look again as soon as a thread is free
            return 0
        return self._submit(self._store.claim(endpoint_id, free, free_if_failing))

    def _settle(self) -> int:
        """Save the outcomes that have come in, and claim the next deliveries of the same endpoints.

        When it is time to look for others, nothing is claimed here, so that the longest overdue endpoint comes first.
        """
        with self._lock:
            done, self._done = list(self._done.values()), {}
        endpoints: dict[str, list[Done]] = {}
        for delivery, outcome in done:
            endpoints.setdefault(delivery.endpoint_id, []).append((delivery, outcome))
        try:
            return sum(self._turn(id_, endpoints[id_]) for id_ in tuple(endpoints))
        except TransientDatabaseError:
            self._keep([each for each in done if self._is_in_flight(each[0])])
            raise

    def _turn(self, endpoint_id: str, done: Sequence[Done]) -> int:
        try:
            is_time_to_look = time.monotonic() >= self._look_at
            turn = self._store.turn(endpoint_id, done, *(NONE if is_time_to_look else self._free(endpoint_id, done)))
        except Exception as error:  # re-raised unless one entry may be the cause
            if not entry_errors.may_be_one_entry(error):
                raise
            for each in done:
                self._save(each)
            return 0
        if turn is None:
            self._keep(done)  # another process has the endpoint's row for a moment
            return 0
        for delivery, outcome in done:
            self._forget(delivery)
            if delivery.id in turn.saved:
                _log(delivery, outcome)
        return self._submit(turn.claimed)

    def _save(self, done: Done) -> None:
        """Save one outcome. One that cannot be saved must not cost the others theirs."""
        try:
            if self._store.save(*done):
                _log(*done)
        except Exception as error:  # re-raised unless one entry may be the cause
            if not entry_errors.may_be_one_entry(error):
                raise
            if entry_errors.is_delay(error):
                self._keep([done])  # its rows are locked: it is saved later
                return
            self._store.set_aside(done[0].id, error)
        self._forget(done[0])

    def _submit(self, claimed: Sequence[Delivery]) -> int:
        for delivery in claimed:
            with self._lock:
                self._in_flight[delivery.claim] = delivery
            self._executor.submit(self._work, delivery)
        return len(claimed)

    def _free(self, endpoint_id: str, done: Sequence[Done] = ()) -> tuple[int, int]:
        """How many deliveries an endpoint may have in flight, and how many if it is failing."""
        if self.stopping.is_set():
            return NONE
        slow, ended = self._slow.ids(), {delivery.claim for delivery, _ in done}
        with self._lock:
            others = [delivery for claim, delivery in self._in_flight.items() if claim not in ended]
        free = self._threads - len(others)
        slow_or_failing = sum(delivery.is_failing or delivery.endpoint_id in slow for delivery in others)
        free_if_failing = min(free, 1, max(self._threads // 2, 1) - slow_or_failing)
        return free_if_failing if endpoint_id in slow else free, free_if_failing

    def _work(self, delivery: Delivery) -> None:
        try:
            with self._slow.timed(delivery):
                outcome = self._attempt(delivery)
        except Exception as error:  # the delivery is set aside, and the thread stays usable
            self._store.set_aside(delivery.id, error)
            self._forget(delivery)
        else:
            self._keep([(delivery, outcome)])
        self._woken.set()

    def _is_in_flight(self, delivery: Delivery) -> bool:
        with self._lock:
            return delivery.claim in self._in_flight

    def _forget(self, delivery: Delivery) -> None:
        with self._lock:
            del self._in_flight[delivery.claim]

    def _keep(self, done: Sequence[Done]) -> None:
        with self._lock:
            self._done |= {each[0].claim: each for each in done}

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
