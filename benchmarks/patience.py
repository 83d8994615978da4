"""Waiting for a condition instead of for a time."""

from __future__ import annotations

import time
from collections.abc import Callable

LOOK_EVERY_S = 0.01  # of rounds that take 5 s and more: the error is a part in five hundred


class TooLate(Exception):
    """What was waited for did not come. The message is one line."""


def until(condition: Callable[[], object], within_s: float, what: str) -> None:
    """Return as soon as `condition` holds.

    :param what: what is waited for, for the message
    :raises TooLate: when it still does not hold after `within_s` seconds
    """
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise TooLate(f"{what}: not within {within_s:g} s")
        time.sleep(LOOK_EVERY_S)
