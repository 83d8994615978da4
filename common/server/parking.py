"""Requests that wait for something without a thread. Their connections are watched for a hangup."""

from __future__ import annotations

from threading import Lock

from common.api.waits import Parked
from common.server.connection import Connection, State
from common.server.poller import Poller

MAX_PARKED = 400  # requests; the others of the 1,000 connections of a worker are left for orders


class Parking:
    """Moves connections into and out of the parked state. Thread-safe."""

    def __init__(self, clients: Poller) -> None:
        self._clients = clients
        self._count = 0
        self._lock = Lock()  # held while a parked connection changes its state

    @property
    def has_room(self) -> bool:
        return self._count < MAX_PARKED

    def park(self, conn: Connection, parked: Parked) -> None:
        with self._lock:
            conn.state, conn.is_resumed = State.PARKED, False
            self._count += 1
            self._clients.await_hangup(conn.fd)
            conn.cancel_wait = parked.subscribe(lambda: self._resume(conn))

    def _resume(self, conn: Connection) -> None:
        """Called by the thread that watches what is waited for. An event then gives the request to a worker thread."""
        with self._lock:
            if conn.state is State.PARKED and not conn.is_resumed:
                conn.is_resumed = True
                self._count -= 1
                self._clients.await_writable(conn.fd)

    def abandon(self, conn: Connection) -> bool:
        """After a hangup, cancel the wait. :returns: False where the request is being resumed"""
        with self._lock:
            if conn.state is not State.PARKED or conn.is_resumed:
                return False
            conn.cancel_wait()
            self._count -= 1
            conn.state = State.CLOSING
            return True
