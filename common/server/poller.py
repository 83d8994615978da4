"""Lets many threads wait for many sockets. Each event goes to exactly one thread."""

from __future__ import annotations

import select
import sys

if sys.platform == "linux":
    ONCE = select.EPOLLONESHOT

    class Poller:
        """Reports each socket once, then ignores it until it is armed again. Closing a socket removes it."""

        def __init__(self) -> None:
            self._epoll = select.epoll()

        def add(self, fd: int) -> None:
            self._epoll.register(fd, select.EPOLLIN | ONCE)

        def await_readable(self, fd: int) -> None:
            self._epoll.modify(fd, select.EPOLLIN | ONCE)

        def await_writable(self, fd: int) -> None:
            self._epoll.modify(fd, select.EPOLLOUT | ONCE)

        def await_hangup(self, fd: int) -> None:
            self._epoll.modify(fd, select.EPOLLRDHUP | ONCE)

        def wait(self) -> tuple[int, bool]:
            """:returns: the next socket that is ready, and whether it is ready for writing"""
            ((fd, events),) = self._epoll.poll(maxevents=1)
            return fd, bool(events & select.EPOLLOUT)

else:  # macOS and the BSDs

    class Poller:
        def __init__(self) -> None:
            self._kqueue = select.kqueue()

        def add(self, fd: int) -> None:
            self._arm(fd, select.KQ_FILTER_READ)

        await_readable = add

        def await_writable(self, fd: int) -> None:
            self._arm(fd, select.KQ_FILTER_WRITE)

        def await_hangup(self, fd: int) -> None:
            """Not available: pending data would look like a hangup. The connection ends when its wait ends."""

        def wait(self) -> tuple[int, bool]:
            event = self._kqueue.control([], 1)[0]
            return event.ident, event.filter == select.KQ_FILTER_WRITE

        def _arm(self, fd: int, kind: int) -> None:
            self._kqueue.control([select.kevent(fd, kind, select.KQ_EV_ADD | select.KQ_EV_ONESHOT)], 0)
