"""A session's limits, parameters and times, on a direct connection and behind a real PgBouncer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from common.database import sessions
from common.database.database import Database
from common.database.errors import DatabaseBusy, DatabaseUnavailable
from common.database.sessions import LIMITS, Sessions, parameters
from local.postgres import EmbeddedPostgres
from tests.other_session import other_session
from tests.pgbouncer import pgbouncer

ISOLATION_NOW = "SELECT current_setting('transaction_isolation') AS value"
INSERT = "INSERT INTO t (name) VALUES ('a')"
# How a pooler treats a session's startup options: PgBouncer refuses them by default; many are configured to drop them.
POOLERS = {"refuses options": {}, "drops options": {"ignore_startup_parameters": "options"}}


@pytest.fixture(scope="module", params=POOLERS)
def pooled_url(
    request: pytest.FixtureRequest, own_server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("pooler") / "pgbouncer"
    with pgbouncer(own_server.url, folder, **POOLERS[request.param]) as url:
        yield url


@pytest.fixture(scope="module", params=["direct", *POOLERS])
def any_url(
    request: pytest.FixtureRequest, own_server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    if request.param == "direct":
        yield own_server.url
        return
    folder: Path = tmp_path_factory.mktemp("pooler") / "pgbouncer"
    with pgbouncer(own_server.url, folder, **POOLERS[request.param]) as url:
        yield url


def current(setting: str) -> str:
    return f"SELECT current_setting('{setting}') AS value"


def test_every_limit_holds_in_every_kind_of_transaction(
    any_url: str, new_database: Callable[..., Database], admin: object
) -> None:
    database = new_database(url=any_url)
    for name, value in LIMITS.items():
        assert database.one(current(name)) == {"value": value}
        assert (
            database.transact(lambda tx, name=name: [tx.one(current(name)), tx.one(current(name))])
            == [{"value": value}] * 2
        )
        assert (
            database.statement(lambda tx, name=name: [tx.one(current(name)), tx.one(current(name))])
            == [{"value": value}] * 2
        )


def test_every_transaction_is_read_committed_whatever_the_default_of_the_database(
    own_server: EmbeddedPostgres, any_url: str, new_database: Callable[..., Database]
) -> None:
    with closing(psycopg2.connect(own_server.url)) as admin, admin.cursor() as cursor:
        admin.autocommit = True
        cursor.execute("ALTER DATABASE holdfast SET default_transaction_isolation = 'repeatable read'")
        try:
            database = new_database(url=any_url)
            found = database.one(ISOLATION_NOW), database.transact(lambda tx: tx.one(ISOLATION_NOW))
        finally:
            cursor.execute("ALTER DATABASE holdfast RESET default_transaction_isolation")
    assert found == ({"value": "read committed"}, {"value": "read committed"})


def test_limits_do_not_stay_on_the_server_connection(pooled_url: str, new_database: Callable[..., Database]) -> None:
    database = new_database(url=pooled_url)
    database.transact(lambda tx: tx.one("SELECT 1"))
    database.one("SELECT 1")
    with closing(psycopg2.connect(pooled_url)) as another, another.cursor() as cursor:
        cursor.execute("SELECT current_setting('statement_timeout'), current_setting('enable_seqscan')")
        assert cursor.fetchone() == ("0", "on")


def test_slow_statement_is_cancelled(
    any_url: str, new_database: Callable[..., Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sessions.LIMITS, "statement_timeout", "20ms")
    database = new_database(url=any_url)
    with pytest.raises(DatabaseUnavailable):
        database.one("SELECT pg_sleep(30)")
    with pytest.raises(DatabaseUnavailable):
        database.transact(lambda tx: tx.one("SELECT pg_sleep(30)"))


def test_wait_for_a_lock_is_bounded(
    any_url: str, own_server: EmbeddedPostgres, new_database: Callable[..., Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sessions.LIMITS, "lock_timeout", "20ms")
    database = new_database(url=any_url)
    with other_session(own_server.url) as cursor:
        cursor.execute("LOCK TABLE t")
        with pytest.raises(DatabaseBusy):
            database.one(INSERT)
        with pytest.raises(DatabaseBusy):
            database.transact(lambda tx: tx.execute_at_the_end(INSERT))


def test_nothing_is_prepared_behind_a_pooler(
    pooled_url: str, new_database: Callable[..., Database], admin: Callable[..., Any]
) -> None:
    database = new_database(url=pooled_url)
    for _ in range(3):
        database.one(INSERT)
        database.transact(lambda tx: [tx.execute(INSERT), tx.execute_at_the_end(INSERT)])
    assert database.one("SELECT count(*) AS n FROM pg_prepared_statements") == {"n": 0}
    assert admin("SELECT count(*) FROM t") == [(9,)]


def test_notifications_for_others_do_not_accumulate(
    own_server: EmbeddedPostgres, new_database: Callable[..., Database], admin: object
) -> None:
    """A pooler shares server connections, and a LISTEN of another client may remain on one."""
    database = new_database(size=1)
    database.one("LISTEN here")
    for _ in range(3):
        database.one("SELECT pg_notify('here', '')")
    (pooled,) = database._pool._idle
    assert pooled.connection.notifies == []


def test_a_direct_connection_sends_no_limits_with_its_statements(own_server: EmbeddedPostgres) -> None:
    session = Sessions(own_server.url, "test").open()
    session.connection.close()
    assert session.limits == ""


def test_other_connection_errors_are_not_mistaken_for_a_pooler(own_server: EmbeddedPostgres) -> None:
    opened = Sessions(own_server.url.replace("/holdfast?", "/nowhere?"), "test")
    with pytest.raises(psycopg2.OperationalError, match="nowhere"):
        opened.open()
    assert opened._takes_options


def test_database_checks_its_health_through_a_pooler(pooled_url: str, new_database: Callable[..., Database]) -> None:
    new_database(url=pooled_url).check(timeout=20)


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/St_Johns", "UTC"])
def test_times_are_in_utc_whatever_zone_the_session_has(
    any_url: str, new_database: Callable[..., Database], admin: Callable[..., Any], zone: str
) -> None:
    admin("INSERT INTO t (name, at) VALUES ('a', '2026-11-29 12:00:00Z'), ('b', NULL)")
    sql = "SELECT set_config('timezone', %(zone)s, true), at FROM t WHERE name = %(name)s"
    at = new_database(url=any_url).transact(lambda tx: tx.one(sql, zone=zone, name="a"))["at"]
    assert (at.isoformat(), at.tzinfo) == ("2026-11-29T12:00:00+00:00", UTC)
    assert new_database(url=any_url).one(sql, zone=zone, name="b")["at"] is None


# Parameters in the address


def test_parameters_of_the_address_win() -> None:
    url = "postgresql://shop@db/x?connect_timeout=9&sslmode=require&target_session_attrs=read-write&application_name=me"
    found = parameters(url, name="test")
    assert {
        name: found[name] for name in ("connect_timeout", "sslmode", "target_session_attrs", "application_name")
    } == {
        "connect_timeout": "9",
        "sslmode": "require",
        "target_session_attrs": "read-write",
        "application_name": "me",
    }
    assert found["keepalives_idle"] == 5, "our defaults apply where the address is silent"


def test_options_of_the_address_are_added_to_ours_and_win(
    own_server: EmbeddedPostgres, new_database: Callable[..., Database], admin: Callable[..., Any]
) -> None:
    options = "-csearch_path%3Dshop%20-cstatement_timeout%3D7s"
    database = new_database(url=f"{own_server.url}&options={options}")
    found = [database.one(current(name))["value"] for name in ("search_path", "statement_timeout", "lock_timeout")]
    assert found == ["shop", "7s", "2s"]


@pytest.mark.parametrize(
    "url",
    ["postgresql://u@h1:5432,h2:5433/db", "postgresql://u@/db?host=h1,h2&port=5432,5433"],
)
def test_both_forms_of_several_hosts(url: str) -> None:
    found = parameters(url, name="test")
    assert (found["host"], found["port"], found["dbname"]) == ("h1,h2", "5432,5433", "db")
