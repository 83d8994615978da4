"""Row 64: parameters in DATABASE_URL. Required: the address wins, and an unknown parameter is named."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from common.schema import migrate
from tests.books import violations
from tests.faults.shared_stack import ALL, SharedStack
from tests.severable import Severable
from tests.system.conftest import place
from tests.system.running import Running
from tests.system.stack import LINES, free_port
from tests.waiting import eventually

ORDERS = 10
URL = "postgresql://shop:hunter2@127.0.0.1:1/holdfast"
COMMANDS = {name: shlex.split(line) for name, line in LINES.items() if name in ("web", "orchestrator", "release")} | {
    "audit": [sys.executable, "-m", "ops", "audit"],
}


@pytest.fixture
def hosts(stack: SharedStack) -> Iterator[str]:
    """An address of two hosts, only the second of them running, with a schema that only `options` names."""
    way = Severable(stack.server.url)
    stack.sql("CREATE SCHEMA shop")
    there = psycopg2.extensions.parse_dsn(way.url)
    yield (
        f"postgresql://{there['user']}@127.0.0.1:{free_port()},127.0.0.1:{there['port']}/{there['dbname']}"
        "?options=-csearch_path%3Dshop&connect_timeout=7&target_session_attrs=read-write"
        f"&passfile={there['passfile']}"
    )
    way.stop()
    stack.sql("DROP SCHEMA shop CASCADE")


def test_hosts_and_schema_in_the_address_are_used(stack: SharedStack, hosts: str) -> None:
    migrate.upgrade(hosts)
    stack.end(*ALL)
    stack.start(*ALL, DATABASE_URL=hosts)
    placed = place(stack, stack.product(), ORDERS)
    completed = "shop.order_ledger WHERE status = 'COMPLETED'"
    eventually(lambda: stack.count(completed) == len(set(placed.values())) == ORDERS, 60)
    assert stack.count("public.order_ledger") == 0
    assert violations(hosts) == {}
    stack.end(*ALL)


@pytest.mark.parametrize("command", COMMANDS)
def test_unknown_parameter_is_named(command: str, tmp_path: Path) -> None:
    run = Running(COMMANDS[command], tmp_path / "output", DATABASE_URL=f"{URL}?conect_timeout=5", PORT=str(free_port()))
    assert run.ends() != 0
    assert run.output.startswith("DATABASE_URL must be an address without `conect_timeout`, "), run.output
    assert run.output.count("\n") == 1
    assert "hunter2" not in run.output
