"""A key that cannot be looked up lets nobody in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest
from flask import Flask

from common.api.routes import Operation
from common.database.database import Database
from common.process.settings import Settings
from edge_api.app import create_app
from tests import credentials
from tests.credentials import EDGE_KEY
from tests.security.test_edge_matrix import OPERATIONS, status

ORDERS = "SELECT count(*) FROM order_ledger"


@pytest.fixture
def url_without_keys(url: str) -> Iterator[str]:
    """A database whose table of keys cannot be read. Everything that a view needs is there."""
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE client_keys RENAME TO keys_elsewhere")
            yield url
            cursor.execute("ALTER TABLE keys_elsewhere RENAME TO client_keys")


@pytest.fixture
def app(url_without_keys: str) -> Flask:
    settings = {"DATABASE_URL": url_without_keys, "LOG_LEVEL": "ERROR", **credentials.SETTINGS}
    return create_app(Settings.load(settings))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_key_that_cannot_be_looked_up_lets_nobody_in(app: Flask, url: str, operation: Operation) -> None:
    assert status(app, operation, f"Bearer {EDGE_KEY}") >= 500
    database = Database(url, name="test", size=1)
    assert database.one(ORDERS) == {"count": 0}
    database.close()
