"""A ledger with authorized entries, and the orchestrator's store."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from common.api.idempotency import StoredResponse
from common.database.database import Database, Row
from edge_api.notifier import Notifier
from edge_api.store import Store as EdgeStore
from orchestrator.store import Store

LEASE_S = 30
ENTRY = {
    "fingerprint": "f",
    "user_id": str(uuid.uuid4()),
    "email": "a@b.example",
    "reference": None,
    "metadata": None,
    "currency": "USD",
    "total": 700,
    "request_id": "r-1",
    "product_ids": [str(uuid.uuid4()), str(uuid.uuid4())],
    "quantities": [1, 2],
    "prices": [300, 200],
}


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url, name="test", size=8)
    yield database
    database.close()


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database, "me", LEASE_S)


@pytest.fixture
def other_store(database: Database) -> Store:
    """The store of another orchestrator."""
    return Store(database, "other", LEASE_S)


@pytest.fixture
def requested(database: Database) -> Callable[..., str]:
    """Create an entry that awaits its authorization. :returns: its id"""

    def make() -> str:
        entry = EdgeStore(database, LEASE_S, 60, Notifier(database, 0)).insert_entry(
            "shop",
            uuid.uuid4().hex,
            ENTRY,
        )
        assert entry is not None
        return str(entry["id"])

    return make


@pytest.fixture
def authorized(database: Database, requested: Callable[..., str]) -> Callable[..., str]:
    """Create an authorized entry that waits to be claimed. :returns: its id"""

    def make() -> str:
        entry = {"id": requested(), "claim_number": 1}
        answer = StoredResponse.of(202, {"order_ledger_id": entry["id"]})
        assert EdgeStore(database, LEASE_S, 60, Notifier(database, 0)).authorized(
            entry, f"auth_{uuid.uuid4().hex[:24]}", answer
        )
        return str(entry["id"])

    return make


@pytest.fixture
def row(database: Database) -> Callable[[str], Row]:
    def read(order_ledger_id: str) -> Row:
        found = database.one("SELECT * FROM order_ledger WHERE id = %(id)s", id=order_ledger_id)
        assert found is not None
        return found

    return read


@pytest.fixture
def change(database: Database) -> Callable[..., None]:
    """`change(id, "due_at = now()")`: change an entry."""

    def update(order_ledger_id: str, assignment: str) -> None:
        database.one(f"UPDATE order_ledger SET {assignment} WHERE id = %(id)s", id=order_ledger_id)

    return update
