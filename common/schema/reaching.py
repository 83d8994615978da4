"""Connect before anything else: wait for a server that is starting, and report why it cannot be reached."""

from __future__ import annotations

import logging
import time
from typing import Any

import psycopg2

from common.database.sessions import connect

log = logging.getLogger(__name__)

NAME = "holdfast migrate"

# Waiting does not help against these. It may help against others: a server that starts, recovers or is down.
FINAL = (
    *("certificate", "support SSL", "password authentication", "does not exist", "no pg_hba.conf entry"),
    *("connection option", "invalid "),
)


class DatabaseUnreachable(Exception):
    """The database refuses the connection. The message is one line and holds no password."""


def check_reachable(url: str, wait_s: float = 0) -> None:
    """Connect once, trying for `wait_s` seconds.

    :raises DatabaseUnreachable: with the server's reason
    """
    reach(url, wait_s).close()


def reach(url: str, wait_s: float) -> Any:
    """A connection, after at most `wait_s` seconds of trying.

    :raises DatabaseUnreachable: with the server's reason; at once if waiting does not help
    """
    deadline = time.monotonic() + wait_s
    announced = False
    while True:
        try:
            return connect(url, name=NAME)
        except psycopg2.ProgrammingError:  # its message would repeat the address, and the password in it
            raise DatabaseUnreachable("DATABASE_URL is not an address that PostgreSQL understands") from None
        except psycopg2.OperationalError as error:
            reason = one_line(error)
            if time.monotonic() >= deadline or any(words in reason for words in FINAL):
                raise DatabaseUnreachable(reason) from None
        if not announced:
            log.info("waiting for the database: %s", reason)
            announced = True
        time.sleep(0.25)


def one_line(error: BaseException) -> str:
    """Return the first line of a message. libpq's messages continue with hints and other addresses."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0]
