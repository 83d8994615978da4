"""The credentials of one run: the secret that the services share, and the key of the load generator."""

from __future__ import annotations

import secrets
import time
from contextlib import closing, suppress

import psycopg2
import psycopg2.errors

from common.credentials import client_keys
from common.credentials.service_tokens import OPS, issue

TOKEN_KEY = secrets.token_hex(32)
_ID, _SECRET = client_keys.new_id(), client_keys.new_secret()
API_KEY = client_keys.as_text(_ID, _SECRET)
INSERT_KEY = """
INSERT INTO client_keys (id, client, secret_sha256, scopes) VALUES (%s, 'bench', %s, %s) ON CONFLICT DO NOTHING
"""


def of_operator(service: str) -> dict[str, str]:
    """The header by which any route of a participant may be called."""
    return {"Authorization": f"Bearer {issue([TOKEN_KEY], OPS, service, time.time())}"}


def add_key(database_url: str) -> None:
    """Make the key known to the Edge API. An older version, which a checkout may be, has no such table."""
    with suppress(psycopg2.errors.UndefinedTable), closing(psycopg2.connect(database_url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(INSERT_KEY, (_ID, client_keys.digest(_SECRET), list(client_keys.SCOPES)))
