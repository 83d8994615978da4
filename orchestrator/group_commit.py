"""Group commit: what several threads want to write at the same time becomes durable in one transaction.

A commit waits for the disk, and while it does, others come with something to write. Whoever is next then writes for
all who wait. Nobody waits on purpose: one thread alone commits at once. (The idea is that of databases themselves:
D. DeWitt et al., "Implementation Techniques for Main Memory Database Systems", 1984.)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from common.database.errors import TransientDatabaseError

T = TypeVar("T")
R = TypeVar("R")


class _Ticket(Generic[T, R]):
    """One thread's wish, and in the end what came of it."""

    def __init__(self, item: T) -> None:
        self.item = item
        self.result: R | None = None
        self.error: BaseException | None = None
        self.is_done = False
        self._turn = threading.Lock()
        self._turn.acquire()

    def wait(self) -> None:
        """Until it is done, or it is this thread's turn to write."""
        self._turn.acquire()

    def wake(self) -> None:
        self._turn.release()


class GroupCommit(Generic[T, R]):
    """`write` makes a group of items durable in one transaction, and says of each what came of it."""

    def __init__(self, write: Callable[[Sequence[T]], Sequence[R]]) -> None:
        self._write = write
        self._waiting: list[_Ticket[T, R]] = []
        self._is_writing = False
        self._lock = threading.Lock()  # for the two above; nothing is waited for while it is held

    def __call__(self, item: T) -> R:
        """Write this item, with whatever else waits. :returns: once it is durable; raises what `write` raises"""
        ticket: _Ticket[T, R] = _Ticket(item)
        with self._lock:
            self._waiting.append(ticket)
            is_alone, self._is_writing = not self._is_writing, True
        if not is_alone:
            ticket.wait()
        if not ticket.is_done:
            self._write_all_that_wait()
        if ticket.error:
            raise ticket.error
        return ticket.result  # type: ignore[return-value]

    def _write_all_that_wait(self) -> None:
        with self._lock:
            group, self._waiting = self._waiting, []
        try:
            self._settle(group)
        finally:
            with self._lock:
                next_turn, self._is_writing = self._waiting[:1], bool(self._waiting)
            for ticket in (*next_turn, *group):  # the next write first: it will wait for the disk
                ticket.wake()

    def _settle(self, group: list[_Ticket[T, R]]) -> None:
        try:
            for ticket, result in zip(group, self._write([each.item for each in group]), strict=True):
                ticket.result = result
        except TransientDatabaseError as error:
            for ticket in group:
                ticket.error = error
        except Exception as error:  # one item may be the reason, and must not take the others with it
            if len(group) > 1:
                for ticket in group:
                    self._settle([ticket])
            else:
                group[0].error = error
        for ticket in group:
            ticket.is_done = True
