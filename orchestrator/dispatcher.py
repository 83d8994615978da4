"""Claims due orders and hands them to the thread pool. It never claims more than there are free threads."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from common.database import entry_errors
from common.database.errors import TransientDatabaseError
from common.process.progress import Progress
from orchestrator.saga import Saga
from orchestrator.store import Store

# If entries are due and none can be claimed, another session has locked them, usually to claim them.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 1.0
log = logging.getLogger(__name__)


class Dispatcher:
    """The polling loop. It looks every `poll_interval_s`, when an entry comes due, and whenever it is woken."""

    def __init__(
        self, store: Store, run: Callable[[Saga], Saga], threads: int, poll_interval_s: float, name: str = "saga"
    ) -> None:
        self._store, self._run, self._threads, self._poll_interval_s = store, run, threads, poll_interval_s
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._lock = threading.Lock()  # guards the next two
        self._in_flight: set[tuple[str, int]] = set()  # ids and claim numbers
        self._has_stranded_claims = False
        self._claiming = threading.Lock()
        self._woken = threading.Event()
        self._has_backlog = False
        self.stopping = threading.Event()
        self.progress = Progress(max(poll_interval_s, LONGEST_PAUSE_S))

    def wake(self) -> None:
        """Look for due entries now. Safe to call from any thread, at any time."""
        self._woken.set()

    def run(self) -> None:
        """Dispatch until stopped."""
        pause = shortest = 0.0
        while not self.stopping.is_set():
            self._woken.wait(pause)
            self._woken.clear()
            self.progress.mark()
            claimed = self.run_once()
            shortest = 0 if claimed else min(max(2 * shortest, FIRST_PAUSE_S), LONGEST_PAUSE_S)
            pause = max(self._seconds_to_next_look(), shortest)

    def run_once(self) -> int:
        """Claim what is due, at most one entry per free thread. :returns: how many were claimed"""
        with self._claiming:
            free = self._threads - self.in_flight
            if free <= 0 or self.stopping.is_set():
                return 0
            try:
                self._release_stranded()
                sagas = self._store.claim(free)
            except TransientDatabaseError as error:
                log.warning("cannot claim orders, will retry: %s", entry_errors.reason(error))
                self._note_stranded()  # the lost answer may have been that of a claim
                return 0
            self._has_backlog = len(sagas) == free
            for saga in sagas:
                self._submit(saga)
            return len(sagas)

    def stop(self) -> None:
        """Stop claiming, and wait for the entries in flight, including those that are being claimed."""
        with self._claiming:
            self.stopping.set()
        self.wake()
        self._executor.shutdown(wait=True)

    @property
    def in_flight(self) -> int:
        """How many entries are being processed."""
        with self._lock:
            return len(self._in_flight)

    def slots(self) -> dict[str, int]:
        """How many threads are busy, and free."""
        busy = self.in_flight
        return {"busy": busy, "free": max(self._threads - busy, 0)}

    @property
    def threads(self) -> int:
        """How many entries can be processed at once."""
        return self._threads

    def _submit(self, saga: Saga) -> None:
        with self._lock:
            self._in_flight.add((saga.id, saga.claim_number))
        self._executor.submit(self._work, saga)

    def _work(self, saga: Saga) -> None:
        is_stranded, is_waiting = False, False
        try:
            is_waiting = self._run(saga).retry_in_s is not None
        except Exception as error:  # `_handle` decides what becomes of the claim
            is_stranded = self._handle(saga, error)
        finally:
            with self._lock:
                self._in_flight.discard((saga.id, saga.claim_number))
            if is_stranded:
                self._note_stranded()
            if self._has_backlog or is_stranded or is_waiting:
                self.wake()  # a thread is free, or an entry may come due before the next look

    def _handle(self, saga: Saga, error: Exception) -> bool:
        """:returns: whether to release the claim as soon as the database answers"""
        if entry_errors.may_be_one_entry(error):
            self._store.set_aside(saga, error)
            return False
        log.warning(
            "cannot save it, the claim will be given back: %s",
            entry_errors.reason(error),
            extra=saga.log_fields,
        )
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

    def _seconds_to_next_look(self) -> float:
        if self._has_backlog:
            return self._poll_interval_s  # a thread that becomes free wakes us
        try:
            next_due_in = self._store.next_due_in()
        except TransientDatabaseError:
            return min(self._poll_interval_s, LONGEST_PAUSE_S)
        return self._poll_interval_s if next_due_in is None else min(self._poll_interval_s, next_due_in)
