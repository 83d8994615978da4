"""Group commit: items that several threads write at the same time become durable in one transaction.

A commit waits for the disk. Meanwhile other threads arrive with their items; the first of them then writes all of these
items. No thread waits on purpose: a thread that is alone commits at once. The idea comes from databases:
D. DeWitt et al., "Implementation Techniques for Main Memory Database Systems", 1984.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class _Ticket(Generic[T, R]):
    """The item of one thread, and the result or the error of its write."""

    def __init__(self, item: T) -> None:
        self.item = item
        self.result: R | None = None
        self.error: BaseException | None = None
        self.is_done = False
        self._turn = threading.Lock()
        self._turn.acquire()

    def wait(self) -> None:
        """Block until the item is written or it is this thread's turn to write."""
        self._turn.acquire()

    def wake(self) -> None:
        self._turn.release()


class GroupCommit(Generic[T, R]):
    """`write` makes a group of items durable in one transaction and returns a result for each of them."""

    def __init__(self, write: Callable[[Sequence[T]], Sequence[R]]) -> None:
        self._write = write
        self._waiting: list[_Ticket[T, R]] = []
        self._is_writing = False
        self._lock = threading.Lock()  # guards the two fields above, and is never held while waiting

    def __call__(self, item: T) -> R:
        """Write this item together with those that wait. :returns: once it is durable

        An error of `write` is raised in each thread of the group: nothing was written, and any item may be the cause.
        """
        ticket: _Ticket[T, R] = _Ticket(item)
        with self._lock:
            self._waiting.append(ticket)
            is_alone, self._is_writing = not self._is_writing, True
        if not is_alone:
            ticket.wait()
        if not ticket.is_done:
            self._write_waiting()
        if ticket.error:
            raise ticket.error
        return ticket.result  # type: ignore[return-value]

    def _write_waiting(self) -> None:
        with self._lock:
            group, self._waiting = self._waiting, []
        try:
            self._settle(group)
        finally:
            with self._lock:
                next_writer, self._is_writing = self._waiting[:1], bool(self._waiting)
            for ticket in (*next_writer, *group):  # the next writer first, because it will wait for the disk
                ticket.wake()

    def _settle(self, group: list[_Ticket[T, R]]) -> None:
        try:
            for ticket, result in zip(group, self._write([each.item for each in group]), strict=True):
                ticket.result = result
        except Exception as error:  # each waiting thread raises it
            for ticket in group:
                ticket.error = error
        for ticket in group:
            ticket.is_done = True
