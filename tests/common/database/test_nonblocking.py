"""Waits with a deadline, also on descriptors that `select()` cannot handle."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg2.extensions
import pytest

from common.database.database import Database
from common.database.nonblocking import is_ready, open_async, wait
from local.postgres import EmbeddedPostgres

LIMIT_OF_SELECT = 1024


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Every descriptor that `select()` could handle is taken."""
    taken = [os.open(os.devnull, os.O_RDONLY)]
    try:
        while taken[-1] < LIMIT_OF_SELECT:
            taken.append(os.dup(taken[0]))
        yield
    finally:
        for each in taken:
            os.close(each)


@pytest.mark.usefixtures("many_descriptors")
def test_descriptors_above_1023(own_server: EmbeddedPostgres, new_database: Callable[..., Database]) -> None:
    database = new_database()
    database.check(timeout=20)
    assert database.one("SELECT 1 AS one") == {"one": 1}
    deadline = time.monotonic() + 20
    with closing(open_async(own_server.url, "test", deadline)) as connection, connection.cursor() as cursor:
        assert connection.fileno() >= LIMIT_OF_SELECT
        cursor.execute("LISTEN here")
        wait(connection, deadline)
        assert not is_ready(connection, 0)
        database.one("SELECT pg_notify('here', '')")
        assert is_ready(connection, 20)
        assert connection.poll() == psycopg2.extensions.POLL_OK
        assert [each.channel for each in connection.notifies] == ["here"]
