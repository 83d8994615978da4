"""`python -m ops roles` as an operator runs it, on a server without our roles."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from common.schema import migrate
from common.schema.accounts import address_of
from common.schema.roles import RIGHTS, ROLES, role_of
from local.binaries import find_binaries
from local.postgres import EmbeddedPostgres
from tests.database.conftest import Sql

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """It logs every statement, so that a test can look for passwords."""
    with EmbeddedPostgres(
        tmp_path_factory.mktemp("roles") / "data", {"fsync": "off", "log_statement": "all"}
    ) as server:
        yield server


@pytest.fixture
def sql(server: EmbeddedPostgres) -> Iterator[Sql]:
    with closing(Sql(server.url)) as connection:
        yield connection


@pytest.fixture(scope="module")
def template(server: EmbeddedPostgres) -> str:
    """The address of a migrated database that belongs to `merchant`."""
    password = secrets.token_urlsafe()
    with closing(Sql(server.url)) as sql:
        sql(f"CREATE ROLE merchant LOGIN CREATEROLE PASSWORD '{password}'")
        sql("CREATE DATABASE template_shop OWNER merchant")
    address = re.sub("/holdfast[?]", "/template_shop?", address_of(server.url, "merchant", password))
    migrate.upgrade(address)
    with closing(Sql(server.url)) as sql:
        _drop_roles(sql, address)
    return address


@pytest.fixture
def url(sql: Sql, template: str) -> Iterator[str]:
    """A migrated database that belongs to `merchant`, who may create roles and is no superuser."""
    sql("ALTER ROLE merchant CREATEROLE")
    sql("CREATE DATABASE shop TEMPLATE template_shop OWNER merchant")
    yield template.replace("/template_shop", "/shop")
    sql("DROP DATABASE shop WITH (FORCE)")
    for role in ROLES:
        sql(f"DROP ROLE IF EXISTS {role}")


def _drop_roles(sql: Sql, address: str) -> None:
    with closing(Sql(address)) as owner:
        for role in ROLES:
            for what in ("ALL TABLES IN SCHEMA public", "ALL FUNCTIONS IN SCHEMA public", "SCHEMA public"):
                owner(f"REVOKE ALL ON {what} FROM {role}")
    for role in ROLES:
        sql(f"DROP ROLE {role}")


def command(url: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ops", "roles", *arguments], cwd=PROJECT, capture_output=True, text=True, check=False,
        env={**os.environ, "DATABASE_URL": url, **environ},
    )  # fmt: skip


def settings_in(output: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in output.splitlines())


def user_at(url: str) -> str:
    with closing(Sql(url)) as sql:
        return str(sql("SELECT session_user")[0][0])


def test_command_prints_an_address_for_each_process(url: str) -> None:
    done = command(url)
    assert done.returncode == 0, done.stderr
    settings = settings_in(done.stdout)
    assert {name: user_at(address) for name, address in settings.items()} == {
        f"{name.upper()}_DATABASE_URL": role_of(name) for name in RIGHTS
    }
    with closing(Sql(settings["ORDERS_SERVICE_DATABASE_URL"])) as orders:
        orders("SELECT count(*) FROM orders")
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            orders("SELECT count(*) FROM order_ledger")


def test_command_can_be_repeated(url: str) -> None:
    settings = settings_in(command(url).stdout)
    again = command(url)
    assert (again.returncode, again.stdout) == (0, "")
    assert all(user_at(address) for address in settings.values())
    with closing(Sql(url)) as owner:
        records = owner("SELECT details FROM operator_log WHERE action = 'roles' ORDER BY at")
    assert [len(details["created"]) for (details,) in records] == [len(ROLES), 0]
    assert records[1][0]["rights"] == []


def test_new_passwords_replace_the_old_ones(url: str) -> None:
    old, new = settings_in(command(url).stdout), settings_in(command(url, "--new-passwords").stdout)
    assert old.keys() == new.keys()
    assert all(user_at(address) for address in new.values())
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        user_at(old["EDGE_API_DATABASE_URL"])


def test_password_of_an_address_that_is_set_is_used(url: str) -> None:
    mine = address_of(url, role_of("edge_api"), secrets.token_urlsafe())
    settings = settings_in(command(url, EDGE_API_DATABASE_URL=mine).stdout)
    assert "EDGE_API_DATABASE_URL" not in settings
    assert user_at(mine) == role_of("edge_api")


def test_password_reaches_neither_the_server_s_log_nor_the_record(server: EmbeddedPostgres, url: str) -> None:
    mine = secrets.token_urlsafe()
    settings = settings_in(command(url, EDGE_API_DATABASE_URL=address_of(url, role_of("edge_api"), mine)).stdout)
    passwords = {psycopg2.extensions.parse_dsn(address)["password"] for address in settings.values()} | {mine}
    log = server.log.read_text()
    assert "ALTER ROLE holdfast_edge_api PASSWORD 'SCRAM-SHA-256$" in log
    with closing(Sql(url)) as owner:
        log += str(owner("SELECT * FROM operator_log"))
    assert [password for password in passwords if password in log] == []


def test_role_that_may_not_create_roles_gets_a_clear_message(sql: Sql, url: str) -> None:
    sql("ALTER ROLE merchant NOCREATEROLE")
    done = command(url)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("the role in DATABASE_URL may not create roles. Create these with the tools of your")
    assert all(role in done.stderr for role in ROLES)
    assert len(done.stderr.splitlines()) == 1


def test_roles_that_a_platform_has_made_get_their_rights(sql: Sql, url: str) -> None:
    """As Heroku's named credentials: the owner of the tables may grant, and may not create or change roles."""
    sql("ALTER ROLE merchant NOCREATEROLE")
    password = secrets.token_urlsafe()
    for role in ROLES:
        sql(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
    assert command(url).returncode == 0
    for name, table in (("edge_api", "order_ledger"), ("payments_service", "payment_refunds")):
        with closing(Sql(address_of(url, role_of(name), password))) as process:
            process(f"SELECT count(*) FROM {table}")
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                process("SELECT count(*) FROM products")


def test_release_gives_roles_their_rights(sql: Sql, url: str) -> None:
    for role in ROLES:
        sql(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    done = subprocess.run(
        [sys.executable, "-m", "ops", "migrate"], cwd=PROJECT, env={**os.environ, "DATABASE_URL": url}, check=False
    )
    assert done.returncode == 0
    with closing(Sql(address_of(url, role_of("orders_service"), "x"))) as orders:
        orders("SELECT count(*) FROM orders")


def test_pooled_address_is_for_work_and_the_direct_one_for_listen_and_audit(url: str) -> None:
    pooled = "postgresql://merchant:x@pooler.example:6432/shop?sslmode=require"
    settings = settings_in(command(pooled, DATABASE_DIRECT_URL=url).stdout)
    assert {name for name, address in settings.items() if "pooler.example" not in address} == {
        "AUDIT_DATABASE_URL", "ORCHESTRATOR_DATABASE_DIRECT_URL",
    }  # fmt: skip
    assert settings["EDGE_API_DATABASE_URL"].endswith("@pooler.example:6432/shop?sslmode=require")


def test_printed_sql_makes_the_same_roles(sql: Sql, url: str) -> None:
    printed = command(url, "--sql").stdout
    psql = [str(find_binaries() / "psql"), "--quiet", "--set=ON_ERROR_STOP=1", url]
    done = subprocess.run(psql, input=printed, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    with closing(Sql(url)) as owner:
        assert owner("SELECT count(*) FROM pg_roles WHERE rolname = ANY (%(roles)s)", roles=list(ROLES)) == [
            (len(ROLES),)
        ]
    again = command(url)
    assert (again.returncode, again.stdout) == (0, "")
    with closing(Sql(url)) as owner:
        assert owner("SELECT details -> 'rights' FROM operator_log WHERE action = 'roles'") == [([],)]
