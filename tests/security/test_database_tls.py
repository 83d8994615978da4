"""The TLS parameters of an address hold for every kind of connection, on a real server with a private CA."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import psycopg2
import pytest

from common.database import nonblocking
from common.database.database import Database
from common.database.errors import DatabaseUnavailable
from common.process.settings import Settings
from common.schema import migrate
from common.schema.accounts import address_of
from common.schema.reaching import DatabaseUnreachable
from domain.states import CHANNEL
from local.binaries import server_account
from local.postgres import EmbeddedPostgres
from ops import check
from ops.database import Unusable, transaction
from orchestrator.listener import Listener
from tests.database.conftest import Sql
from tests.debian_postgres import debian_binaries
from tests.system.stack import PROJECT, free_port
from tests.tls import private_ca
from tests.waiting import eventually

RULES = "local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n"
IS_ENCRYPTED = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
Address = Callable[..., str]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EmbeddedPostgres, Path]]:
    """A server that takes TLS on a port of this machine, and the certificate of its CA. The embedded one has no TLS."""
    folder, port = tmp_path_factory.mktemp("tls"), free_port()
    folder.chmod(0o755)
    ca, chain = private_ca(folder)
    os.chown(chain, *server_account())
    chain.chmod(0o600)
    settings = {"fsync": "off", "listen_addresses": "127.0.0.1", "port": str(port), "ssl": "on"}
    settings |= {"ssl_cert_file": str(chain), "ssl_key_file": str(chain)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGPORT", str(port))  # an embedded server's own address has none
        with EmbeddedPostgres(folder / "postgres", settings, debian_binaries()) as postgres:
            migrate.upgrade(postgres.url)
            hba = folder / "postgres" / "data" / "pg_hba.conf"
            hba.write_text(RULES)
            os.kill(postgres.pid, signal.SIGHUP)
            yield postgres, ca


@pytest.fixture
def address(server: tuple[EmbeddedPostgres, Path]) -> Address:
    """`address("verify-full", ca=…)`: the server's address by TCP."""
    postgres, ca = server
    passfile = psycopg2.extensions.parse_dsn(postgres.url)["passfile"]

    def make(mode: str, root: Path = ca, role: str = "holdfast", host: str = "localhost") -> str:
        parameters = f"sslmode={mode}&sslrootcert={quote(str(root))}&passfile={quote(passfile)}&gssencmode=disable"
        return address_of(f"postgresql://{host}:{os.environ['PGPORT']}/holdfast?{parameters}", role)

    eventually(lambda: psycopg2.connect(make("require")).close() is None)
    return make


@pytest.fixture
def other_ca(tmp_path: Path) -> Path:
    return private_ca(tmp_path)[0]


def through_pool(url: str) -> bool:
    with closing(Database(url, name="test", size=1)) as database:  # type: ignore[type-var]
        return bool(database.one(IS_ENCRYPTED)["ssl"])  # type: ignore[index]


def through_listen(url: str) -> bool:
    deadline = time.monotonic() + 10
    with closing(nonblocking.open_async(url, "test", deadline)) as connection, connection.cursor() as cursor:
        cursor.execute(IS_ENCRYPTED)
        nonblocking.wait(connection, deadline)
        return bool(cursor.fetchone()[0])


def through_ops(url: str) -> bool:
    with transaction({"DATABASE_URL": url}, timeout_s=5) as tx:
        return bool(tx.all(IS_ENCRYPTED)[0]["ssl"])


def through_migrations(url: str) -> bool:
    """Alembic with SQLAlchemy, as a process. The server's log of connections would be another way to know."""
    migrate.upgrade(url)
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "current"], cwd=PROJECT, env={**os.environ, "DATABASE_URL": url},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise DatabaseUnreachable(done.stderr)
    return True


WAYS = {"pool": through_pool, "LISTEN": through_listen, "ops": through_ops, "migrations": through_migrations}
REFUSED = (DatabaseUnavailable, psycopg2.OperationalError, Unusable, DatabaseUnreachable)


@pytest.mark.parametrize("way", WAYS)
def test_certificate_of_a_known_ca_is_trusted(address: Address, way: str) -> None:
    assert WAYS[way](address("verify-full"))


@pytest.mark.parametrize("way", WAYS)
def test_certificate_of_another_ca_is_refused(address: Address, way: str, other_ca: Path) -> None:
    with pytest.raises(REFUSED):
        WAYS[way](address("verify-full", root=other_ca))


@pytest.mark.parametrize("way", WAYS)
def test_certificate_of_another_host_is_refused(address: Address, way: str) -> None:
    with pytest.raises(REFUSED):
        WAYS[way](address("verify-full", host="127.0.0.1"))


@pytest.mark.parametrize("way", ["pool", "LISTEN", "ops"])
def test_connection_without_tls_is_possible_if_the_address_says_so(address: Address, way: str) -> None:
    assert not WAYS[way](address("disable"))


def test_listener_hears_over_tls(address: Address) -> None:
    woken, stopping = threading.Event(), threading.Event()
    url = address("verify-full", role="holdfast_orchestrator")
    listener = Listener(url, {CHANNEL: woken.set}, stopping)
    thread = threading.Thread(target=listener.run)
    thread.start()
    try:
        assert listener.is_listening.wait(30)
    finally:
        stopping.set()
        thread.join(30)
    assert Settings.load({"DATABASE_URL": url}).database_url == url


def test_connection_to_another_host_without_tls_is_a_problem(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.checks.access.is_local", lambda host: False)

    def found(url: str) -> list[str]:
        return [each.name for each, problems in check.check({"DATABASE_URL": url}) if problems]

    assert "encryption" in found(address("disable"))
    assert "encryption" not in found(address("require"))


def test_password_is_asked_for_by_tcp_too(address: Address) -> None:
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        Sql(address("require").replace("passfile=", "password=wrong&passfile="))
