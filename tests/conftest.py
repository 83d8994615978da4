"""One real PostgreSQL for the whole run; every test starts with empty tables."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator

import psycopg2
import pytest

from common.process import logs
from common.process.settings import Settings
from common.schema import migrate
from local.postgres import EmbeddedPostgres
from tests import credentials
from tests.emptied import empty_tables

os.environ.setdefault("APP_ENV", "test")  # for all processes that tests start: leases may be short
credentials.use_in_this_process()

# Some tests open more than the 1,024 files that an ordinary user usually may, as do nginx and our workers under load.
_, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (_hard, _hard))


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    # A test's data need not survive a power cut; durability across a killed server is not affected by fsync.
    # The services that tests share within the process keep up to 160 connections, a system of processes has up to 90.
    settings = {"fsync": "off", "max_connections": "400"}
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres") / "data", settings=settings) as server:
        yield server
        os.kill(server.pid, signal.SIGQUIT)  # SIGQUIT does not wait for open connections, which would take 4 s


@pytest.fixture(scope="session")
def migrated_url(postgres: EmbeddedPostgres) -> str:
    migrate.upgrade(postgres.url)
    return postgres.url


@pytest.fixture(autouse=True)
def no_request_id() -> None:
    """Clear the request id, so that log lines do not carry that of the previous test."""
    logs.request_id.set("")


@pytest.fixture
def url(migrated_url: str) -> str:
    """The address of a migrated, empty database, with the key of one client."""
    with psycopg2.connect(migrated_url) as connection, connection.cursor() as cursor:
        empty_tables(cursor)
        cursor.execute("DELETE FROM client_keys")
        credentials.add_key(cursor)
    connection.close()
    return migrated_url


@pytest.fixture
def settings(url: str) -> Callable[..., Settings]:
    """`settings(MOCK_FAILURE_RATE="0.5")`: settings for this test's database, as a process would read them."""
    usual = {"DATABASE_URL": url, "LOG_LEVEL": "WARNING", "APP_ENV": "test", **credentials.SETTINGS}
    return lambda **environ: Settings.load({**usual, **environ})
