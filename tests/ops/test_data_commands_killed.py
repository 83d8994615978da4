"""SIGKILL in the middle of `ops retain` and `ops erase`: the books agree, and the next run completes the work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.books import violations
from tests.database.conftest import Sql
from tests.database.crowd import fill

ORDERS = 1_000
PROJECT = Path(__file__).resolve().parents[2]
# Kills its own process just before the commit of the second batch.
KILLED = """
import os, signal, sys
from common.process import moments
from ops.__main__ import main

class Killer:
    separates_commits = False
    batches = 0

    def reached(self, name):
        self.batches += name == "batch.before_commit"
        if self.batches == 2:
            os.kill(os.getpid(), signal.SIGKILL)

moments.observe(Killer())
sys.exit(main(sys.argv[1:]))
"""
OLD = """
SET session_replication_role = replica;
UPDATE order_ledger SET created_at = now() - interval '100 days', updated_at = now() - interval '100 days';
UPDATE events SET at = now() - interval '100 days';
SET session_replication_role = origin;
"""
EMAIL = "a@b.example"  # of every order in the crowd


@pytest.fixture
def crowd(new_migrated_database):
    url = new_migrated_database()
    with closing(Sql(url)) as sql:
        fill(sql, finished=ORDERS, elsewhere=ORDERS, due=0)
        sql(OLD)
        yield url, sql


def run(url, *arguments, program=("-m", "ops"), **environ):
    command = [sys.executable, *program, *arguments]
    environ = {**os.environ, "DATABASE_URL": url, **environ}
    return subprocess.run(
        command, cwd=PROJECT, env=environ, capture_output=True, text=True, timeout=60, check=False
    ).returncode


def test_killed_retention_is_completed_by_the_next_run(crowd):
    url, sql = crowd
    left, days = "SELECT count(*) FROM order_ledger", {"RETAIN_ORDERS_DAYS": "90", "RETAIN_EVENTS_DAYS": "0"}
    assert run(url, "retain", program=("-c", KILLED), **days) == -signal.SIGKILL
    assert 0 < sql(left)[0][0] < ORDERS
    assert violations(url) == {}
    assert run(url, "retain", **days) == 0
    assert sql(left) == [(0,)]
    assert sql("SELECT count(*) FROM orders") == [(0,)]
    assert violations(url) == {}


def test_killed_retention_of_events_is_completed_by_the_next_run(crowd):
    url, sql = crowd
    left = "SELECT count(*) FROM events"
    assert run(url, "retain", program=("-c", KILLED)) == -signal.SIGKILL
    assert 0 < sql(left)[0][0] < 2 * ORDERS
    assert violations(url) == {}
    assert run(url, "retain") == 0
    assert sql(left) == [(0,)]
    assert violations(url) == {}


@pytest.mark.parametrize("next_run", [("retain",), ("erase", "--email", EMAIL, "--yes")])
def test_killed_erasure_is_completed_by_the_next_run(crowd, next_run):
    url, sql = crowd
    left = f"SELECT count(*) FROM order_ledger WHERE email = '{EMAIL}'"
    assert run(url, "erase", "--email", EMAIL, "--yes", program=("-c", KILLED)) == -signal.SIGKILL
    assert 0 < sql(left)[0][0] < ORDERS
    assert sql("SELECT count(*) FROM pending_erasures") == sql(left)
    assert violations(url) == {}
    assert run(url, *next_run) == 0
    assert sql(left) == [(0,)]
    assert sql("SELECT count(*) FROM pending_erasures") == [(0,)]
    assert violations(url) == {}
