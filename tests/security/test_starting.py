"""What a process checks and records when it starts, with the real processes of the Procfile."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from common.schema.accounts import address_of
from common.schema.roles import role_of
from local.roles import PROCESSES
from tests.database.conftest import Sql
from tests.severable import Severable
from tests.system.running import Running
from tests.system.stack import LINES, Stack, free_port
from tests.waiting import eventually

STARTS = """
SELECT details FROM operator_log WHERE action = 'start' AND database_role = %(role)s AND details ->> 'test' IS NULL
  AND id <> ALL (%(known)s::uuid[])
"""
COUNT_STARTS = "SELECT count(*) FROM operator_log WHERE action = 'start' AND actor LIKE %(actor)s"
UP = [("web", "listening at"), ("orchestrator", "started with")]
"""Lines of the Procfile with what they log once they run."""
Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start("web", DATABASE_URL=…)`: a line of the Procfile with APP_ENV=production."""
    started = []

    def run(line: str, **environ: str) -> Running:
        environ = {"APP_ENV": "production", "PORT": str(free_port()), "BIND_HOST": "127.0.0.1"} | environ
        started.append(Running(["sh", "-c", f"exec {LINES[line]}"], tmp_path / f"{line}.log", **environ))
        return started[-1]

    yield run
    for each in started:
        each.clean_up()


@pytest.fixture
def sql(migrated_url: str) -> Iterator[Sql]:
    with closing(Sql(migrated_url)) as connection:
        yield connection


@pytest.fixture
def new_starts(sql: Sql) -> Callable[[str], list[dict[str, object]]]:
    """`new_starts("edge_api")`: details of the starts since the test began."""
    known = [id_ for (id_,) in sql("SELECT id::text FROM operator_log")]
    return lambda name: [details for (details,) in sql(STARTS, role=role_of(name), known=known)]


def own(url: str, name: str) -> dict[str, str]:
    return {f"{name.upper()}_DATABASE_URL": address_of(url, role_of(name))}


@pytest.mark.parametrize(("line", "name"), PROCESSES.items())
def test_role_that_owns_the_tables_stops_the_start_in_production(
    start: Start, migrated_url: str, line: str, name: str
) -> None:
    run = start(line, DATABASE_URL=migrated_url)
    assert run.ends() == 1
    assert run.output.strip().startswith("DATABASE_URL must not name a role that owns the tables or is a superuser")
    assert f"set {name.upper()}_DATABASE_URL" in run.output
    assert len(run.output.strip().splitlines()) == 1


def test_member_of_the_owner_is_refused_like_the_owner(start: Start, sql: Sql, migrated_url: str) -> None:
    password = secrets.token_urlsafe()
    sql(f"CREATE ROLE clerk LOGIN NOINHERIT PASSWORD '{password}'; GRANT holdfast TO clerk")
    try:
        run = start("orchestrator", ORCHESTRATOR_DATABASE_URL=address_of(migrated_url, "clerk", password))
        assert run.ends() == 1
        assert run.output.startswith("ORCHESTRATOR_DATABASE_URL must not name a role that owns the tables")
    finally:
        sql("DROP ROLE clerk")


def test_each_address_of_the_orchestrator_is_checked(start: Start, migrated_url: str) -> None:
    run = start("orchestrator", **own(migrated_url, "orchestrator"), ORCHESTRATOR_DATABASE_DIRECT_URL=migrated_url)
    assert run.ends() == 1
    assert run.output.startswith("ORCHESTRATOR_DATABASE_DIRECT_URL must not name a role that owns the tables")
    assert "set ORCHESTRATOR_DATABASE_DIRECT_URL" in run.output


@pytest.mark.parametrize(("line", "says"), UP)
def test_role_that_owns_the_tables_ends_the_process_when_the_database_is_back(
    start: Start, migrated_url: str, sql: Sql, line: str, says: str
) -> None:
    way = Severable(migrated_url)
    way.stop()
    ((before,),) = sql(COUNT_STARTS, actor=f"{PROCESSES[line]}@%")
    run = start(line, DATABASE_URL=way.url)
    run.says(says)
    way.start()
    run.ends()
    way.stop()
    assert "DATABASE_URL must not name a role that owns the tables or is a superuser" in run.output
    assert sql(COUNT_STARTS, actor=f"{PROCESSES[line]}@%") == [(before,)], "this start is not recorded"


@pytest.mark.parametrize(("line", "says"), UP)
def test_process_starts_in_production_with_its_own_role(
    start: Start, migrated_url: str, new_starts: Callable[[str], list[dict[str, object]]], line: str, says: str
) -> None:
    run = start(line, **own(migrated_url, PROCESSES[line]))
    run.says(says)
    eventually(lambda: new_starts(PROCESSES[line]))


@pytest.mark.parametrize(("line", "name"), PROCESSES.items())
@pytest.mark.parametrize(
    ("setting", "value"),
    [("LOG_LEVEL", "DEBUG"), ("CRASH_AT", "edge.before_t1"), ("FLASK_DEBUG", "1"), ("MOCK_FAILURE_RATE", "0.1")],
)
def test_setting_for_tests_stops_the_start_in_production(
    start: Start, migrated_url: str, line: str, name: str, setting: str, value: str
) -> None:
    run = start(line, **own(migrated_url, name), **{setting: value})
    assert run.ends() == 1
    assert run.output.strip().startswith(f"{setting} must ")
    assert len(run.output.strip().splitlines()) == 1


def test_start_is_recorded_once_with_the_names_of_settings_and_no_value(
    url: str, tmp_path: Path, new_starts: Callable[[str], list[dict[str, object]]]
) -> None:
    with Stack(url, tmp_path, RATE_LIMIT_PER_MINUTE="41043") as stack:
        stack.start("web", "orchestrator.1")
        eventually(lambda: new_starts("edge_api") and new_starts("orchestrator"))
        eventually(lambda: len(stack.workers("web")) == 2)
        (details,) = new_starts("edge_api")
    assert new_starts("edge_api") == [details], "one record for both workers"
    names = details["settings"]
    assert {"EDGE_API_DATABASE_URL", "RATE_LIMIT_PER_MINUTE", "PORT"} <= set(names)
    assert "DATABASE_URL" not in names
    assert details["release"]
    assert all(word not in json.dumps(details) for word in ("41043", "postgresql", "passfile"))


def test_database_that_is_down_does_not_stop_the_start(
    url: str, tmp_path: Path, new_starts: Callable[[str], list[dict[str, object]]]
) -> None:
    way = Severable(url)
    way.stop()
    with Stack(url, tmp_path) as stack:
        stack.launch("web", DATABASE_URL=way.url)
        stack.launch("orchestrator.1", DATABASE_URL=way.url)
        eventually(lambda: "listening at" in stack.log("web") and "started with" in stack.log("orchestrator.1"), 30)
        way.start()
        eventually(lambda: new_starts("edge_api") and new_starts("orchestrator"), 30)
    way.stop()
