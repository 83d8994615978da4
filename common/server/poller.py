"""Many threads wait for many sockets, and each event goes to one of the threads."""

from __future__ import annotations

import select
import sys

if sys.platform == "linux":

    class Poller:
        """A socket that was told of is silent until it is given back with `again`. A closed one is forgotten."""

        def __init__(self) -> None:
            self._kernel = select.epoll()

        def add(self, fd: int) -> None:
            self._kernel.register(fd, select.EPOLLIN | select.EPOLLONESHOT)

        def again(self, fd: int) -> None:
            self._kernel.modify(fd, select.EPOLLIN | select.EPOLLONESHOT)

        def wait(self) -> int:
            """The next socket that can be read, or has come to its end."""
            return self._kernel.poll(maxevents=1)[0][0]

else:  # macOS and the BSDs have kqueue

    class Poller:
        def __init__(self) -> None:
            self._kernel = select.kqueue()

        def add(self, fd: int) -> None:
            once = select.kevent(fd, select.KQ_FILTER_READ, select.KQ_EV_ADD | select.KQ_EV_ONESHOT)
            self._kernel.control([once], 0)

        again = add

        def wait(self) -> int:
            return self._kernel.control([], 1)[0].ident
