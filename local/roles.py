"""The database addresses of the processes on this machine: each logs in with its own role."""

from __future__ import annotations

import base64
import hashlib
from contextlib import closing
from typing import Any

import psycopg2
import psycopg2.errors
import psycopg2.extensions

from common.database.transaction import Transaction
from common.schema.accounts import address_of, create_missing, set_password
from common.schema.grants import existing
from common.schema.roles import AUDIT, RIGHTS, RUN_TIME, role_of

PROCESSES = {"web": "edge_api"} | {name: name for name in RUN_TIME if name != "edge_api"}
"""Line of the Procfile → name of the process in its settings."""
# scrypt's cost, for 16 MB and 50 ms: a role's password must not help to guess that of DATABASE_URL.
SCRYPT = {"n": 2**14, "r": 8, "p": 1}


class NoRoles(Exception):
    """The processes cannot have their own roles. The message completes a sentence after "because"."""


def address(url: str, line: str) -> dict[str, str]:
    """The setting for one line of the Procfile, on an embedded database."""
    name = PROCESSES[line]
    return {setting(name): address_of(url, role_of(name))}


def addresses(url: str) -> dict[str, str]:
    """The settings for all roles, on an embedded database. Its address names the file with the passwords."""
    return {setting(name): address_of(url, role_of(name)) for name in RIGHTS}


def addresses_in(url: str) -> dict[str, str]:
    """The settings for all roles, on another database. The roles are created if there are none.

    Their passwords follow from the password in `url`, so nothing has to be stored, and every run finds them again.

    :raises NoRoles:
    """
    given = psycopg2.extensions.parse_dsn(url)
    if "passfile" in given:
        found = addresses(url)
    elif not given.get("password"):
        raise NoRoles("it has no password, from which those of other roles could be made")
    else:
        passwords = {role_of(name): _password(given["password"], role_of(name)) for name in RIGHTS}
        found = {setting(name): address_of(url, role_of(name), passwords[role_of(name)]) for name in RIGHTS}
        _create(url, passwords)
    _check_login(found[setting(AUDIT)])
    return found


def setting(name: str) -> str:
    return f"{name.upper()}_DATABASE_URL"


def _password(secret: str, role: str) -> str:
    made = hashlib.scrypt(secret.encode(), salt=role.encode(), dklen=32, **SCRYPT)
    return base64.urlsafe_b64encode(made).decode().rstrip("=")


def _create(url: str, passwords: dict[str, str]) -> None:
    try:
        with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
            _create_in(connection, Transaction(cursor), passwords)
    except psycopg2.errors.InsufficientPrivilege:
        raise NoRoles("it may not create others") from None
    except psycopg2.Error as error:
        raise NoRoles(f"others cannot be created: {_first_line(error)}") from None


def _create_in(connection: Any, tx: Transaction, passwords: dict[str, str]) -> None:
    """Create the missing roles. Those of another program or installation keep their passwords."""
    if len(existing(tx)) < len(passwords):
        for role in create_missing(tx):
            set_password(connection, tx, role, passwords[role])


def _check_login(url: str) -> None:
    try:
        psycopg2.connect(url).close()
    except psycopg2.Error as error:
        raise NoRoles(f"the others cannot log in: {_first_line(error)}") from None


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
