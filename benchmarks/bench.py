"""What every part gets: how often to measure, a place for its files, and databases on the one server they all share."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psycopg2

from common.schema import migrate
from local.postgres import EmbeddedPostgres

# The orchestrator may hold a connection for each of its threads (at most 256) and a few more; the default is 200.
SERVER_SETTINGS = {"max_connections": "400"}


@dataclass
class Bench:
    rounds: int
    short: bool
    """Only see that everything works: little of everything, once; the figures mean nothing."""
    folder: Path
    """For logs and other files that nobody needs afterwards."""
    peers: Path | None
    """Where the peers' Python environment is, or is to be made. None: the peers are left out."""
    server: EmbeddedPostgres
    """fsync and synchronous_commit as PostgreSQL has them from the start: on."""
    _databases: Iterator[int] = field(default_factory=lambda: count(1))
    _started: float = field(default_factory=time.monotonic)

    def database_url(self, *, migrated: bool = True) -> str:
        """A database of its own for whoever asks: with the product's tables, or empty."""
        name = f"bench_{next(self._databases)}"
        with closing(psycopg2.connect(self.server.url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"CREATE DATABASE {name}")
        url = self.server.url.replace("/holdfast?", f"/{name}?")
        if migrated:
            migrate.upgrade(url)
        return url

    def say(self, text: str) -> None:
        """A line on how far it is, for who waits. On stderr, so that stdout has the tables only."""
        sys.stderr.write(f"{time.monotonic() - self._started:6.0f} s  {text}\n")
        sys.stderr.flush()
