"""What `make run` does with the release line and with the check after it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from local import release
from local.plan import Plan
from local.terminal import StopRequest

Printed = pytest.CaptureFixture[str]
PROBLEM = {"what": "a sequence is behind its table", "remedy": "run: SELECT setval(…)"}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    (tmp_path / "Procfile").write_text("release: true\nweb: true\n")
    return Plan.read(tmp_path / "Procfile", {})


def checked(plan: Plan, folder: Path, monkeypatch: pytest.MonkeyPatch, code: int, out: str, err: str = "") -> bool:
    """A release with a check that prints this."""
    script = f"import sys; sys.stdout.write({out!r}); sys.stderr.write({err!r}); sys.exit({code})"
    monkeypatch.setattr(release, "CHECK", [sys.executable, "-c", script])
    return release.release(plan, "postgresql:///x", folder, StopRequest())


def report(*problems: dict[str, str]) -> str:
    checks = [
        {"name": "sequences", "ok": not problems, "problems": problems},
        {"name": "b", "ok": True, "problems": []},
    ]
    return json.dumps({"ok": not problems, "checks": checks})


def test_problems_are_printed_and_everything_starts(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    assert checked(plan, tmp_path, monkeypatch, 1, report(PROBLEM))
    assert capsys.readouterr().out == "check: a sequence is behind its table; run: SELECT setval(…)\n"


def test_nothing_is_printed_when_all_is_well(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    assert checked(plan, tmp_path, monkeypatch, 0, report())
    assert capsys.readouterr().out == ""


def test_check_that_cannot_be_made_is_one_line(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    assert checked(plan, tmp_path, monkeypatch, 2, "", "Traceback …\nno permission\n")
    assert capsys.readouterr().out == "check: it could not be made: no permission\n"


def test_failed_migration_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text("release: exit 3\nweb: true\n")
    plan = Plan.read(tmp_path / "Procfile", {})
    assert not release.release(plan, "postgresql:///x", tmp_path, StopRequest())


def test_stop_request_ends_the_migration(tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text("release: sleep 600\nweb: true\n")
    stop = StopRequest()
    stop.made = True
    assert not release.release(Plan.read(tmp_path / "Procfile", {}), "postgresql:///x", tmp_path, stop)
