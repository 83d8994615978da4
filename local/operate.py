"""`make check`, `make audit` and `make attention`: the commands of `ops`, by default on the database of `make run`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psycopg2

from local.postgres import EmbeddedPostgres
from ops import __main__ as ops


def main(arguments: Sequence[str], environ: Mapping[str, str], data_dir: Path) -> int:
    """The command's exit code; 2 where there is no database to ask."""
    if environ.get("DATABASE_URL"):
        return ops.main(arguments, environ)
    url = EmbeddedPostgres(data_dir).url
    try:
        psycopg2.connect(url, connect_timeout=5).close()
    except psycopg2.OperationalError:
        sys.stderr.write("No database is running here. First, in another terminal: make run (or set DATABASE_URL)\n")
        return ops.UNUSABLE
    return ops.main(arguments, {**environ, "DATABASE_URL": url})
