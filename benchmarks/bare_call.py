"""What one HTTP call costs on this machine where nothing is done to make it cheap: the measure for an order's CPU."""

from __future__ import annotations

import time

import requests

WARM_UP = 50
BODY = {"order": "x" * 280}  # about as long as the calls of a saga


def bare_call_ms(url: str, calls: int = 500) -> float:
    """CPU milliseconds of the caller for one `Session.post`, the connection kept alive; what is answered is all one."""
    with requests.Session() as session:
        for _ in range(WARM_UP):
            session.post(url, json=BODY, timeout=10)
        before = time.thread_time()
        for _ in range(calls):
            session.post(url, json=BODY, timeout=10)
        return (time.thread_time() - before) / calls * 1000
