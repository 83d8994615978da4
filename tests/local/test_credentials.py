"""What `make run` keeps in var/credentials.env."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from common.credentials import client_keys, operator_keys
from common.process import env_file
from common.process.settings import SettingError
from local import credentials
from local.postgres import EmbeddedPostgres

GIVEN = 'a\'secret;with$HOME`id`"quotes"and\\|in&it#~'
EDGE_URL = "http://127.0.0.1:8000"
CONSOLE_URL = "http://127.0.0.1:8400"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a folder" / "credentials.env"


def run(url: str, statement: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def test_secrets_are_made_once_and_only_their_owner_can_read_them(path: Path) -> None:
    first = credentials.with_secrets({"PORT": "9000"}, path)
    assert first["PORT"] == "9000"
    assert len(first["SERVICE_TOKEN_KEYS"]) >= 32
    assert credentials.with_secrets({}, path)["SERVICE_TOKEN_KEYS"] == first["SERVICE_TOKEN_KEYS"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_secret_of_the_environment_is_kept_for_other_commands(path: Path) -> None:
    credentials.with_secrets({}, path)
    assert credentials.with_secrets({"SERVICE_TOKEN_KEYS": GIVEN}, path)["SERVICE_TOKEN_KEYS"] == GIVEN
    assert env_file.read(path)["SERVICE_TOKEN_KEYS"] == GIVEN


def test_shell_reads_the_same_values(path: Path) -> None:
    credentials.with_secrets({"SERVICE_TOKEN_KEYS": GIVEN}, path)
    command = ["sh", "-c", '. "$1"; printf %s "$SERVICE_TOKEN_KEYS"', "sh", str(path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == GIVEN


def test_key_is_made_once_for_each_database(path: Path, url: str) -> None:
    credentials.keep_keys(path, url, EDGE_URL, CONSOLE_URL)
    kept = env_file.read(path)
    assert kept["HOLDFAST_URL"] == EDGE_URL
    assert kept["HOLDFAST_CONSOLE_URL"] == CONSOLE_URL
    assert client_keys.parts(kept["HOLDFAST_API_KEY"])
    assert operator_keys.parts(kept["HOLDFAST_OPERATOR_KEY"])
    credentials.keep_keys(path, url, EDGE_URL, CONSOLE_URL)
    assert env_file.read(path) == kept


@pytest.mark.parametrize(
    "loss",
    [
        "DELETE FROM client_keys",
        "UPDATE client_keys SET revoked_at = now()",
        "UPDATE client_keys SET expires_at = now()",
    ],
)
def test_key_that_the_database_does_not_accept_is_replaced(path: Path, url: str, loss: str) -> None:
    credentials.keep_keys(path, url, EDGE_URL, CONSOLE_URL)
    former = env_file.read(path)["HOLDFAST_API_KEY"]
    id_, _ = client_keys.parts(former) or ("", "")
    run(url, f"{loss} WHERE id = '{id_}'")
    credentials.keep_keys(path, url, EDGE_URL, CONSOLE_URL)
    assert env_file.read(path)["HOLDFAST_API_KEY"] not in ("", former)


def test_operator_key_that_was_revoked_is_replaced(path: Path, url: str) -> None:
    credentials.keep_keys(path, url, EDGE_URL, CONSOLE_URL)
    former = env_file.read(path)
    id_, _ = operator_keys.parts(former["HOLDFAST_OPERATOR_KEY"]) or ("", "")
    run(url, f"UPDATE operator_keys SET revoked_at = now() WHERE id = '{id_}'")
    credentials.keep_keys(path, url, EDGE_URL, CONSOLE_URL)
    kept = env_file.read(path)
    assert operator_keys.parts(kept["HOLDFAST_OPERATOR_KEY"])
    assert kept["HOLDFAST_OPERATOR_KEY"] != former["HOLDFAST_OPERATOR_KEY"]
    assert kept["HOLDFAST_API_KEY"] == former["HOLDFAST_API_KEY"]


def test_database_that_is_not_migrated_gets_no_key(path: Path, postgres: EmbeddedPostgres) -> None:
    with closing(psycopg2.connect(postgres.url)) as connection:
        connection.autocommit = True
        connection.cursor().execute("CREATE DATABASE not_migrated")
    credentials.keep_keys(path, postgres.url.replace("/holdfast?", "/not_migrated?"), EDGE_URL, CONSOLE_URL)
    assert "HOLDFAST_API_KEY" not in env_file.read(path)


def test_damaged_secret_names_its_file(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("SERVICE_TOKEN_KEYS=short")
    with pytest.raises(SettingError, match=f"In {re.escape(str(path))}: delete this file"):
        credentials.with_secrets({}, path)


def test_file_that_is_no_text_is_named(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingError, match=r"credentials\.env cannot be read"):
        credentials.with_secrets({}, path)


def test_secret_that_is_not_valid_does_not_replace_a_good_one(path: Path) -> None:
    good = credentials.with_secrets({}, path)["SERVICE_TOKEN_KEYS"]
    with pytest.raises(SettingError, match="SERVICE_TOKEN_KEYS must be"):
        credentials.with_secrets({"SERVICE_TOKEN_KEYS": "short"}, path)
    assert credentials.with_secrets({}, path)["SERVICE_TOKEN_KEYS"] == good


def test_processes_do_not_get_the_key_of_a_client(path: Path, url: str) -> None:
    credentials.keep_keys(path, url, EDGE_URL, CONSOLE_URL)
    assert "HOLDFAST_API_KEY" not in credentials.with_secrets({}, path)


def test_interrupted_write_leaves_the_former_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials.with_secrets({}, path)
    kept = path.read_text()

    def fail(*_: object) -> None:
        raise InterruptedError

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(SettingError, match="cannot be written"):
        credentials.with_secrets({"SERVICE_TOKEN_KEYS": "k" * 32}, path)
    assert path.read_text() == kept
    monkeypatch.undo()
    assert os.listdir(path.parent) == ["credentials.env", "credentials.env.new"]
    credentials.with_secrets({"SERVICE_TOKEN_KEYS": "k" * 32}, path)
    assert os.listdir(path.parent) == ["credentials.env"]
