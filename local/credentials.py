"""What `make run` needs to know its callers, made once and kept in var/credentials.env."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

import psycopg2
import psycopg2.errors

from common.credentials import client_keys
from common.database.transaction import Transaction
from common.process import env_file
from ops import keys

CLIENT = "shop"
HEADING = "Made by `make run`. Whoever reads this file can place orders and call every service on this machine."
FIND = """
SELECT secret_sha256 FROM client_keys
WHERE id = %(id)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""


def path_beside(data_dir: Path) -> Path:
    return data_dir.parent / "credentials.env"


def with_secrets(environ: Mapping[str, str], path: Path) -> dict[str, str]:
    """The environment with the secrets of this machine, where it has none of its own. Makes them if there are none."""
    kept = env_file.read(path)
    in_use = environ.get("SERVICE_TOKEN_KEYS") or kept.get("SERVICE_TOKEN_KEYS") or secrets.token_urlsafe(48)
    if in_use != kept.get("SERVICE_TOKEN_KEYS"):
        kept["SERVICE_TOKEN_KEYS"] = in_use
        env_file.write(path, kept, HEADING)
    return kept | {name: value for name, value in environ.items() if value}


def keep_api_key(path: Path, database_url: str, edge_url: str) -> None:
    """Write down where the Edge API is, and a key that the database knows. A new one is made if it does not."""
    kept = env_file.read(path)
    kept["HOLDFAST_URL"] = edge_url
    with suppress(psycopg2.errors.UndefinedTable):  # the release line of another Procfile may not migrate
        kept["HOLDFAST_API_KEY"] = _known_key(database_url, kept.get("HOLDFAST_API_KEY", ""))
    env_file.write(path, kept, HEADING)


def _known_key(database_url: str, key: str) -> str:
    """The key, or a new one if the database does not know it."""
    with closing(psycopg2.connect(database_url)) as connection, connection, connection.cursor() as cursor:
        tx = Transaction(cursor)
        return key if _is_known(tx, key) else keys.create(tx, CLIENT)


def _is_known(tx: Transaction, key: str) -> bool:
    id_, secret = client_keys.parts(key) or ("", "")
    row = tx.one(FIND, id=id_)
    return row is not None and hmac.compare_digest(bytes(row["secret_sha256"]), client_keys.digest(secret))
