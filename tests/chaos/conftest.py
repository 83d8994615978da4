"""The judge, for logs and rows that a test makes."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from tests.chaos.__main__ import main
from tests.chaos.planted import COMPLETED_ORDER, Lines

Judge = Callable[..., tuple[int, str]]


@pytest.fixture
def judge(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Judge:
    """`judge(lines, sql, received)`: exit code and output for these logs and a database that `sql` changes."""

    def check(lines: Lines, sql: str = "", received: Lines | None = None) -> tuple[int, str]:
        (tmp_path / "clients.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (tmp_path / "received.1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in received or ()))
        with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(
                "SET session_replication_role = replica"
            )  # without triggers, so that anything can be planted
            cursor.execute(COMPLETED_ORDER)
            cursor.execute(sql or "SELECT 1")
        code = main(["check", str(tmp_path), "--database", url])
        return code, " ".join(capsys.readouterr().out.split())

    return check
