"""How `make run` handles the release line and the check after it."""

from __future__ import annotations

from pathlib import Path

import psycopg2
import pytest

from common.database.soundness import Problem
from local import release
from local.plan import Plan
from local.terminal import StopRequest
from ops.checks.every import CHECKS
from ops.database import Unusable

Printed = pytest.CaptureFixture[str]
PROBLEM = Problem("a sequence is behind its table", "run: SELECT setval(…)")


def plan(folder: Path, line: str) -> Plan:
    (folder / "Procfile").write_text(f"release: {line}\nweb: true\n")
    return Plan.read(folder / "Procfile", {})


def released(folder: Path, line: str = "true", stop: StopRequest | None = None) -> bool:
    return release.release(plan(folder, line), "postgresql:///x", folder, stop or StopRequest())


def test_problems_are_printed_and_everything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    monkeypatch.setattr(release, "check", lambda environ: [(CHECKS[0], []), (CHECKS[1], [PROBLEM])])
    assert released(tmp_path)
    assert capsys.readouterr().out == "check: a sequence is behind its table; run: SELECT setval(…)\n"


def test_nothing_is_printed_when_all_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed) -> None:
    monkeypatch.setattr(release, "check", lambda environ: [(each, []) for each in CHECKS])
    assert released(tmp_path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("kind", [Unusable, psycopg2.OperationalError])
def test_check_that_cannot_be_made_is_one_line(
    kind: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    def check(environ: object) -> None:
        raise kind("no permission\nLINE 1\n")

    monkeypatch.setattr(release, "check", check)
    assert released(tmp_path)
    assert capsys.readouterr().out == "check: the database cannot be checked: no permission\n"


def test_failed_migration_starts_nothing(tmp_path: Path, capsys: Printed) -> None:
    assert not released(tmp_path, "exit 3")
    assert capsys.readouterr().out == ""


def test_stop_request_ends_the_migration(tmp_path: Path) -> None:
    stop = StopRequest()
    stop.made = True
    assert not released(tmp_path, "sleep 600", stop)
