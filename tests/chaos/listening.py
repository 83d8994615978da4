"""The shop's side of events: the process that receives webhooks, and the staff that looks after it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from holdfast_client import HoldfastClient, HoldfastError
from tests.chaos.buyers import CLOSES_WITHIN_S, PATIENCE_S, RETRY_FOR_S, recorded
from tests.chaos.clientlog import ClientLog
from tests.chaos.fleet import Journal
from tests.system.stack import PROJECT, free_port

LOOKS_EVERY_S, RESENDS_EVERY_S = 1.0, 5.0
MAKES_ENDPOINT_WITHIN_S = 60  # which is done once, because a second try would make a second endpoint


class ReceiverProcess:
    """tests/chaos/receiver.py, which is killed and started again. Each start writes a file of its own."""

    def __init__(self, folder: Path, journal: Journal, seed: int, failure_rate: float) -> None:
        self._folder, self._journal, self._seed, self._failure_rate = folder.absolute(), journal, seed, failure_rate
        self._port = free_port()
        self._starts = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/holdfast"

    def start(self) -> None:
        self._starts += 1
        file = self._folder / f"received.{self._starts:04}.jsonl"
        seed = f"{self._seed}:receiver {self._starts}"
        command = [sys.executable, "-m", "tests.chaos.receiver", str(self._port), str(file), seed]
        with (self._folder / "receiver.log").open("ab") as log:
            self._process = subprocess.Popen([*command, str(self._failure_rate)], cwd=PROJECT, stdout=log, stderr=log)

    def die(self, seconds: float, over: threading.Event) -> None:
        """Kill it, and start it again after a time."""
        self._journal.write("die", "receiver", seconds=seconds)
        self.stop()
        over.wait(seconds)
        self.start()

    def calm(self) -> None:
        """From now on it accepts everything."""
        self._failure_rate = 0
        self.stop()
        self.start()

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()


class Staff:
    """A thread that follows the feed of events, enables the endpoint again, and has failed deliveries sent again."""

    def __init__(self, url: str, log: ClientLog) -> None:
        self._client = self._new_client(url, log, PATIENCE_S)
        self._first = self._new_client(url, log, (*PATIENCE_S[:1], MAKES_ENDPOINT_WITHIN_S))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._endpoint = ""
        self._since = datetime.now(UTC) - timedelta(minutes=1)
        self._last: str | None = None
        self._resends_every_s = RESENDS_EVERY_S
        self.seen = 0
        """Events that were read from the feed."""
        self.done: Counter[str] = Counter()
        self.trouble: list[BaseException] = []

    def start(self, receiver_url: str) -> None:
        with self._first as client:
            self._endpoint = client.create_webhook_endpoint(url=receiver_url).id
        self._thread.start()

    def hurry(self) -> None:
        """Have failed deliveries sent again at each look."""
        self._resends_every_s = 0

    def stop(self) -> None:
        self._over.set()
        if self._thread.ident:
            self._thread.join(CLOSES_WITHIN_S)
        self._client.close()

    @staticmethod
    def _new_client(url: str, log: ClientLog, timeout: tuple[float, float]) -> HoldfastClient:
        return HoldfastClient(
            url, timeout=timeout, retry_for=RETRY_FOR_S, trust_env=False, session=lambda: recorded(log)
        )

    def _run(self) -> None:
        waited_s = 0.0
        try:
            while not self._over.wait(LOOKS_EVERY_S):
                waited_s += LOOKS_EVERY_S
                with suppress(HoldfastError):
                    self._follow()
                if waited_s >= self._resends_every_s:
                    waited_s = 0
                    with suppress(HoldfastError):
                        self._look_after()
        except BaseException as error:
            self.trouble.append(error)

    def _follow(self) -> None:
        for event in self._client.events(after=self._last):
            self._last, self.seen = event.id, self.seen + 1

    def _look_after(self) -> None:
        if self._client.get_webhook_endpoint(self._endpoint).status == "disabled":
            self._client.change_webhook_endpoint(self._endpoint, status="enabled")
            self.done["enabled"] += 1
        self.done["resent"] += self._client.resend_webhook_deliveries(self._endpoint, since=self._since).resent
