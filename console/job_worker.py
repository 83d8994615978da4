"""The thread that works on jobs, one in each worker process of the console, and the one that tells that it lives."""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
import time
import uuid

from common.database.errors import TransientDatabaseError
from common.heartbeats.heartbeat import Heartbeat, State
from common.process.progress import Progress
from common.process.threads import drained
from console import job_steps
from console.context import Console
from console.job_steps import Claim, Step

POLL_S = 1.0
RETRY_S = 1.0
COLLECT_PAUSE_S = 0.1  # between two pages of orders, which may each read much
MAX_FAILURES = 10  # steps in a row that failed; then the job ends
LONGEST_WAIT_S = max(POLL_S * 1.25, RETRY_S)
END_WITHIN_S = 1.0  # to delete the row of this process: without a database, it becomes silent
STOP_WITHIN_S = 3.0  # a step takes milliseconds, or ends by its statement_timeout of 2 s
log = logging.getLogger(__name__)


class JobWorker:
    def __init__(self, console: Console) -> None:
        self.console = console
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._heartbeat: Heartbeat | None = None
        self.progress = Progress(LONGEST_WAIT_S)

    def start(self) -> None:
        """Call it after the fork."""
        instance = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4()}"
        url = self.console.settings.database_url
        self._heartbeat = Heartbeat(url, "console", instance, self._state, self._stopping)
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
        self._thread.start()
        threading.Thread(target=self._heartbeat.run, name="heartbeat", daemon=True).start()

    def stop(self) -> None:
        """End after the present step. Another worker continues at once."""
        self._stopping.set()
        if self._thread:
            self._thread.join(STOP_WITHIN_S)
        if self._heartbeat:
            drained(self._heartbeat.end, END_WITHIN_S)

    def run_once(self) -> bool:
        """Work on one job until it ends, is lost, or this worker stops. :returns: False: there was no job"""
        name = f"{socket.gethostname()}:{os.getpid()}"
        held = job_steps.claim(self.console.database, name)
        if held is None:
            return False
        self._work(held)
        return True

    def _state(self) -> State:
        return State(pools={}, loops={"jobs": self.progress})

    def _run(self) -> None:
        """Run until `stop`. No error ends the thread: nobody would notice."""
        while not self._stopping.is_set():
            self.progress.mark()
            try:
                has_worked = self.run_once()
            except TransientDatabaseError as error:
                log.warning("jobs wait for the database: %s", error.__cause__ or error)
                has_worked = False
            except Exception:  # any error would end the thread, and no job would continue
                log.exception("unexpected error in the thread of jobs")
                has_worked = False
            if not has_worked:
                self._stopping.wait(POLL_S * random.uniform(0.75, 1.25))

    def _work(self, held: Claim) -> None:
        database = self.console.database
        pause_s = 1 / job_steps.rate_of(database, held)
        failures, due = 0, time.monotonic()
        while not self._stopping.is_set():
            self.progress.mark()
            try:
                done = job_steps.step(database, held)
            except TransientDatabaseError as error:
                failures += 1
                log.warning("a step of the job %s waits: %s", held.job_id, error.__cause__ or error)
                if failures >= MAX_FAILURES:
                    job_steps.fail(database, held)
                    return
                self._stopping.wait(RETRY_S)
                continue
            failures = 0
            if done in (Step.ENDED, Step.LOST):
                return
            if done is Step.COLLECTED:
                self._stopping.wait(COLLECT_PAUSE_S)
            if done is Step.ACTED:
                self.console.order_notifier.later()  # a hint, once for all orders of its window
                due = max(due + pause_s, time.monotonic())
                self._stopping.wait(due - time.monotonic())
        job_steps.let_go(database, held)
