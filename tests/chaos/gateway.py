"""The gateway's decisions: every few seconds it settles the refunds that it has left pending."""

from __future__ import annotations

import threading

import requests

SETTLES_EVERY_S = 3
ANSWERS_WITHIN_S = 5
CLOSES_WITHIN_S = 3


class Settlements:
    """A thread that runs until `stop`. `url`: of the payments service, which may be down."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/payments/simulate/settle_refunds"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.trouble: list[BaseException] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        if self._thread.ident:
            self._thread.join(CLOSES_WITHIN_S)

    def _run(self) -> None:
        try:
            while not self._over.wait(SETTLES_EVERY_S):
                self._settle()
        except BaseException as error:
            self.trouble.append(error)

    def _settle(self) -> None:
        try:
            answer = requests.post(self._url, timeout=ANSWERS_WITHIN_S)
        except requests.RequestException:
            return
        if not answer.ok and answer.status_code != 503:
            raise RuntimeError(f"settling refunds was answered {answer.status_code}: {answer.text}")
