"""Credentials for the services under test. Requests of tests carry them, unless they bring their own."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import psycopg2.errors
import requests
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from common.api.service import Service
from common.credentials import client_keys
from common.credentials.service_tokens import LIFETIME_S, OPS, OPS_LIFETIME_S, PARTICIPANTS, issue

TOKEN_KEY = os.environ.get("SERVICE_TOKEN_KEYS") or secrets.token_hex(32)  # of this run, and of all its workers
SETTINGS = {"SERVICE_TOKEN_KEYS": TOKEN_KEY}
CLIENT = "shop"
EDGE_KEY = client_keys.as_text(client_keys.new_id(), client_keys.new_secret())
INSERT_KEY = """
INSERT INTO client_keys (id, client, secret_sha256, scopes) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
NO_CREDENTIAL = {"Authorization": ""}
SERVICE_AT: dict[int, str] = {}
"""Port → the service that listens there, or a proxy in front of it."""


def service_headers(audience: str, caller: str = OPS, key: str = TOKEN_KEY) -> dict[str, str]:
    lifetime_s = OPS_LIFETIME_S if caller == OPS else LIFETIME_S
    return {"Authorization": f"Bearer {issue([key], caller, audience, time.time(), lifetime_s)}"}


def header_line(service: str) -> str:
    """The header of `headers_for`, as it goes over the wire."""
    return f"Authorization: {headers_for(service)['Authorization']}\r\n"


def edge_headers(key: str = EDGE_KEY) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def headers_for(service: str) -> dict[str, str]:
    """A credential that may call every route of a service."""
    if service in PARTICIPANTS:
        return service_headers(service)
    return edge_headers() if service in ("edge_api", "web") else {}


def add_key(cursor: Any, key: str = EDGE_KEY, client: str = CLIENT, scopes: Sequence[str] = client_keys.SCOPES) -> None:
    """Make a key known to the Edge API."""
    id_, secret = client_keys.parts(key) or ("", "")
    cursor.execute(INSERT_KEY, (id_, client, client_keys.digest(secret), list(scopes)))


def add_key_at(url: str, **key: Any) -> None:
    """The same, on a connection of its own. A database that is down or not migrated gets no key."""
    with suppress(psycopg2.OperationalError, psycopg2.errors.UndefinedTable), closing(psycopg2.connect(url)) as opened:
        opened.autocommit = True
        with opened.cursor() as cursor:
            add_key(cursor, **key)


def new_key() -> str:
    return client_keys.as_text(client_keys.new_id(), client_keys.new_secret())


class SigningClient(FlaskClient):
    """A test client that sends a credential of its service."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        if args and isinstance(args[0], str):
            given = dict(kwargs.get("headers") or {})
            kwargs["headers"] = headers_for(self.application.name) | given
        return super().open(*args, **kwargs)


def use_in_this_process() -> None:
    """Let services that this process starts know one another, and add a credential to each request to them."""
    os.environ.setdefault("SERVICE_TOKEN_KEYS", TOKEN_KEY)
    send = requests.Session.send

    def send_signed(self: requests.Session, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        service = SERVICE_AT.get(urlsplit(str(request.url)).port or 0)
        if service and "Authorization" not in request.headers:
            request.headers.update(headers_for(service))
        return send(self, request, **options)

    requests.Session.send = send_signed  # type: ignore[method-assign]
    Service.test_client_class = SigningClient
