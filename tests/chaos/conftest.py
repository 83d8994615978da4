"""The judge, for logs and rows that a test makes, and short runs of the command."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.chaos.__main__ import main
from tests.chaos.planted import COMPLETED_ORDER, Lines
from tests.system.running import PROJECT, Running

Judge = Callable[..., tuple[int, str]]
SHORT = {
    "SEED": "48",
    "ORDERS": "120",
    "RATE": "10",
    "SECONDS": "60",  # on a busy machine, processes that are killed so often start more slowly than they are killed
    "KILL_EVERY_S": "1.5",
    "RESTART_EVERY_S": "6",
    "FREEZE_EVERY_S": "6",
    "LOCK_EVERY_S": "6",
    "HANG_EVERY_S": "12",
    "POISON_EVERY_S": "6",
    "LEASE_S": "2",
    "RETRY_BASE_S": "0.1",
    "ABANDONED_AFTER_S": "5",
    "POLL_INTERVAL_S": "0.5",
    "WEBHOOK_TIMEOUT_S": "1",
    "WEBHOOK_LEASE_S": "2",
    "WEBHOOK_POLL_INTERVAL_S": "0.2",
    "RECEIVER_EVERY_S": "6",
}
# No other test can empty the record of operators. Its triggers keep it from everybody else.
WITHOUT_RECORD = """
ALTER TABLE operator_log DISABLE TRIGGER USER;
DELETE FROM operator_log;
ALTER TABLE operator_log ENABLE ALWAYS TRIGGER operator_log_is_append_only;
"""
ENDS_WITHIN_S = 600  # a minute, and much longer on a busy machine


@pytest.fixture
def judge(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Judge:
    """`judge(lines, sql, received, clicks)`: exit code and output for these logs and a database that `sql` changes."""

    def check(
        lines: Lines, sql: str = "", received: Lines | None = None, clicks: Lines | None = None
    ) -> tuple[int, str]:
        for name, log in (("clients", lines), ("received.1", received), ("operators", clicks)):
            (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log or ()))
        with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(
                "SET session_replication_role = replica"
            )  # without triggers, so that anything can be planted
            cursor.execute(WITHOUT_RECORD)
            cursor.execute(COMPLETED_ORDER)
            cursor.execute(sql or "SELECT 1")
        code = main(["check", str(tmp_path), "--database", url])
        return code, " ".join(capsys.readouterr().out.split())

    return check


@pytest.fixture
def storm(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """`storm(ORDERS="10")`: the running command; its folder is in `tmp_path`."""
    started: list[Running] = []

    def begin(**environ: str) -> Running:
        command = [sys.executable, "-m", "tests.chaos"]
        environ = {**SHORT, "PYTHONPATH": str(PROJECT), **environ}
        started.append(Running(command, tmp_path / "output", cwd=tmp_path, **environ))
        return started[-1]

    yield begin
    for each in started:
        each.clean_up()


def figures(folder: Path) -> dict[str, Any]:
    (found,) = folder.glob("var/chaos/*/figures.json")
    return dict(json.loads(found.read_text()))
