"""Another session with the database, which holds locks during a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2
from psycopg2.extensions import cursor


@contextmanager
def other_session(url: str) -> Iterator[cursor]:
    """Yield its cursor. Its locks have ended when the block has: the server notices a closed connection only later."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as statements:
        try:
            yield statements
        finally:
            connection.rollback()
