"""The routes about keys, a part of the console's API. For admins."""

from __future__ import annotations

from typing import Any

from flask import g

from common.api.routes import Api
from common.database.database import Row
from console import key_schemas as schemas
from console import keys, sessions
from console.access import ADMIN
from console.context import Console
from console.keys import By, KeyNotValid, LastAdminKey, Made

api = Api("Keys", "A part of the console's API.")


@api.route("GET", "/api/client_keys", access=ADMIN, query=schemas.KeyQuery, answer=schemas.ClientKeys)
def list_client_keys(console: Console, query: dict[str, Any]) -> Row:
    """List the keys of clients, without their secrets."""
    return keys.client_keys_page(console.database, query)


@api.route(
    "POST",
    "/api/client_keys",
    access=ADMIN,
    body=schemas.NewClientKey,
    answer=schemas.KeyMade,
    status=201,
    idempotency_key=True,
)
def create_client_key(console: Console, idempotency_key: str, body: Row) -> Made:
    """Make a key for a client. Its text is in this answer only."""
    return keys.create_client_key(console.database, By(g.caller, idempotency_key), **body)


@api.route(
    "POST",
    "/api/client_keys/<text:key_id>/rotate",
    access=ADMIN,
    body=schemas.Rotation,
    answer=schemas.KeyMade,
    status=201,
    idempotency_key=True,
    errors=(KeyNotValid,),
)
def rotate_client_key(console: Console, key_id: str, idempotency_key: str, body: Row) -> Made:
    """Make a key that replaces another one. Both work for 24 hours."""
    return keys.rotate_client_key(console.database, By(g.caller, idempotency_key), key_id, body["expires_at"])


@api.route(
    "POST",
    "/api/client_keys/<text:key_id>/revoke",
    access=ADMIN,
    answer=schemas.KeyRevoked,
    idempotency_key=True,
    errors=(KeyNotValid,),
)
def revoke_client_key(console: Console, key_id: str, idempotency_key: str) -> Row:
    """End a client's key. It stops working within a minute."""
    keys.revoke_client_key(console.database, By(g.caller, idempotency_key), key_id)
    return {"id": key_id, "revoked": True}


@api.route("GET", "/api/operator_keys", access=ADMIN, query=schemas.KeyQuery, answer=schemas.OperatorKeys)
def list_operator_keys(console: Console, query: dict[str, Any]) -> Row:
    """List the keys of operators, without their secrets."""
    return keys.operator_keys_page(console.database, query)


@api.route(
    "POST",
    "/api/operator_keys",
    access=ADMIN,
    body=schemas.NewOperatorKey,
    answer=schemas.KeyMade,
    status=201,
    idempotency_key=True,
)
def create_operator_key(console: Console, idempotency_key: str, body: Row) -> Made:
    """Make a key for an operator. Its text is in this answer only."""
    return keys.create_operator_key(console.database, By(g.caller, idempotency_key), **body)


@api.route(
    "POST",
    "/api/operator_keys/<text:key_id>/revoke",
    access=ADMIN,
    answer=schemas.KeyRevoked,
    idempotency_key=True,
    errors=(KeyNotValid, LastAdminKey),
)
def revoke_operator_key(console: Console, key_id: str, idempotency_key: str) -> Row:
    """End an operator's key, and the sessions that were begun with it."""
    keys.revoke_operator_key(console.database, By(g.caller, idempotency_key), key_id)
    return {"id": key_id, "revoked": True}


@api.route("GET", "/api/operator_sessions", access=ADMIN, answer=schemas.AllSessions)
def list_sessions(console: Console) -> Row:
    """List the operators who are signed in to the pages of the console."""
    return {"sessions": sessions.names(console.database)}


@api.route(
    "POST",
    "/api/operator_sessions/end",
    access=ADMIN,
    body=schemas.EndSessions,
    answer=schemas.SessionsEnded,
    idempotency_key=True,
)
def end_sessions(console: Console, idempotency_key: str, body: Row) -> Row:
    """End all sessions of an operator, and stop the jobs that they made without a key."""
    return sessions.end(console.database, g.caller, idempotency_key, body["name"]).result
