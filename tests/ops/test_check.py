"""`python -m ops check` finds each problem on a real server, and the statement it suggests fixes the problem."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest

from common.database.soundness import Problem
from common.schema import migrate
from common.schema.accounts import address_of
from local.binaries import server_account
from local.postgres import EmbeddedPostgres
from ops import roles
from ops.check import check
from ops.checks import sessions
from ops.checks.every import CHECKS
from tests.database.conftest import Sql
from tests.faults.test_17_clock_off import HOUR_S, SITECUSTOMIZE
from tests.pgbouncer import pgbouncer

PROJECT = Path(__file__).resolve().parents[2]

# The statements that cause a problem, by check. A semicolon and a space separate two.
PROBLEMS = {
    "collation": [
        "UPDATE pg_database SET datcollversion = '0' WHERE datname = current_database()",
    ],
    "sequences": [
        "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY); INSERT INTO t OVERRIDING SYSTEM VALUE VALUES (500)",
        "CREATE TABLE t (id serial); INSERT INTO t VALUES (1)",
    ],
    "events": [
        "INSERT INTO events (id, xid, client, order_ledger_id, sequence, type, status) VALUES ('evt_f', '9000000000',"
        " 'shop', gen_random_uuid(), 1, 'order.completed', 'COMPLETED')",
        "INSERT INTO webhook_endpoints (id, client, url, event_types, cursor_xid)"
        " VALUES ('we_f', 'shop', 'https://shop.example', '{*}', '9000000000')",
    ],
    "indexes": [
        "CREATE TABLE t (id int); INSERT INTO t VALUES (1), (1); CREATE UNIQUE INDEX CONCURRENTLY i ON t (id);"
        " DELETE FROM t",
    ],
    "constraints": ["ALTER TABLE orders ADD CONSTRAINT c CHECK (id IS NOT NULL) NOT VALID"],
    "triggers": [
        "ALTER TABLE order_ledger DISABLE TRIGGER USER",
        "ALTER TABLE order_ledger DISABLE TRIGGER ALL",
        "ALTER ROLE holdfast SET session_replication_role = 'replica'",
    ],
    "durability": [
        "ALTER DATABASE checked SET synchronous_commit = 'off'",
        "ALTER SYSTEM SET fsync = 'off'; SELECT pg_reload_conf()",
        "ALTER SYSTEM SET full_page_writes = 'off'; SELECT pg_reload_conf()",
    ],
    "writable": ["ALTER DATABASE checked SET default_transaction_read_only = 'on'"],
    "isolation": ["ALTER ROLE holdfast SET default_transaction_isolation = 'serializable'"],
    "timeouts": [
        f"ALTER ROLE holdfast SET {name} = '1s'"
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "transaction_timeout")
    ]
    + [
        "ALTER DATABASE checked SET idle_session_timeout = '30s'",
        "ALTER ROLE holdfast IN DATABASE checked SET lock_timeout = '1s'",
    ],
    "autovacuum": [
        "ALTER TABLE order_ledger SET (autovacuum_enabled = false)",
        "ALTER SYSTEM SET autovacuum = 'off'; SELECT pg_reload_conf()",
        "ALTER SYSTEM SET track_counts = 'off'; SELECT pg_reload_conf()",
    ],
    "vacuum": [
        "ALTER TABLE order_ledger SET (autovacuum_vacuum_scale_factor = 0.9)",
        "ALTER TABLE order_ledger SET (autovacuum_vacuum_threshold = 100000000)",
        "ALTER SYSTEM SET autovacuum_vacuum_scale_factor = 0.5; SELECT pg_reload_conf()",
        "ALTER SYSTEM SET autovacuum_vacuum_threshold = 100000; SELECT pg_reload_conf()",
    ],
    "logging": [
        f"ALTER DATABASE checked SET {name} = '{value}'"
        for name, value in {
            "log_statement": "mod",
            "log_min_duration_statement": "1000",
            "log_min_duration_sample": "1000",
            "log_transaction_sample_rate": "0.5",
            "log_min_error_statement": "error",
            "log_error_verbosity": "default",
        }.items()
    ]
    + [
        "ALTER DATABASE checked SET session_preload_libraries = 'auto_explain';"
        " ALTER DATABASE checked SET auto_explain.log_min_duration = '1000'"
    ],
    "passwords": ["ALTER SYSTEM SET password_encryption = 'md5'; SELECT pg_reload_conf()"],
    "powers": [
        "ALTER ROLE holdfast_edge_api CREATEROLE",
        "ALTER ROLE holdfast_orchestrator REPLICATION BYPASSRLS CREATEDB",
        "GRANT holdfast TO holdfast_payments_service",
        "ALTER ROLE holdfast_edge_api SET search_path = 'theirs'; ALTER ROLE holdfast_audit SET statement_timeout = 0",
        "ALTER ROLE holdfast_edge_api IN DATABASE checked SET statement_timeout = '5s'",
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        "GRANT CREATE ON SCHEMA public TO holdfast_orders_service",
    ],
    "transactions": ["BEGIN; INSERT INTO rate_limits VALUES ('x', 1); PREPARE TRANSACTION 'forgotten'"],
    "slots": ["SELECT pg_create_physical_replication_slot('forgotten', true)"],
}
CASES = [(name, statements) for name, cases in PROBLEMS.items() for statements in cases]
# These have separate tests, because SQL does not fix them.
OTHERS = {"roles", "owner", "encryption", "services", "migrations", "encoding", "clock", "connections", "pooler"}
CLEAN = (
    "DROP TABLE IF EXISTS t",
    "ALTER TABLE orders DROP CONSTRAINT IF EXISTS c",
    "ALTER TABLE order_ledger ENABLE TRIGGER ALL",
    "ALTER TABLE order_ledger RESET (autovacuum_enabled, autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold)",
    "ALTER DATABASE checked REFRESH COLLATION VERSION",
    "ALTER DATABASE checked RESET ALL",
    "ALTER ROLE holdfast RESET ALL",
    "ALTER ROLE holdfast IN DATABASE checked RESET ALL",
    "ALTER SYSTEM RESET ALL",
    "SELECT pg_reload_conf()",
)


def found(url: str, **environ: str) -> dict[str, list[Problem]]:
    """The problems, by the check that found them."""
    return {each.name: problems for each, problems in check({"DATABASE_URL": url, **environ}) if problems}


def run(server: EmbeddedPostgres, statements: str, database: str = "checked") -> None:
    with closing(Sql(address(server, database))) as sql:
        for statement in statements.split("; "):
            try:
                sql(statement)
            except psycopg2.errors.UniqueViolation:  # leaves an invalid index, which is the problem
                continue


def address(server: EmbeddedPostgres, database: str) -> str:
    return urlsplit(server.url)._replace(path=f"/{database}").geturl()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server as `make run` starts it."""
    settings = {"max_prepared_transactions": "2"}
    with EmbeddedPostgres(tmp_path_factory.mktemp("checked") / "data", settings) as server:
        run(server, "CREATE DATABASE checked", "holdfast")
        migrate.upgrade(address(server, "checked"))
        yield server


@pytest.fixture
def url(server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(sessions, "OLD_S", 0)  # a test does not wait until a transaction is old
    yield address(server, "checked")
    with closing(psycopg2.connect(server.url, options="-c default_transaction_read_only=off")) as connection:
        connection.autocommit = True
        for statement in CLEAN[4:]:
            connection.cursor().execute(statement)
    run(server, "; ".join(CLEAN[:4]))


def test_healthy_database_has_no_problem(url: str) -> None:
    assert found(url) == {}


def test_every_check_is_tested() -> None:
    assert {each.name for each in CHECKS} == PROBLEMS.keys() | OTHERS


@pytest.mark.parametrize(("name", "statements"), CASES)
def test_problem_is_found_and_its_remedy_fixes_it(
    server: EmbeddedPostgres, url: str, name: str, statements: str
) -> None:
    run(server, statements)
    problems = found(url)
    assert problems.keys() == {name}
    for problem in problems[name]:
        run(server, problem.remedy)
    assert found(url) == {}


def test_open_transaction_is_found(server: EmbeddedPostgres, url: str) -> None:
    with closing(psycopg2.connect(url, application_name="forgetful")) as connection:
        connection.cursor().execute("SELECT 1")
        ((name, [problem]),) = found(url).items()
        assert (name, "forgetful" in problem.what) == ("transactions", True)
        run(server, problem.remedy)
        with pytest.raises(psycopg2.OperationalError):
            connection.cursor().execute("SELECT 1")


def test_database_that_is_not_migrated_is_found(server: EmbeddedPostgres, url: str) -> None:
    run(server, "CREATE DATABASE empty", "holdfast")
    empty = address(server, "empty")
    try:
        assert [problem.what for problem in found(empty)["migrations"]] == ["the database is not migrated"]
        migrate.upgrade(empty)
        migrate.downgrade(empty, "-1")
        assert "this release needs" in found(empty)["migrations"][0].what
    finally:
        run(server, "DROP DATABASE empty WITH (FORCE)", "holdfast")


@pytest.mark.parametrize(
    ("statements", "says"),
    [
        (
            "GRANT DELETE ON orders TO holdfast_edge_api",
            "holdfast_edge_api has rights that it does not need, on orders",
        ),
        ("GRANT UPDATE (email) ON order_ledger TO holdfast_edge_api", "does not need, on order_ledger"),
        ("GRANT SELECT ON order_ledger TO PUBLIC", "holdfast_payments_service has rights that it does not need"),
        ("REVOKE SELECT ON orders FROM holdfast_orders_service", "holdfast_orders_service lacks rights on orders"),
    ],
)
def test_other_rights_are_found(server: EmbeddedPostgres, url: str, statements: str, says: str) -> None:
    run(server, statements)
    try:
        assert any(says in problem.what for problem in found(url)["roles"])
    finally:
        run(server, "REVOKE ALL ON order_ledger, orders FROM PUBLIC")
        roles.run({"DATABASE_URL": url}, sql=False, new_passwords=False)
    assert found(url) == {}


def test_missing_role_is_found(server: EmbeddedPostgres, url: str) -> None:
    run(server, "ALTER ROLE holdfast_edge_api RENAME TO aside")
    try:
        (problem,) = found(url)["roles"]
        assert problem.what.endswith("share another: holdfast_edge_api")
    finally:
        run(server, "ALTER ROLE aside RENAME TO holdfast_edge_api")


def test_process_that_owns_the_tables_is_found(server: EmbeddedPostgres, url: str) -> None:
    run(server, "ALTER TABLE holdfast_version OWNER TO holdfast_edge_api")
    try:
        assert "holdfast_edge_api owns the tables" in found(url)["owner"][0].what
    finally:
        run(server, "ALTER TABLE holdfast_version OWNER TO holdfast")
        roles.run({"DATABASE_URL": url}, sql=False, new_passwords=False)


def test_calls_to_other_hosts_without_tls_are_found(url: str) -> None:
    (problem,) = found(url, PAYMENTS_SERVICE_URL="http://payments.example")["services"]
    assert problem.what.startswith("PAYMENTS_SERVICE_URL is an http:// address of another host")
    assert found(url, PAYMENTS_SERVICE_URL="https://payments.example", ORDERS_SERVICE_URL="http://[::1]:8100") == {}


def test_audit_role_can_run_every_check(url: str) -> None:
    assert found("postgresql:///not.used", AUDIT_DATABASE_URL=address_of(url, "holdfast_audit")) == {}


def test_other_encoding_is_found(server: EmbeddedPostgres, url: str) -> None:
    options = "ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0"
    run(server, f"CREATE DATABASE latin {options}", "holdfast")
    try:
        assert "LATIN1" in found(address(server, "latin"))["encoding"][0].what
    finally:
        run(server, "DROP DATABASE latin WITH (FORCE)", "holdfast")


def test_standby_is_found(server: EmbeddedPostgres, url: str) -> None:
    signal = server.folder / "data" / "standby.signal"
    signal.touch()
    os.chown(signal, *server_account())
    server.restart()
    try:
        assert [problem.what for problem in found(url)["writable"]] == ["this server is a standby"]
    finally:
        signal.unlink()
        server.restart()


def test_too_few_connections_are_found(server: EmbeddedPostgres, url: str) -> None:
    assert found(url, WEB_CONCURRENCY="16").keys() == {"connections"}
    run(server, "ALTER DATABASE checked CONNECTION LIMIT 50")
    try:
        assert found(url).keys() == {"connections"}
    finally:
        run(server, "ALTER DATABASE checked CONNECTION LIMIT -1")


def test_pooler_is_found(url: str, tmp_path: Path) -> None:
    with pgbouncer(url, tmp_path / "pgbouncer") as pooled:
        assert found(pooled).keys() == {"pooler"}


def test_permission_that_is_missing_is_a_problem(server: EmbeddedPostgres, url: str) -> None:
    run(server, "CREATE ROLE stranger LOGIN PASSWORD 'stranger'; REVOKE SELECT ON pg_replication_slots FROM PUBLIC")
    try:
        problems = found(address_of(url, "stranger", "stranger"))
        assert "cannot be checked: permission denied" in problems["slots"][0].what
    finally:
        run(server, "GRANT SELECT ON pg_replication_slots TO PUBLIC; DROP ROLE stranger")


# The command as an operator runs it: a process, its exit code and its output


def command(url: str, *arguments: str, module: str = "ops", **environ: str) -> tuple[int, str, str]:
    """:returns: the exit code, and what was written to stdout and stderr"""
    done = subprocess.run(
        [sys.executable, "-m", module, "check", *arguments],
        cwd=PROJECT,
        env={**os.environ, "DATABASE_URL": url, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_each_check_is_one_line(server: EmbeddedPostgres, url: str) -> None:
    code, out, err = command(url)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[:2] for line in lines[:-1]] == [["ok", each.name] for each in CHECKS]
    assert lines[-1] == f"{len(CHECKS)} checks, no problem"
    run(server, "ALTER TABLE orders DISABLE TRIGGER USER")
    try:
        code, out, _ = command(url)
    finally:
        run(server, "ALTER TABLE orders ENABLE TRIGGER USER")
    assert code == 1
    (line,) = [line for line in out.splitlines() if line.startswith("PROBLEM")]
    assert line.endswith("→  ALTER TABLE orders ENABLE TRIGGER USER")
    assert out.endswith(" checks, 1 problem\n")
    assert "\x1b" not in out


def test_json(url: str) -> None:
    code, out, _ = command(url, "--format", "json", WEB_CONCURRENCY="16")
    report = json.loads(out)
    assert (code, report["ok"], len(report["checks"])) == (1, False, len(CHECKS))
    (broken,) = [each for each in report["checks"] if not each["ok"]]
    assert broken["name"] == "connections"
    assert broken["problems"][0].keys() == {"what", "remedy"}


def test_clock_that_is_off_is_found(url: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE)
    code, out, _ = command(url, PYTHONPATH=str(tmp_path), CLOCK_OFF_S=str(HOUR_S))
    assert code == 1
    assert [line.split()[1] for line in out.splitlines() if line.startswith("PROBLEM")] == ["clock"]


@pytest.mark.parametrize("address", ["postgresql://me:hidden@127.0.0.1:1/shop", "mysql://me:hidden@127.0.0.1/shop"])
def test_database_that_cannot_be_asked_is_exit_code_2(address: str) -> None:
    code, out, err = command(address)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "hidden" not in err


def test_make_check_finds_the_database_of_make_run(server: EmbeddedPostgres, tmp_path: Path) -> None:
    assert command("", "--data", str(server.folder), module="local")[1].startswith("PROBLEM  migrations")
    assert command("", "--data", str(tmp_path), module="local")[0] == 2
