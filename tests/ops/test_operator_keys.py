"""`python -m ops operators`: what it prints, changes and records."""

from __future__ import annotations

import re
from typing import Any

import pytest

from common.credentials import operator_keys
from common.credentials.client_keys import digest
from tests.ops.test_keys import Command, Query, command, recorded, sql

__all__ = ["command", "sql"]  # fixtures


def made(command: Command, *arguments: str) -> tuple[str, str]:
    """Make a key. :returns: its id and secret"""
    code, out, err = command("operators", "create", *arguments)
    assert (code, err) == (0, "Store the key now: it is shown only once.\n")
    parts = operator_keys.parts(out.removesuffix("\n"))
    assert parts
    return parts


def row(sql: Query, id_: str) -> dict[str, Any]:
    ((found,),) = sql("SELECT row_to_json(k) FROM operator_keys k WHERE id = %s", id_)
    return dict(found)


def test_created_key_is_stored_as_its_hash_and_recorded(command: Command, sql: Query) -> None:
    id_, secret = made(command, "grace", "--role", "operator", "--expires", "2099-01-01T00:00:00Z")
    kept = row(sql, id_)
    assert (kept["name"], kept["role"], kept["revoked_at"]) == ("grace", "operator", None)
    assert kept["expires_at"].startswith("2099-01-01T00:00:00")
    assert kept["secret_sha256"] == f"\\x{digest(secret).hex()}"
    assert secret not in str(kept)
    details = recorded(sql, "operators.create", id_)
    assert (details["name"], details["role"]) == ("grace", "operator")
    assert secret not in str(details)


@pytest.mark.parametrize("role", operator_keys.ROLES)
def test_every_role_can_be_given(command: Command, sql: Query, role: str) -> None:
    assert row(sql, made(command, "ada", "--role", role)[0])["role"] == role


@pytest.mark.parametrize("arguments", [
    ("ada",), ("ada", "--role", "root"), ("ada", "--role", "Admin"), ("", "--role", "viewer"),
    ("a b", "--role", "viewer"), ("-a", "--role", "viewer"), ("a" * 65, "--role", "viewer"), ("ä", "--role", "viewer"),
    ("a\n", "--role", "viewer"), ("ada", "--role", "viewer", "--expires", "2001-01-01T00:00:00Z"),
    ("ada", "--role", "viewer", "--expires", "2099-01-01"),
], ids=str)  # fmt: skip
def test_unusable_arguments_are_refused(command: Command, sql: Query, arguments: tuple[str, ...]) -> None:
    code, out, err = command("operators", "create", *arguments)
    assert (code, out) == (2, "")
    assert err
    assert sql("SELECT * FROM operator_keys") == []


def test_revoked_key_and_its_sessions_end(command: Command, sql: Query) -> None:
    id_, _ = made(command, "ada", "--role", "viewer")
    code, out, _ = command("operators", "revoke", id_)
    assert (code, out) == (0, f"{id_} of ada is revoked. It and its sessions have stopped working.\n")
    assert row(sql, id_)["revoked_at"]
    assert recorded(sql, "operators.revoke", id_)["name"] == "ada"


@pytest.mark.parametrize("id_", ["x", "0123456789abcdef", "' OR true --"])
def test_unknown_key_is_not_revoked(command: Command, id_: str) -> None:
    made(command, "ada", "--role", "viewer")
    code, out, err = command("operators", "revoke", id_)
    assert (code, out) == (1, "")
    assert "is not the id of a valid key" in err


def test_key_is_revoked_once(command: Command) -> None:
    id_, _ = made(command, "ada", "--role", "viewer")
    assert command("operators", "revoke", id_)[0] == 0
    assert command("operators", "revoke", id_)[0] == 1


def test_list_shows_state_and_no_secret(command: Command, sql: Query) -> None:
    assert "There is no operator." in command("operators", "list")[1]
    keys = {name: made(command, name, "--role", "viewer") for name in ("valid", "revoked", "expired")}
    command("operators", "revoke", keys["revoked"][0])
    sql("UPDATE operator_keys SET expires_at = now() WHERE id = %s", keys["expired"][0])
    code, out, _ = command("operators", "list")
    assert code == 0
    for name, (id_, secret) in keys.items():
        assert re.search(rf"{id_} +{name} +viewer +{name} ", out)
        assert secret not in out
