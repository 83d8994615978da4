"""Create the database roles of the processes, and the addresses by which these log in."""

from __future__ import annotations

import re
import secrets
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import psycopg2.errors
import psycopg2.extensions

from common.database.transaction import Transaction
from common.schema.grants import existing
from common.schema.roles import RIGHTS, limits_of, role_of

PASSWORD_BYTES = 32
# NOINHERIT: the role has no other rights, even if somebody makes it a member of another role.
CREATE = "CREATE ROLE {role} LOGIN NOINHERIT"
SETTINGS = "SELECT unnest(rolconfig) AS setting FROM pg_roles WHERE rolname = %(role)s"


def new_password() -> str:
    return secrets.token_urlsafe(PASSWORD_BYTES)


def create_missing(tx: Transaction) -> list[str]:
    """Create the roles that do not exist, without a password, and set the limits of all.

    :returns: the new ones
    :raises InsufficientPrivilege: our role may not create others
    """
    known, made = existing(tx), []
    for name in RIGHTS:
        role = role_of(name)
        if role not in known:
            tx.execute(CREATE.format(role=role))
            made.append(role)
        has = {row["setting"] for row in tx.all(SETTINGS, role=role)}
        for setting, value in limits_of(name).items():
            if f"{setting}={value}" not in has:
                _try(tx, f"ALTER ROLE {role} SET {setting} = '{value}'")
    return made


def set_password(connection: Any, tx: Transaction, role: str, password: str) -> None:
    """Set a password. The server receives a SCRAM verifier only, so its log cannot show the password."""
    verifier = psycopg2.extensions.encrypt_password(password, role, connection, "scram-sha-256")
    tx.execute(f"ALTER ROLE {role} PASSWORD %(verifier)s", verifier=verifier)


def address_of(url: str, role: str, password: str = "") -> str:
    """The address of the same database, for another role. Without a password, libpq looks into its `passfile`."""
    found = re.fullmatch(r"postgresql://(?:[^@/?]*@)?([^?]*)(?:\?(.*))?", url, re.DOTALL)
    assert found, "not an address as common/process/parsers.py returns it"
    parameters = [
        each for each in (found[2] or "").split("&") if each.partition("=")[0] not in ("", "user", "password")
    ]
    account = f"{role}:{quote(password, safe='')}" if password else role
    return f"postgresql://{account}@{found[1]}" + (f"?{'&'.join(parameters)}" if parameters else "")


def _try(tx: Transaction, statement: str) -> None:
    """Run a statement that some platforms do not allow."""
    tx.execute("SAVEPOINT attempt")
    with suppress(psycopg2.errors.InsufficientPrivilege, psycopg2.errors.UndefinedObject):
        tx.execute(statement)
        tx.execute("RELEASE SAVEPOINT attempt")
        return
    tx.execute("ROLLBACK TO SAVEPOINT attempt")
