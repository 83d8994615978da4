"""Crash points: named points at which a test kills a process as a power cut would (docs/decisions/0012).

`CRASH_AT=saga.before_call.capture_payment` kills the process that reaches this point. `saga.before_call`, or `saga`,
means any point whose name begins with it. `…:3` means the third time. A point is a moment that the code
announces (common/process/moments.py) and this module observes.
"""

from __future__ import annotations

import logging
import os
import re
import signal
from dataclasses import dataclass
from itertools import product

from common.process import moments
from common.process.settings import SettingError

STEPS = ("create_order", "reserve_inventory", "capture_payment", "confirm_order")
REFUND_STEPS = ("refund_payment", "restock", "note")
WRITES = (
    *("create_order", "confirm_order", "cancel_order"),
    *("create_product", "change_stock", "reserve", "release"),
    *("authorize", "capture", "void", "void_by_key", "refund"),
)
# The name of a point has one word of each column.
_GROUPS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (("edge",), ("before_t1", "after_t1", "after_authorize", "in_t2", "after_t2")),
    (("saga",), ("after_claim", "before_call", "after_call", "after_checkpoint"), (*STEPS, *REFUND_STEPS)),
    (("undo",), ("after_void", "after_refund", "after_release", "after_cancel", "before_failed")),
    (("participant",), ("before_commit", "after_commit"), WRITES),
)
POINTS = tuple(".".join(words) for group in _GROUPS for words in product(*group))
_ALL = ", ".join(".".join(w[0] if len(w) == 1 else f"{{{','.join(w)}}}" for w in group) for group in _GROUPS)
AT_COMMIT = ("participant.before_commit", "participant.after_commit")  # the operation of the current request is added
MAX_NTH = 1000  # a pipe holds at least this many bytes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trigger:
    """The n-th time that any process of a service reaches any of these points."""

    points: frozenset[str]
    nth: int = 1


def parse(text: str) -> Trigger | None:
    """Parse `CRASH_AT`. :raises ValueError: lists the valid values"""
    if not text:
        return None
    name, colon, nth = text.partition(":")
    points = frozenset(point for point in POINTS if f"{point}.".startswith(f"{name}."))
    if not points or (colon and not (re.fullmatch("[0-9]{1,4}", nth) and 1 <= int(nth) <= MAX_NTH)):
        raise ValueError(f"a crash point, or POINT:N with N from 1 to {MAX_NTH}; the points are {_ALL}")
    return Trigger(points, int(nth or 1))


class _Armed:
    """Count the hits with the bytes of a pipe. The last byte kills.

    All processes that are forked from this one share the pipe, and reading from it needs no lock that a killed process
    would keep. So one of gunicorn's workers dies, once, and its successor keeps running.
    """

    def __init__(self, trigger: Trigger) -> None:
        self.trigger = trigger
        self._hits, end = os.pipe()
        os.write(end, b"." * (trigger.nth - 1) + b"!")
        os.close(end)  # once all bytes are read, a read returns at once

    @property
    def separates_commits(self) -> bool:
        return any("in_t2" in name or "before_commit" in name for name in self.trigger.points)

    def reached(self, name: str) -> None:
        if name in AT_COMMIT:
            name = f"{name}.{_current_operation()}"
        if name in self.trigger.points and os.read(self._hits, 1) == b"!":
            log.critical("crash point %s: killing this process", name, extra={"process_id": os.getpid()})
            os.kill(os.getpid(), signal.SIGKILL)


_armed: _Armed | None = None


def arm(text: str) -> None:
    """Kill a process of this service at the point that `CRASH_AT` names; empty: never.

    Called when a process starts, before it forks. A process that is already armed for the same point keeps its count.

    :raises SettingError: `text` does not name a crash point
    """
    global _armed  # noqa: PLW0603
    try:
        trigger = parse(text)
    except ValueError as error:
        raise SettingError(f"CRASH_AT must be {error}") from None
    if trigger is None:
        _armed = None
    elif _armed is None or _armed.trigger != trigger:
        _armed = _Armed(trigger)
    moments.observe(_armed)


def _current_operation() -> str:
    from flask import has_request_context, request  # noqa: PLC0415  # the orchestrator does not need Flask

    return str(request.endpoint) if has_request_context() else ""
