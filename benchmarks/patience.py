"""Wait for a condition, not for a time."""

from __future__ import annotations

import time
from collections.abc import Callable

LOOK_EVERY_S = 0.01  # rounds take at least 5 s, so the error is at most one in five hundred


class TooLate(Exception):
    """The condition did not become true in time. The message is one line."""


def until(condition: Callable[[], object], within_s: float, what: str) -> None:
    """Return as soon as `condition` is true.

    :param what: what is waited for, for the message
    :raises TooLate: if it is still false after `within_s` seconds
    """
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise TooLate(f"{what}: not within {within_s:g} s")
        time.sleep(LOOK_EVERY_S)
