"""What `make run` needs to know its callers, made once and kept in var/credentials.env."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

import psycopg2
import psycopg2.errors

from common.credentials import client_keys, operator_keys
from common.database.transaction import Transaction
from common.process import env_file
from common.process.settings import SettingError, Settings
from ops import keys, operators

CLIENT, OPERATOR = "shop", "local"
HEADING = "Made by `make run`. Whoever reads this file can place orders and call every service on this machine."
FIND = """
SELECT secret_sha256 FROM {table}
WHERE id = %(id)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
"""


def path_beside(data_dir: Path) -> Path:
    return data_dir.parent / "credentials.env"


def with_secrets(environ: Mapping[str, str], path: Path) -> dict[str, str]:
    """The environment, with a secret of the services if it has none. It is made once, and kept.

    :raises SettingError: the file cannot be used, or the secret is not valid
    """
    kept = env_file.read(path)
    given = environ.get("SERVICE_TOKEN_KEYS")
    in_use = given or kept.get("SERVICE_TOKEN_KEYS") or secrets.token_urlsafe(48)
    try:
        Settings.read("service_token_keys", {"SERVICE_TOKEN_KEYS": in_use})
    except SettingError as error:
        place = "" if given else f" In {path}: delete this file, and the next start makes new secrets."
        raise SettingError(f"{error}.{place}") from None
    if in_use != kept.get("SERVICE_TOKEN_KEYS"):
        env_file.write(path, kept | {"SERVICE_TOKEN_KEYS": in_use}, HEADING)
    return {"SERVICE_TOKEN_KEYS": in_use} | {name: value for name, value in environ.items() if value}


def keep_keys(path: Path, database_url: str, edge_url: str, console_url: str) -> None:
    """Write down where the Edge API and the console are, and keys that the database knows, or new ones."""
    kept = env_file.read(path) | {"HOLDFAST_URL": edge_url, "HOLDFAST_CONSOLE_URL": console_url}
    with suppress(psycopg2.errors.UndefinedTable):  # the release line of another Procfile may not migrate
        try:
            with closing(psycopg2.connect(database_url)) as connection, connection, connection.cursor() as cursor:
                kept |= _known_keys(Transaction(cursor), kept)
        except psycopg2.errors.InsufficientPrivilege:
            raise SettingError(
                "The role in DATABASE_URL may not make an API key: name the owner of the tables"
            ) from None
    env_file.write(path, kept, HEADING)


def _known_keys(tx: Transaction, kept: Mapping[str, str]) -> dict[str, str]:
    client, operator = kept.get("HOLDFAST_API_KEY", ""), kept.get("HOLDFAST_OPERATOR_KEY", "")
    if not _is_known(tx, "client_keys", client_keys.parts(client)):
        client = keys.create(tx, CLIENT)
    if not _is_known(tx, "operator_keys", operator_keys.parts(operator)):
        operator = operators.create(tx, OPERATOR, "admin")
    return {"HOLDFAST_API_KEY": client, "HOLDFAST_OPERATOR_KEY": operator}


def _is_known(tx: Transaction, table: str, parts: tuple[str, str] | None) -> bool:
    id_, secret = parts or ("", "")
    row = tx.one(FIND.format(table=table), id=id_)
    return row is not None and hmac.compare_digest(bytes(row["secret_sha256"]), client_keys.digest(secret))
