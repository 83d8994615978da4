"""The worker's main thread: it accepts connections, cuts those that take too long, and stops the process in order."""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import time
from contextlib import suppress
from typing import Any

from gunicorn.workers import base

from common.server.connection import Connection, State

CHECK_EVERY_S = 1.0  # for connections that take too long
NO_DESCRIPTOR_PAUSE_S = 0.1
STOP_WITHIN_S = 2.0  # for idle connections when stopping: a client may be sending its next request already
STOP_CHECK_EVERY_S = 0.02
log = logging.getLogger(__name__)


class MainLoop(base.Worker):  # type: ignore[misc]  # gunicorn has no types
    """What gunicorn's arbiter and signals see of the worker."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connections: dict[int, Connection] = {}  # by file descriptor
        self._checked_at = 0.0

    def add(self, sock: socket.socket, client: Any, server: Any) -> None:
        """Take over an accepted connection."""
        raise NotImplementedError

    def is_nearly_full(self) -> bool:
        """Whether another idle connection would take the place of a new one."""
        return bool(len(self.connections) > self.cfg.worker_connections - self.cfg.threads)

    def run(self) -> None:
        for listener in self.sockets:
            listener.setblocking(False)
        while self.alive and self.ppid == os.getppid():
            self.notify()
            self._accept()
            self._cut_overdue()
        self._stop()

    def _accept(self) -> None:
        """Accept what comes within a second. A signal ends the wait: gunicorn writes it to PIPE."""
        listeners = {listener.fileno(): listener for listener in self.sockets}
        poll = select.poll()
        poll.register(self.PIPE[0], select.POLLIN)
        is_full = len(self.connections) >= self.cfg.worker_connections
        for fd in () if is_full else listeners:
            poll.register(fd, select.POLLIN)
        for fd, _ in poll.poll(100 if is_full else CHECK_EVERY_S * 1000):
            if fd in listeners:
                self._accept_from(listeners[fd])
            else:
                os.read(fd, 1)

    def _accept_from(self, listener: Any) -> None:
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                log.error("no file descriptor is left for another connection")
                time.sleep(NO_DESCRIPTOR_PAUSE_S)  # the connection stays in the listener's queue
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                raise
            return
        sock.setblocking(False)  # no thread waits for a client
        self.add(sock, client, listener.getsockname())

    def _cut_overdue(self) -> None:
        now = time.monotonic()
        if now < self._checked_at + CHECK_EVERY_S:
            return
        self._checked_at = now
        for conn in list(self.connections.values()):
            if now > conn.deadline:
                conn.cut()

    def _stop(self) -> None:
        """Finish what has been started, then return. The port is free at once, for whoever replaces this process."""
        for listener in self.sockets:
            listener.close()
        now = time.monotonic()
        for conn in list(self.connections.values()):
            if conn.state in (State.READING, State.CLOSING):
                conn.deadline = min(conn.deadline, now + STOP_WITHIN_S)
        while self.connections and time.monotonic() < now + self.cfg.graceful_timeout:
            self.notify()
            self._cut_overdue()
            with suppress(InterruptedError):
                time.sleep(STOP_CHECK_EVERY_S)
