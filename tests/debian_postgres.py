"""PostgreSQL as Debian packages it: with ICU, which the embedded server lacks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest

from local.postgres import EmbeddedPostgres

VERSIONS = Path("/usr/lib/postgresql")


def debian_binaries() -> Path:
    """Find the newest installed version; without one, skip the test (fail it when `CI` is set)."""
    found = sorted(VERSIONS.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if not found:
        leave = pytest.fail if os.environ.get("CI") else pytest.skip
        leave("Debian's package postgresql is not installed")
    return found[-1].parent


@pytest.fixture(scope="module")
def debian_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    binaries = debian_binaries()
    with EmbeddedPostgres(tmp_path_factory.mktemp("debian") / "data", {"fsync": "off"}, binaries) as server:
        yield server


class IcuDatabase:
    """A database whose default collation is an ICU locale."""

    def __init__(self, server: EmbeddedPostgres, name: str, locale: str) -> None:
        self.url = urlsplit(server.url)._replace(path=f"/{name}").geturl()
        self._server, self._name = server, name
        self._admin(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self._admin(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE '{locale}'"
        )

    def change_locale(self, locale: str) -> None:
        """Change the collation under the data, as moving the files to another operating system may."""
        name_of_17 = "SELECT 1 FROM pg_attribute WHERE attrelid = 'pg_database'::regclass AND attname = 'datlocale'"
        column = "datlocale" if self._admin(name_of_17) else "daticulocale"
        self._admin(f"UPDATE pg_database SET {column} = '{locale}' WHERE datname = '{self._name}'")
        self._server.restart()

    def _admin(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(psycopg2.connect(self._server.url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
