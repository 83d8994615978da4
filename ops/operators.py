"""`python -m ops operators`: make, list and revoke the keys of operators, for the console and `holdfast ops`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime

from common.attention.reasons import minute
from common.credentials import client_keys, operator_keys
from common.database.transaction import Row, Transaction
from ops.database import Unusable, transaction
from ops.record import record
from ops.table import table

DONE, REFUSED = 0, 1
TIMEOUT_S = 30

INSERT = """
INSERT INTO operator_keys (id, name, role, secret_sha256, expires_at)
VALUES (%(id)s, %(name)s, %(role)s, %(secret_sha256)s, %(expires_at)s)
"""
LIST = """
SELECT id, name, role, created_at, expires_at, revoked_at, last_used_at,
  CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= now() THEN 'expired' ELSE 'valid' END AS state
FROM operator_keys ORDER BY name, created_at
"""
REVOKE = "UPDATE operator_keys SET revoked_at = now() WHERE id = %(id)s AND revoked_at IS NULL RETURNING name"


def create(tx: Transaction, name: str, role: str, expires_at: datetime | None = None, by: str | None = None) -> str:
    """Make a key and record it. :returns: its text, which nobody can read again

    :param by: as `record` takes it
    :raises Unusable: the name or the role is not valid, or the key would never work
    """
    if not operator_keys.NAME.fullmatch(name):
        raise Unusable("an operator's name has 1 to 64 of A-Z a-z 0-9 . _ @ - and begins with a letter or digit")
    if role not in operator_keys.ROLES:
        raise Unusable(f"unknown role {role}. The roles are {', '.join(operator_keys.ROLES)}")
    if expires_at and tx.one("SELECT 1 AS one WHERE %(at)s <= now()", at=expires_at):
        raise Unusable(f"{minute(expires_at)} is in the past: the key would never work")
    id_, secret = client_keys.new_id(), client_keys.new_secret()
    tx.execute(INSERT, id=id_, name=name, role=role, secret_sha256=client_keys.digest(secret), expires_at=expires_at)
    record(tx, "operators.create", by, key=id_, name=name, role=role, expires_at=expires_at)
    return operator_keys.as_text(id_, secret)


def end(tx: Transaction, id_: str, by: str | None = None) -> Row | None:
    """Revoke a key, which ends the sessions that were begun with it, and record it. :returns: whose it was, or None"""
    revoked = tx.one(REVOKE, id=id_)
    if revoked:
        record(tx, "operators.revoke", by, key=id_, name=revoked["name"])
    return revoked


def run_create(environ: Mapping[str, str] | None, name: str, role: str, expires_at: datetime | None) -> int:
    """Make a key and print it. :raises Unusable:"""
    with transaction(environ, timeout_s=TIMEOUT_S) as tx:
        key = create(tx, name, role, expires_at)
    sys.stdout.write(f"{key}\n")
    sys.stderr.write("Store the key now: it is shown only once.\n")
    return DONE


def show(environ: Mapping[str, str] | None) -> int:
    """List all keys, without their secrets. :raises Unusable:"""
    with transaction(environ, timeout_s=TIMEOUT_S) as tx:
        rows = tx.all(LIST)
    if not rows:
        sys.stdout.write("There is no operator. `operators create NAME --role ROLE` makes a key.\n")
        return DONE
    headings = ("id", "name", "role", "state", "created", "expires", "last used")
    words, times = ("id", "name", "role", "state"), ("created_at", "expires_at", "last_used_at")
    lines = ((*(row[name] for name in words), *(minute(row[name]) for name in times)) for row in rows)
    sys.stdout.write(table(headings, lines))
    return DONE


def revoke(environ: Mapping[str, str] | None, id_: str) -> int:
    """End a key, and the sessions that were begun with it. :returns: 0, or 1 if there is none :raises Unusable:"""
    with transaction(environ, timeout_s=TIMEOUT_S) as tx:
        revoked = end(tx, id_)
    if revoked:
        sys.stdout.write(f"{id_} of {revoked['name']} is revoked. It and its sessions have stopped working.\n")
        return DONE
    sys.stderr.write(f"{id_} is not the id of a valid key: `operators list` shows them\n")
    return REFUSED
