"""The context of every part: the number of rounds, a folder for its files, and databases on one shared server."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psycopg2

from benchmarks.processes import PROJECT, migrate
from local.postgres import EmbeddedPostgres

# The orchestrator may hold a connection for each of its threads (at most 256) and a few more; the default is 200.
SERVER_SETTINGS = {"max_connections": "400"}


@dataclass
class Bench:
    rounds: int
    short: bool
    """Only check that everything works: the figures mean nothing."""
    folder: Path
    """For logs and other temporary files."""
    peers: Path | None
    """The folder of the peers' Python environment, made if missing. None: the peers are left out."""
    server: EmbeddedPostgres
    """fsync and synchronous_commit are on, which is PostgreSQL's default."""
    checkout: Path = PROJECT
    """The folder whose code is measured."""
    ours_only: bool = False
    """Leave out what Holdfast is compared with."""
    _databases: Iterator[int] = field(default_factory=lambda: count(1))
    _started: float = field(default_factory=time.monotonic)

    def database_url(self, *, migrated: bool = True) -> str:
        """Create a database, with the product's tables or empty."""
        url = self._new_database()
        if migrated:
            migrate(self.checkout, url)
        return url

    def copy_of(self, url: str) -> str:
        """Create a copy of a database to which nobody is connected."""
        return self._new_database(f"TEMPLATE {url.partition('?')[0].rpartition('/')[2]}")

    def _new_database(self, how: str = "") -> str:
        name = f"bench_{next(self._databases)}"
        with closing(psycopg2.connect(self.server.url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"CREATE DATABASE {name} {how}")
        return self.server.url.replace("/holdfast?", f"/{name}?")

    def say(self, text: str) -> None:
        """Print a line of progress to stderr, so that stdout has the tables only."""
        sys.stderr.write(f"{time.monotonic() - self._started:6.0f} s  {text}\n")
        sys.stderr.flush()
