"""Row 79: a password in DATABASE_URL is not escaped. Required: no part of it is repeated, by any process."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from tests.system.running import PROJECT, Running
from tests.system.stack import LINES, free_port

COMMANDS = {name: shlex.split(line) for name, line in LINES.items()} | {
    "audit": [sys.executable, "-m", "ops", "audit"],
    "attention": [sys.executable, "-m", "ops", "attention"],
    "alembic": [sys.executable, "-m", "alembic", "current"],
    "make run": [sys.executable, "-m", "local", "run"],
}
URL = "postgresql://shop:hunter@2two/threee@127.0.0.1:1/holdfast"
PARTS = ("hunter", "2two", "threee")


@pytest.mark.parametrize("command", COMMANDS)
def test_no_process_repeats_a_part_of_the_password(command: str, tmp_path: Path) -> None:
    refuses("DATABASE_URL", command, tmp_path / "output", DATABASE_URL=URL)


@pytest.mark.parametrize("command", ["orchestrator", "release", "audit"])
def test_no_process_repeats_a_part_of_the_direct_address(command: str, tmp_path: Path) -> None:
    other = "postgresql://127.0.0.1:1/holdfast"
    refuses("DATABASE_DIRECT_URL", command, tmp_path / "output", DATABASE_URL=other, DATABASE_DIRECT_URL=URL)


def refuses(variable: str, command: str, output: Path, **environ: str) -> None:
    run = Running(COMMANDS[command], output, cwd=PROJECT, PORT=str(free_port()), **environ)
    assert run.ends() != 0
    assert f"{variable} must be a postgresql:// address, with / ? @ and % as %2F %3F %40 and %25" in run.output
    assert not [part for part in PARTS if part in run.output]
