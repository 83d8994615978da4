"""Crash points: their names, and the kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import inventory_service.routes
import orchestrator.definitions
import orders_service.routes
import payments_service.routes
from common.process.settings import SettingError
from crash_points import points as crash
from crash_points.points import Trigger, parse
from local.postgres import EmbeddedPostgres

PROJECT = Path(__file__).parents[2]
# Three child processes, one after the other, reach two points twice each; then this one does.
FORKED = """
import os, sys
from common.process import moments
from crash_points import points as crash
crash.arm(sys.argv[1])
for _ in range(3):
    if (child := os.fork()) == 0:
        crash.arm(sys.argv[1])
        for step in ("capture_payment", "confirm_order") * 2:
            moments.reached("saga.before_call", step)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
moments.reached("saga.before_call", "capture_payment")
"""
# A participant's request that writes a row and returns it.
WRITING = """
import sys
from flask import Flask
from crash_points import points as crash
from common.database.database import Database
url, point, way = sys.argv[1:]
insert = "INSERT INTO t (name) VALUES ('x') RETURNING name"
database, app = Database(url, name="test", size=1), Flask("test")
app.add_url_rule("/", endpoint="reserve")
crash.arm(point)
database.one(insert)
with app.test_request_context("/"):
    database.one(insert) if way == "one" else database.transact(lambda tx: tx.one(insert))
"""


def python(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, "-W", "error", "-c", script, *arguments])


def run(command: list[str], **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, check=False, cwd=PROJECT, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60
    )


def test_steps_match_the_sagas() -> None:
    assert tuple(step.do for step in orchestrator.definitions.SALE) == crash.STEPS
    assert tuple(dict.fromkeys(step.do for step in orchestrator.definitions.REFUND)) == crash.REFUND_STEPS


def test_writes_match_the_participants() -> None:
    apis = (orders_service.routes.api, inventory_service.routes.api, payments_service.routes.api)
    writes = [operation.view.__name__ for api in apis for operation in api.operations if operation.may_change]
    # What the gateways themselves change is asked for again until it is noted. A changed product is one statement.
    of_gateways = {payments_service.routes.OF_SIMULATION, payments_service.routes.OF_GATEWAY, "changes"}
    assert sorted(set(writes) - of_gateways - {"change_product"}) == sorted(crash.WRITES)


@pytest.mark.parametrize(
    ("text", "points", "nth"),
    [
        ("edge.before_t1", {"edge.before_t1"}, 1),
        ("edge.before_t1:3", {"edge.before_t1"}, 3),
        ("saga.after_call.confirm_order", {"saga.after_call.confirm_order"}, 1),
        ("participant.after_commit.void", {"participant.after_commit.void"}, 1),
        ("saga.after_call:1000", {f"saga.after_call.{step}" for step in (*crash.STEPS, *crash.REFUND_STEPS)}, 1000),
        ("undo", {point for point in crash.POINTS if point.startswith("undo.")}, 1),
    ],
)
def test_name_selects_points(text: str, points: set[str], nth: int) -> None:
    assert parse(text) == Trigger(frozenset(points), nth)


BAD_NAMES = [
    "edge.nowhere",
    "edge.",
    "edge.before_t",
    ".",
    ":1",
    "saga:",
    "saga:0",
    "saga:1001",
    "saga:x",
    "saga:1:2",
]


@pytest.mark.parametrize("text", BAD_NAMES)
def test_unknown_point_is_refused_with_the_list_of_points(text: str) -> None:
    points = r"^CRASH_AT must be a crash point.*edge\.\{before_t1,.*participant\.\{before_commit,after_commit\}"
    with pytest.raises(SettingError, match=points):
        crash.arm(text)


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("saga.before_call.capture_payment", [-signal.SIGKILL, 0, 0]),
        ("saga.before_call.capture_payment:3", [0, -signal.SIGKILL, 0]),
        ("saga.before_call:6", [0, -signal.SIGKILL, 0]),
        ("saga.before_call.create_order", [0, 0, 0]),
    ],
)
def test_one_of_the_forked_processes_is_killed(text: str, ends: list[int]) -> None:
    """Each process is armed again, as a new worker is, and the count is kept."""
    result = python(FORKED, text)
    assert ([int(line) for line in result.stdout.split()], result.returncode) == (ends, 0)
    assert result.stderr.count("crash point saga.before_call.c") == ends.count(-signal.SIGKILL)


@pytest.mark.parametrize("way", ["one", "transact"])
@pytest.mark.parametrize(
    ("point", "rows", "end"),
    [
        ("participant.before_commit.reserve", 1, -signal.SIGKILL),
        ("participant.after_commit.reserve", 2, -signal.SIGKILL),
        ("participant.after_commit.release", 2, 0),
    ],
)
def test_kill_at_the_commit_of_the_current_operation(
    own_server: EmbeddedPostgres, admin: Callable[..., Any], point: str, rows: int, end: int, way: str
) -> None:
    """The row written outside the request is kept in any case."""
    result = python(WRITING, own_server.url, point, way)
    assert result.returncode == end, result.stderr
    assert admin("SELECT count(*) FROM t") == [(rows,)]


@pytest.mark.parametrize(
    "program", ["-m orchestrator", "-m gunicorn --config gunicorn.conf.py edge_api.app:create_app()"]
)
def test_armed_process_does_not_start_in_production(program: str) -> None:
    environ = {"DATABASE_URL": "postgresql:///x", "APP_ENV": "production", "CRASH_AT": "edge.before_t1"}
    result = run([sys.executable, *program.split()], **environ)
    assert result.returncode == 1
    assert result.stdout + result.stderr == (
        "CRASH_AT must not be set where APP_ENV is production: it kills processes\n"
    )
