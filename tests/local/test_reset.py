"""`make reset`: what it deletes and when it refuses."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from local import reset
from local.postgres import EmbeddedPostgres
from tests.system.running import Running

Printed = pytest.CaptureFixture[str]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folder of a database that has been started."""
    with EmbeddedPostgres(tmp_path / "a folder", {"fsync": "off"}):
        pass
    return tmp_path / "a folder"


def has_data(folder: Path) -> bool:
    return EmbeddedPostgres(folder).has_data


@pytest.mark.parametrize(
    ("answer", "deleted"), [("y\n", True), ("yes\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_data_is_deleted_after_a_yes_only(
    data: Path, answer: str, deleted: bool, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    assert reset.main({}, data, is_sure=False) == (not deleted)
    assert has_data(data) is not deleted
    assert f"in {data}. Delete them? [y/N]" in capsys.readouterr().out


def test_scripts_are_not_asked_and_the_next_start_is_empty(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert reset.main({}, data, is_sure=True) == 0
    assert not has_data(data)
    with EmbeddedPostgres(data, {"fsync": "off"}) as server:
        assert server.has_data


def test_running_database_is_not_deleted(data: Path, capsys: Printed) -> None:
    # The lock belongs to this process, so another process must try.
    with EmbeddedPostgres(data, {"fsync": "off"}):
        command = [sys.executable, "-m", "local", "reset", "--yes", "--data", str(data)]
        run = Running(command, data.parent / "output")
        assert run.ends() == 1
    assert run.output == (
        f"Nothing was deleted: The database in {data} is in use by another `make run`. Stop it first.\n"
    )
    assert has_data(data)


def test_database_in_database_url_is_never_deleted(data: Path, capsys: Printed) -> None:
    assert reset.main({"DATABASE_URL": "postgresql:///x"}, data, is_sure=True) == 1
    assert capsys.readouterr().err.startswith("DATABASE_URL is set, ")
    assert has_data(data)


def test_nothing_to_delete_is_a_success(tmp_path: Path, capsys: Printed) -> None:
    assert reset.main({}, tmp_path / "never started", is_sure=False) == 0
    assert "nothing to delete" in capsys.readouterr().out
    assert not (tmp_path / "never started").exists()
