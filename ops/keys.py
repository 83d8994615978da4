"""`python -m ops keys`: make, list, revoke and rotate the API keys of clients."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import NamedTuple

from common.attention.reasons import minute
from common.credentials import client_keys
from common.database.transaction import Row, Transaction
from ops.database import Unusable, transaction
from ops.record import record
from ops.table import table

DONE, REFUSED = 0, 1
TIMEOUT_S = 30
KEEP_FOR_S = 24 * 3600  # how long a rotated key and its successor both work

INSERT = """
INSERT INTO client_keys (id, client, secret_sha256, scopes, expires_at)
VALUES (%(id)s, %(client)s, %(secret_sha256)s, %(scopes)s, %(expires_at)s)
"""
LIST = """
SELECT id, client, scopes, created_at, expires_at, revoked_at, last_used_at,
  CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= now() THEN 'expired' ELSE 'valid' END AS state
FROM client_keys ORDER BY client, created_at
"""
REVOKE = "UPDATE client_keys SET revoked_at = now() WHERE id = %(id)s AND revoked_at IS NULL RETURNING client"
# The former key never works longer than it would have.
END_LATER = """
UPDATE client_keys SET expires_at = LEAST(expires_at, now() + %(keep_for_s)s * interval '1 second')
WHERE id = %(id)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
RETURNING client, scopes, expires_at
"""
END = """
SELECT expires_at, expires_at <= now() + %(keep_for_s)s * interval '1 second' AS is_near
FROM client_keys WHERE id = %(id)s FOR UPDATE
"""
STATE = "SELECT revoked_at, expires_at FROM client_keys WHERE id = %(id)s"


class Successor(NamedTuple):
    key: str
    former_ends_at: datetime


def create(
    tx: Transaction,
    client: str,
    scopes: Collection[str] | None = None,
    expires_at: datetime | None = None,
    by: str | None = None,
) -> str:
    """Make a key and record it. :returns: its text, which nobody can read again

    :param scopes: None: all
    :param by: as `record` takes it
    :raises Unusable: a client's name or a scope is not valid, or the key would never work
    """
    if not client_keys.CLIENT.fullmatch(client):
        raise Unusable("a client's name has 1 to 64 of A-Z a-z 0-9 . _ - and begins with a letter or digit")
    if scopes is None:
        scopes = client_keys.SCOPES
    if unknown := set(scopes) - set(client_keys.SCOPES):
        raise Unusable(f"unknown scope {', '.join(sorted(unknown))}. The scopes are {', '.join(client_keys.SCOPES)}")
    if expires_at and tx.one("SELECT 1 AS one WHERE %(at)s <= now()", at=expires_at):
        raise Unusable(f"{minute(expires_at)} is in the past: the key would never work")
    id_, secret = client_keys.new_id(), client_keys.new_secret()
    given = [scope for scope in client_keys.SCOPES if scope in scopes]
    tx.execute(
        INSERT, id=id_, client=client, secret_sha256=client_keys.digest(secret), scopes=given, expires_at=expires_at
    )
    record(tx, "keys.create", by, key=id_, client=client, scopes=given, expires_at=expires_at)
    return client_keys.as_text(id_, secret)


def end(tx: Transaction, id_: str, by: str | None = None) -> Row | None:
    """Revoke a key and record it. :returns: its client, or None if there is nothing to revoke"""
    revoked = tx.one(REVOKE, id=id_)
    if revoked:
        record(tx, "keys.revoke", by, key=id_, client=revoked["client"])
    return revoked


def replace(
    tx: Transaction, id_: str, keep_for_s: float, expires_at: datetime | None = None, by: str | None = None
) -> Successor | None:
    """Make a key that replaces another one, which ends after `keep_for_s`, and record both.

    :param expires_at: of the new key. None: when the former one would have expired
    :returns: None: there is no such key that is valid
    :raises Unusable: the new key would end together with the former one, or never work
    """
    ends = tx.one(END, id=id_, keep_for_s=keep_for_s)
    former = tx.one(END_LATER, id=id_, keep_for_s=keep_for_s)
    if not (former and ends):
        return None
    if ends["is_near"] and not expires_at:
        raise Unusable(
            f"key {id_} ends at {minute(ends['expires_at'])} anyway. If it was rotated before, rotate its successor"
            " instead; otherwise state with --expires when the new key ends"
        )
    key = create(tx, former["client"], former["scopes"], expires_at or ends["expires_at"], by)
    record(tx, "keys.rotate", by, key=id_, client=former["client"], ends_at=former["expires_at"])
    return Successor(key, former["expires_at"])


def run_create(
    environ: Mapping[str, str] | None, client: str, scopes: Collection[str] | None, expires_at: datetime | None
) -> int:
    """Make a key and print it. :raises Unusable:"""
    with transaction(environ, timeout_s=TIMEOUT_S) as tx:
        key = create(tx, client, scopes, expires_at)
    sys.stdout.write(f"{key}\n")
    sys.stderr.write("Store the key now: it is shown only once.\n")
    return DONE


def show(environ: Mapping[str, str] | None) -> int:
    """List all keys, without their secrets. :raises Unusable:"""
    with transaction(environ, timeout_s=TIMEOUT_S) as tx:
        rows = tx.all(LIST)
    if not rows:
        sys.stdout.write("There is no key. `keys create CLIENT` makes one.\n")
        return DONE
    headings = ("id", "client", "state", "scopes", "created", "expires", "last used")
    sys.stdout.write(
        table(
            headings,
            (
                (
                    row["id"],
                    row["client"],
                    row["state"],
                    "all" if len(row["scopes"]) == len(client_keys.SCOPES) else " ".join(row["scopes"]) or "none",
                    minute(row["created_at"]),
                    minute(row["expires_at"]),
                    minute(row["last_used_at"]),
                )
                for row in rows
            ),
        )
    )
    return DONE


def revoke(environ: Mapping[str, str] | None, id_: str) -> int:
    """End a key. :returns: 0, or 1 if there is nothing to end :raises Unusable:"""
    with transaction(environ, timeout_s=TIMEOUT_S) as tx:
        revoked = end(tx, id_)
        why_not = "" if revoked else reason_against(tx, id_)
    if revoked:
        sys.stdout.write(f"{id_} of {revoked['client']} is revoked. It stops working within a minute.\n")
        return DONE
    sys.stderr.write(f"{why_not}\n")
    return REFUSED


def rotate(environ: Mapping[str, str] | None, id_: str, keep_for_s: float, expires_at: datetime | None = None) -> int:
    """Make a key that replaces another one. Both work for some time.

    :param expires_at: of the new key. None: when the former one would have expired
    :raises Unusable: the new key would end together with the former one, or never work
    """
    with transaction(environ, timeout_s=TIMEOUT_S) as tx:
        successor = replace(tx, id_, keep_for_s, expires_at)
        why_not = "" if successor else reason_against(tx, id_)
    if not successor:
        sys.stderr.write(f"{why_not}\n")
        return REFUSED
    sys.stdout.write(f"{successor.key}\n")
    sys.stderr.write(
        f"Store the key now: it is shown only once. The former one works until {minute(successor.former_ends_at)}.\n"
    )
    return DONE


def reason_against(tx: Transaction, id_: str) -> str:
    """Why a key cannot be revoked or rotated."""
    row = tx.one(STATE, id=id_)
    if row is None:
        return f"{id_} is not the id of a key: `keys list` shows them"
    return f"{id_} is revoked already" if row["revoked_at"] else f"{id_} has expired at {minute(row['expires_at'])}"
