"""`make check`, `audit` and others: commands of `ops` on the database of `make run`, or on that in DATABASE_URL."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2

from common.process import env_file
from common.process.addresses import LINES, LOOPBACK, PORT_STEP, url_of
from local import credentials, roles
from local.postgres import EmbeddedPostgres
from ops import __main__ as ops


def main(arguments: Sequence[str], environ: Mapping[str, str], data_dir: Path) -> int:
    """Run the command; its exit code, or 2 when no database is running."""
    environ = {**_payments_service(data_dir), **environ}
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


def _payments_service(data_dir: Path) -> dict[str, str]:
    """Where `make run` has it, which may be on other ports than usual."""
    edge = urlsplit(env_file.read(credentials.path_beside(data_dir)).get("HOLDFAST_URL", ""))
    if edge.port is None:
        return {}
    port = edge.port + PORT_STEP * LINES.index("payments_service")
    return {"PAYMENTS_SERVICE_URL": url_of(edge.hostname or LOOPBACK, port)}
