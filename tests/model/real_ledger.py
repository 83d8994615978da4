"""The real stores of the ledger, for the tests that compare its model with them."""

from __future__ import annotations

import json
import uuid
from types import SimpleNamespace
from typing import Any, NamedTuple

import psycopg2

from common.database.database import Database
from domain.states import Status
from edge_api.cancel import cancel
from edge_api.notifier import Notifier
from edge_api.store import Store as EdgeStore
from orchestrator.saga import Sale
from orchestrator.store import Store
from tests.model.ledger import LINE, POLICY, PRICE, USER, Entry, Event, row_of

LEASE_S = 3600  # no lease ends by itself during the test
READ = """
SELECT l.id, l.status, claim_number, COALESCE(claimed_until >= now(), false) AS is_leased,
  COALESCE(payment_authorization_id, '') AS payment, order_id IS NOT NULL AS has_order,
  LEAST(retry_count, %(most)s) AS retry_count, COALESCE(compensating_from, '') AS compensating_from, undone,
  COALESCE(failure_code, '') AS failure, COALESCE(response_status, 0) AS response, COALESCE(o.status, '') AS event,
  cancel_requested_at IS NOT NULL AS is_cancelled, refund_reserved_cents AS reserved, refunded_cents AS refunded,
  (SELECT sum(refunded_quantity)::int FROM order_ledger_items i WHERE i.order_ledger_id = l.id) AS refunded_pieces,
  (SELECT COALESCE(json_agg(json_build_array(e.type, e.status) ORDER BY sequence), '[]')
    FROM events e WHERE e.order_ledger_id = l.id) AS events
FROM order_ledger l LEFT JOIN outbox o ON o.order_ledger_id = l.id
"""
WAITED = "UPDATE order_ledger SET due_at = now() - interval '1 s' WHERE due_at IS NOT NULL"
LEASE_ENDS = "UPDATE order_ledger SET claimed_until = now() - interval '1 s' WHERE claimed_until >= now() RETURNING id"


class Row(NamedTuple):
    """The rows of an entry as PostgreSQL has them, in JSON."""

    tables: str

    @property
    def is_claimed(self) -> bool:
        """Whether the last claim of the entry, or of its first refund, was not given back. Its lease may have ended."""
        tables = json.loads(self.tables)
        rows = tables["refunds"] if "refunds" in tables else tables["order_ledger"]
        return bool(rows) and min(rows, key=lambda row: row["created_at"])["claimed_by"] is not None


class Real:
    """The real stores, on a ledger with one entry."""

    def __init__(self, url: str, tables: tuple[str, ...]) -> None:
        """:param tables: those that are kept and put back"""
        pairs = ", ".join(f"'{table}', (SELECT COALESCE(jsonb_agg(t), '[]') FROM {table} t)" for table in tables)
        self._keep = f"SELECT jsonb_build_object({pairs})::text AS tables"
        self._put_back = "SET session_replication_role = replica; DELETE FROM order_ledger_history; " + "".join(
            f"DELETE FROM {table}; INSERT INTO {table}"
            f" SELECT * FROM jsonb_populate_recordset(NULL::{table}, %(tables)s::jsonb -> '{table}');"
            for table in tables
        )
        self.database = Database(url, name="test", size=2)
        self.edge = EdgeStore(self.database, LEASE_S, LEASE_S, Notifier(self.database, 0))
        self.orchestrator = Store(self.database, "me", LEASE_S)
        self._connection = psycopg2.connect(url)
        self._connection.autocommit = True

    def close(self) -> None:
        self._connection.close()
        self.database.close()

    def insert(self) -> Entry:
        """T1."""
        lines = {
            "product_ids": [LINE["product_id"]],
            "quantities": [LINE["quantity"]],
            "prices": [LINE["unit_price_cents"]],
            "total": PRICE,
            "currency": "USD",
        }
        fixed = {"fingerprint": "f", "user_id": USER, "email": "a@b.example", "request_id": "r", **lines}
        assert self.edge.insert_entry("shop", "key", fixed)
        return self.read()

    def read(self) -> Entry:
        (row,) = self.database.all(READ, most=POLICY.max_attempts)
        events = tuple(Event(*event) for event in row["events"])
        return Entry(**{**row, "status": Status(row["status"]), "undone": tuple(row["undone"]), "events": events})

    def keep(self) -> Row:
        (row,) = self.database.all(self._keep)
        return Row(row["tables"])

    def put_back(self, row: Row) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(self._put_back, row._asdict())

    def execute(self, statement: str) -> bool:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.rowcount > 0

    def take_over(self, entry: Entry) -> Any:
        return self.edge.take_over(row_of(entry))

    def let_go(self, entry: Entry, seen: Entry) -> bool:
        """The real one does not say whether it has changed a row."""
        self.edge.let_go(row_of(seen))
        return self.read().claim_number == seen.claim_number and entry.status == Status.AWAITING_AUTHORIZATION

    def cancel(self, entry: Entry) -> bool:
        """With a key of its own. :returns: whether it was accepted"""
        wish = {"reason": "other", "note": None}
        edge: Any = SimpleNamespace(store=self.edge)
        return cancel(edge, "shop", entry.id, str(uuid.uuid4()), {"reason": "other"}, wish).status == 202

    def claim(self, entry: Entry) -> Any:
        if not entry.is_leased:
            self.execute(WAITED)
        claimed = self.orchestrator.claim(1)
        assert all(isinstance(each, Sale) and each.is_cancelled == entry.is_cancelled for each in claimed)
        return claimed

    def save(self, was: Sale, now: Sale) -> bool:
        saved = self.orchestrator.save(was, now)
        assert saved is None or saved.is_cancelled == self.read().is_cancelled
        return saved is not None
