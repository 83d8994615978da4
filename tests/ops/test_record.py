"""The record of operators: who did what, and that nobody can change it."""

from __future__ import annotations

import socket
from contextlib import closing

import psycopg2
import pytest

from common.database.transaction import Transaction
from ops.record import record

CHANGES = (
    "UPDATE operator_log SET actor = 'somebody else'",
    "UPDATE operator_log SET actor = actor WHERE false",
    "DELETE FROM operator_log",
    "TRUNCATE operator_log",
)


@pytest.fixture
def tx(migrated_url):
    """A transaction of the tables' owner, which is rolled back."""
    with closing(psycopg2.connect(migrated_url)) as connection, connection.cursor() as cursor:
        yield Transaction(cursor)


def last(tx):
    return tx.one("SELECT * FROM operator_log WHERE action = 'keys.create' ORDER BY at DESC LIMIT 1")


def test_record_says_who_did_what_and_when(tx, monkeypatch):
    monkeypatch.setenv("HOLDFAST_OPERATOR", "ada@shop.example")
    before = tx.one("SELECT clock_timestamp() AS at")["at"]
    record(tx, "keys.create", client="shop", scopes=["orders:read"])
    row = last(tx)
    assert (row["actor"], row["details"]) == ("ada@shop.example", {"client": "shop", "scopes": ["orders:read"]})
    assert before < row["at"] < tx.one("SELECT clock_timestamp() AS at")["at"]
    assert row["database_role"] == "holdfast"


def test_without_a_name_the_operator_is_the_user_of_this_host(tx, monkeypatch):
    monkeypatch.delenv("HOLDFAST_OPERATOR", raising=False)
    monkeypatch.setenv("LOGNAME", "grace")
    record(tx, "keys.create")
    assert last(tx)["actor"] == f"grace@{socket.gethostname()}"


@pytest.mark.parametrize("statement", CHANGES)
@pytest.mark.parametrize("role", ["origin", "replica"])
def test_not_even_the_owner_can_change_the_record(tx, statement, role):
    tx.execute(f"SET LOCAL session_replication_role = {role}")  # `replica` disables ordinary triggers
    with pytest.raises(psycopg2.errors.InsufficientPrivilege, match="operator_log only takes new rows"):
        tx.execute(statement)
