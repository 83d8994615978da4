"""Connections whose every wait has a deadline: for health checks and for LISTEN."""

from __future__ import annotations

import select
import time
from typing import Any

import psycopg2.extensions

from common.database.sessions import connect

EVENTS = {psycopg2.extensions.POLL_READ: select.POLLIN, psycopg2.extensions.POLL_WRITE: select.POLLOUT}


def open_async(url: str, name: str, deadline: float) -> Any:
    """An asynchronous connection. Each statement commits by itself; `wait` bounds every wait for it.

    :param deadline: on the monotonic clock, in seconds
    :raises TimeoutError: when it is not open by then
    """
    connection = connect(url, name=name, async_=True)
    try:
        wait(connection, deadline)
    except BaseException:
        connection.close()
        raise
    return connection


def wait(connection: Any, deadline: float) -> None:
    """Drive an asynchronous connection until it is ready. :raises TimeoutError: at `deadline`"""
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        left = deadline - time.monotonic()
        if left <= 0 or not is_ready(connection, left, EVENTS[state]):
            raise TimeoutError("the database did not answer in time")


def is_ready(connection: Any, timeout_s: float, events: int = select.POLLIN) -> bool:
    """Wait until the connection's socket can be read (or written). False: not within `timeout_s`.

    Uses `poll()`, because `select()` fails on descriptors above 1,023.
    """
    poller = select.poll()
    poller.register(connection.fileno(), events)
    return bool(poller.poll(max(timeout_s, 0) * 1000))
