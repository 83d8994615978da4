"""`python -m ops keys` and `python -m ops service-token`: what they print, change and record."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from common.credentials import client_keys
from common.credentials.service_tokens import OPS_LIFETIME_S, InvalidToken, Verifier
from common.process import env_file
from ops import __main__ as ops
from ops import service_token
from tests import credentials

Query = Callable[..., list[tuple[Any, ...]]]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """`command("keys", "list")` → exit code, stdout, stderr."""
    monkeypatch.setenv("HOLDFAST_OPERATOR", "ada")

    def run(*arguments: str, **environ: str) -> tuple[int, str, str]:
        try:
            code = ops.main(arguments, {"DATABASE_URL": url, **environ})
        except SystemExit as error:
            code = int(str(error.code))
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def sql(url: str) -> Iterator[Query]:
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True

        def run(statement: str, *params: object) -> list[tuple[Any, ...]]:
            with connection.cursor() as cursor:
                cursor.execute(statement, params)
                return cursor.fetchall() if cursor.description else []

        yield run


def made(command: Command, *arguments: str) -> tuple[str, str]:
    """Make a key. :returns: its id and secret"""
    code, out, err = command("keys", "create", *arguments)
    assert (code, err) == (0, "Store the key now: it is shown only once.\n")
    parts = client_keys.parts(out.removesuffix("\n"))
    assert parts
    return parts


def recorded(sql: Query, action: str, id_: str) -> dict[str, Any]:
    ((actor, details),) = sql(
        "SELECT actor, details FROM operator_log WHERE action = %s AND details ->> 'key' = %s", action, id_
    )
    assert actor == "ada"
    return dict(details)


def test_created_key_is_stored_as_its_hash_and_recorded(command: Command, sql: Query) -> None:
    id_, secret = made(command, "till", "--scope", "orders:read", "--expires", "2099-01-01T00:00:00Z")
    ((row,),) = sql("SELECT row_to_json(k) FROM client_keys k WHERE id = %s", id_)
    assert (row["client"], row["scopes"]) == ("till", ["orders:read"])
    assert row["secret_sha256"] == "\\x" + client_keys.digest(secret).hex()
    assert row["expires_at"].startswith("2099-01-01T00:00:00")
    record = recorded(sql, "keys.create", id_)
    assert (record["client"], record["scopes"]) == ("till", ["orders:read"])
    assert secret not in str(row) + str(record)


def test_key_has_all_scopes_without_an_option(command: Command, sql: Query) -> None:
    id_, _ = made(command, "shop")
    assert sql("SELECT scopes, expires_at FROM client_keys WHERE id = %s", id_) == [(list(client_keys.SCOPES), None)]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["a shop"], "a client's name has 1 to 64"),
        (["-shop"], "required"),
        ([""], "a client's name has 1 to 64"),
        (["x" * 65], "a client's name has 1 to 64"),
        (["shop", "--scope", "orders:delete"], "unknown scope orders:delete. The scopes are orders:read,"),
        (["shop", "--expires", "tomorrow"], "invalid time with an offset value"),
        (["shop", "--expires", "2099-01-01"], "invalid time with an offset value"),
        (["shop", "--expires", "2020-01-01T00:00:00Z"], "00:00:00Z is in the past: the key would never work"),
    ],
)
def test_wrong_argument_is_refused_and_makes_no_key(
    command: Command, sql: Query, arguments: list[str], says: str
) -> None:
    before = sql("SELECT count(*) FROM client_keys")
    code, out, err = command("keys", "create", *arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert sql("SELECT count(*) FROM client_keys") == before


def test_list_shows_states_and_no_secret(command: Command, sql: Query) -> None:
    sql("DELETE FROM client_keys")
    assert command("keys", "list") == (0, "There is no key. `keys create CLIENT` makes one.\n", "")
    keys = [made(command, "shop"), made(command, "shop", "--scope", "orders:read"), made(command, "till")]
    sql("UPDATE client_keys SET expires_at = now() WHERE id = %s", keys[1][0])
    sql("UPDATE client_keys SET last_used_at = '2026-01-02T03:04:05Z' WHERE id = %s", keys[2][0])
    command("keys", "revoke", keys[0][0])
    code, out, err = command("keys", "list")
    assert (code, err) == (0, "")
    heading, _, *lines = (re.split(r"  +", line.rstrip()) for line in out.splitlines())
    assert heading == ["id", "client", "state", "scopes", "created", "expires", "last used"]
    assert [line[:4] for line in lines] == [
        [keys[0][0], "shop", "revoked", "all"],
        [keys[1][0], "shop", "expired", "orders:read"],
        [keys[2][0], "till", "valid", "all"],
    ]
    assert lines[2][-1] == "2026-01-02 03:04:05Z"
    assert not any(secret in out for _, secret in keys)


def test_revoke_ends_a_key_once(command: Command, sql: Query) -> None:
    id_, _ = made(command, "shop")
    assert command("keys", "revoke", id_) == (0, f"{id_} of shop is revoked. It stops working within a minute.\n", "")
    assert recorded(sql, "keys.revoke", id_)["client"] == "shop"
    assert command("keys", "revoke", id_) == (1, "", f"{id_} is revoked already\n")
    assert command("keys", "revoke", "nobody") == (
        1, "", "nobody is not the id of a key: `keys list` shows them\n"
    )  # fmt: skip


def test_rotated_key_works_beside_its_successor_for_some_time(command: Command, sql: Query) -> None:
    id_, _ = made(command, "shop", "--scope", "orders:read", "--expires", "2099-01-01T00:00:00Z")
    code, out, err = command("keys", "rotate", id_, "--keep-for", "2")
    assert code == 0
    assert "The former one works until " in err
    successor, _ = client_keys.parts(out.strip()) or ("", "")
    rows = sql(
        "SELECT client, scopes, expires_at > now() + interval '30 years' FROM client_keys WHERE id = %s", successor
    )
    assert rows == [("shop", ["orders:read"], True)]
    ends = "expires_at BETWEEN now() + interval '119 minutes' AND now() + interval '2 hours'"
    assert sql(f"SELECT {ends} FROM client_keys WHERE id = %s", id_) == [(True,)]
    assert recorded(sql, "keys.rotate", id_)["client"] == "shop"


def test_rotation_never_prolongs_a_key(command: Command, sql: Query) -> None:
    id_, _ = made(command, "shop")
    sql("UPDATE client_keys SET expires_at = now() + interval '1 minute' WHERE id = %s", id_)
    assert command("keys", "rotate", id_, "--expires", "2099-01-01T00:00:00Z")[0] == 0
    assert sql("SELECT expires_at <= now() + interval '1 minute' FROM client_keys WHERE id = %s", id_) == [(True,)]


def test_second_rotation_of_a_key_is_refused_because_its_successor_would_end_with_it(
    command: Command, sql: Query
) -> None:
    id_, _ = made(command, "shop")
    assert command("keys", "rotate", id_)[0] == 0
    count = sql("SELECT count(*) FROM client_keys")
    code, out, err = command("keys", "rotate", id_)
    assert (code, out) == (2, "")
    assert "If it was rotated before, rotate its successor instead" in err
    assert sql("SELECT count(*) FROM client_keys") == count


def test_successor_of_a_key_without_scopes_has_none(command: Command, sql: Query) -> None:
    id_, _ = made(command, "shop")
    sql("UPDATE client_keys SET scopes = '{}' WHERE id = %s", id_)
    _, out, _ = command("keys", "rotate", id_)
    successor, _ = client_keys.parts(out.strip()) or ("", "")
    assert sql("SELECT scopes FROM client_keys WHERE id = %s", successor) == [([],)]


@pytest.mark.parametrize("hours", ["-1", "nan", "inf", "1e300", "soon"])
def test_overlap_must_be_a_number_of_hours(command: Command, hours: str) -> None:
    id_, _ = made(command, "shop")
    code, _, err = command("keys", "rotate", id_, f"--keep-for={hours}")
    assert (code, "invalid number of hours value" in err) == (2, True)


def test_ended_key_is_not_rotated(command: Command, sql: Query) -> None:
    id_, _ = made(command, "shop")
    sql("UPDATE client_keys SET expires_at = now() WHERE id = %s", id_)
    code, out, err = command("keys", "rotate", id_)
    assert (code, out) == (1, "")
    assert err.startswith(f"{id_} has expired at ")


def test_service_token_is_recorded(command: Command, sql: Query) -> None:
    command("service-token", "payments", **credentials.SETTINGS)
    newest = "SELECT actor, details FROM operator_log WHERE action = 'service_token' ORDER BY at DESC LIMIT 1"
    assert sql(newest) == [("ada", {"audience": "payments_service"})]


def test_service_token_needs_no_database(command: Command) -> None:
    code, out, err = command("service-token", "payments", DATABASE_URL="", **credentials.SETTINGS)
    assert (code, err, out.count(".")) == (0, "", 2)


def test_service_token_in_production_says_that_it_is_not_recorded(command: Command) -> None:
    code, out, err = command("service-token", "payments", DATABASE_URL="", APP_ENV="production", **credentials.SETTINGS)
    assert (code, out.count(".")) == (0, 2)
    assert err.startswith("The token is not in the record of operators: DATABASE_URL is not set")


@pytest.mark.parametrize("audience", service_token.AUDIENCES)
def test_service_token_is_valid_for_an_hour(command: Command, audience: str) -> None:
    code, out, _ = command("service-token", audience, **credentials.SETTINGS)
    assert code == 0
    name = audience.removesuffix("_service") + "_service"
    now = time.time()
    assert Verifier([credentials.TOKEN_KEY], name, lambda: now).caller(out.strip()) == "ops"
    assert Verifier([credentials.TOKEN_KEY], name, lambda: now + OPS_LIFETIME_S - 5).caller(out.strip()) == "ops"
    with pytest.raises(InvalidToken):
        Verifier([credentials.TOKEN_KEY], name, lambda: now + OPS_LIFETIME_S + 60).caller(out.strip())


def test_service_token_uses_the_local_file_outside_production(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_token, "LOCAL_FILE", tmp_path / "credentials.env")
    assert command("service-token", "payments")[0] == 2
    env_file.write(tmp_path / "credentials.env", credentials.SETTINGS, "made by a test")
    assert (tmp_path / "credentials.env").stat().st_mode & 0o777 == 0o600
    assert command("service-token", "payments")[0] == 0
    code, out, err = command("service-token", "payments", APP_ENV="production")
    assert (code, out) == (2, "")
    assert err.startswith("SERVICE_TOKEN_KEYS is not set.")
