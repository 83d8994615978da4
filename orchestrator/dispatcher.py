"""Wake or tick → free threads → claim → submit. Nothing is claimed that has no free thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from common.database.errors import TransientDatabaseError
from orchestrator.saga import Saga
from orchestrator.store import Store

NOTHING_CLAIMED_PAUSE_S = 0.02  # what is due may be locked by somebody who is about to claim it
log = logging.getLogger(__name__)


class Dispatcher:
    """The polling loop. It looks every `poll_interval_s`, when an entry comes due, and whenever it is woken."""

    def __init__(self, store: Store, run: Callable[[Saga], Saga], threads: int, poll_interval_s: float) -> None:
        self._store, self._run, self._threads, self._poll_interval_s = store, run, threads, poll_interval_s
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="saga")
        self._in_hand: set[Future[None]] = set()
        self._lock = threading.Lock()
        self._claiming = threading.Lock()
        self._woken = threading.Event()
        self._is_behind = False
        self.stopping = threading.Event()

    def wake(self) -> None:
        """Look now. Safe to call from any thread, as often as anything may have come due."""
        self._woken.set()

    def run(self) -> None:
        """Dispatch until stopped."""
        pause = 0.0
        while not self.stopping.is_set():
            self._woken.wait(pause)
            self._woken.clear()
            claimed = self.run_once()
            pause = max(self._seconds_to_next_look(), 0 if claimed else NOTHING_CLAIMED_PAUSE_S)

    def run_once(self) -> int:
        """Claim what is due, as far as threads are free. :returns: how many were claimed"""
        with self._claiming:
            free = self._threads - self.in_hand
            if free <= 0 or self.stopping.is_set():
                return 0
            try:
                sagas = self._store.claim(free)
            except TransientDatabaseError as error:
                log.warning("cannot look for orders, will go on: %s", error.__cause__ or error)
                return 0
            self._is_behind = len(sagas) == free
            for saga in sagas:
                self._submit(saga)
            return len(sagas)

    def stop(self) -> None:
        """Claim nothing more, and wait for what is in hand; a claim that is under way is in hand."""
        with self._claiming:
            self.stopping.set()
        self.wake()
        self._executor.shutdown(wait=True)

    @property
    def in_hand(self) -> int:
        with self._lock:
            return len(self._in_hand)

    def _submit(self, saga: Saga) -> None:
        future = self._executor.submit(self._work, saga)
        with self._lock:
            self._in_hand.add(future)
        future.add_done_callback(self._done)

    def _work(self, saga: Saga) -> None:
        try:
            result = self._run(saga)
            if result.wait_s is not None:
                self.wake()  # so that the next look is not later than this saga's next attempt
        except TransientDatabaseError as error:
            log.warning("left to its lease: %s", error.__cause__ or error, extra={"order_ledger_id": saga.id})
        except Exception:  # one bad entry must not stop the others: it is left to its lease, and set aside in the end
            log.exception("cannot go on with this order", extra={"order_ledger_id": saga.id})

    def _done(self, future: Future[None]) -> None:
        with self._lock:
            self._in_hand.discard(future)
        if self._is_behind:
            self.wake()

    def _seconds_to_next_look(self) -> float:
        if self._is_behind:
            return self._poll_interval_s  # a thread that becomes free wakes us
        try:
            next_due_in = self._store.next_due_in()
        except TransientDatabaseError:
            return min(self._poll_interval_s, 1.0)
        return self._poll_interval_s if next_due_in is None else min(self._poll_interval_s, next_due_in)
