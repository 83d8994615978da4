"""`make check`, `audit`, `attention` and `keys`: commands of `ops` on the database of `make run`, or DATABASE_URL."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psycopg2

from local import roles
from local.postgres import EmbeddedPostgres
from ops import __main__ as ops


def main(arguments: Sequence[str], environ: Mapping[str, str], data_dir: Path) -> int:
    """Run the command; its exit code, or 2 when no database is running."""
    if environ.get("DATABASE_URL"):
        return ops.main(arguments, environ)
    url = EmbeddedPostgres(data_dir).url
    try:
        psycopg2.connect(url, connect_timeout=5).close()
    except psycopg2.OperationalError:
        sys.stderr.write(
            "No database is running here. Start it in another terminal with `make run`, or set DATABASE_URL.\n"
        )
        return ops.UNUSABLE
    return ops.main(arguments, {**environ, "DATABASE_URL": url, **roles.addresses(url)})
