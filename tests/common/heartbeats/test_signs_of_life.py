"""The rows of real processes: one that is killed leaves its own, one that stops deletes it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.database.database import Database, Row
from common.heartbeats.heartbeat import read
from local import roles
from tests.waiting import eventually

PROJECT = Path(__file__).resolve().parents[3]
PROCESSES = ("orchestrator", "webhooks")
Start = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url, name="test", size=2)
    yield database
    database.close()


@pytest.fixture
def start(url: str) -> Iterator[Start]:
    """`start("webhooks")`: the process, with the role of its own. It is stopped with the test."""
    started = []

    def run(name: str) -> subprocess.Popen[bytes]:
        environ = {**os.environ, "APP_ENV": "test", "LOG_LEVEL": "WARNING", **roles.address(url, name)}
        process = subprocess.Popen([sys.executable, "-m", name], cwd=PROJECT, env=environ)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()


def row_of(database: Database, pid: int) -> Row | None:
    return next((row for row in read(database) if row["pid"] == pid), None)


@pytest.mark.parametrize("name", PROCESSES)
def test_clean_stop_deletes_the_row(start: Start, database: Database, name: str) -> None:
    process = start(name)
    row = eventually(lambda: row_of(database, process.pid), 60)
    assert (row["process"], row["is_silent"], row["hanging"]) == (name, False, [])
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert read(database) == []


@pytest.mark.parametrize("name", PROCESSES)
def test_killed_process_leaves_its_row_beside_that_of_its_successor(
    start: Start, database: Database, name: str
) -> None:
    killed = start(name)
    eventually(lambda: row_of(database, killed.pid), 60)
    killed.kill()
    killed.wait()
    successor = start(name)
    eventually(lambda: row_of(database, successor.pid), 60)
    database.all("UPDATE process_heartbeats SET seen_at = now() - interval '31 s' WHERE pid = %(pid)s", pid=killed.pid)
    assert {row["pid"]: row["is_silent"] for row in read(database)} == {killed.pid: True, successor.pid: False}
