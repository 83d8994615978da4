"""The rules of the model and the views of the audit agree: they find the same in the same books.

The books are those of every state that the planted errors lead to with at most one fault. They are
written into the real tables, without the constraints that would refuse some of them.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import cursor as Cursor

from domain.ids import order_id_for
from tests.model import world
from tests.model.books import Books, Order, Payment, Reservation
from tests.model.explore import Model, explore
from tests.model.ledger import PRICE, PRODUCT, USER, Entry
from tests.model.planted import PLANTED
from tests.model.rules import OF_THE_AUDIT, broken_rules
from tests.model.scenarios import SCENARIOS
from tests.model.state import World, canonical

TABLES = (
    "order_ledger_items", "outbox", "order_ledger_history", "order_ledger", "order_items", "orders",
    "inventory_reservations", "order_reservations", "inventory_adjustments", "products",
    "payment_refunds", "payment_authorizations",
)  # fmt: skip
CHECKS = """
SELECT format('ALTER TABLE %%I DROP CONSTRAINT %%I', t.relname, c.conname) FROM pg_constraint c
JOIN pg_class t ON t.oid = c.conrelid WHERE c.contype = 'c' AND t.relname = ANY (%s)
"""
# The model checks steps and ends instead, and has no refunds that a client asks for.
NOT_IN_THE_BOOKS = {"history", "stuck", "refunds"}
ONLY_IN_THE_MODEL = {"promised"}


class Tables:
    """The real tables, in one transaction that is never committed."""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        cursor.execute(CHECKS, (list(TABLES),))
        for (statement,) in cursor.fetchall():
            cursor.execute(statement)
        cursor.execute("SET LOCAL session_replication_role = replica")  # no triggers, no foreign keys
        cursor.execute("PREPARE audit AS SELECT DISTINCT check_name FROM audit_violations")

    def put(self, state: World) -> None:
        """Write the books of a state, and nothing else. Events are not in the model."""
        self.cursor.execute("".join(f"DELETE FROM {table};" for table in TABLES))
        for client, entry in zip(state.clients, state.entries, strict=True):
            self._put_entry(client.id, entry)
        self._put_stock(state.books)
        entry_ids = {order_id_for(client.id): client.id for client in state.clients}
        for order in state.books.orders:
            self._put_order(order, entry_ids[order.id])
        for reservation in state.books.reservations:
            self._put_reservation(reservation)
        for payment in state.books.payments:
            self._put_payment(payment)

    def findings(self) -> set[str]:
        self.cursor.execute("EXECUTE audit")
        return {name for (name,) in self.cursor.fetchall()} - NOT_IN_THE_BOOKS

    def _put_entry(self, id_: str, entry: Entry | None) -> None:
        if entry is None:
            return
        is_open = not entry.status.is_terminal
        self._insert(
            "order_ledger",
            id=id_, client="shop", client_request_id=id_, fingerprint="f", user_id=USER, email="a@b.example",
            total_amount_cents=PRICE, currency="USD", request_id="r", status=entry.status,
            claim_number=entry.claim_number, payment_authorization_id=entry.payment or None,
            order_id=order_id_for(id_) if entry.has_order else None,
            compensating_from=entry.compensating_from or None, undone=list(entry.undone),
            failure_code=entry.failure or None, due_at="infinity" if is_open else None, has_events=False,
        )  # fmt: skip
        line = {"product_id": PRODUCT, "quantity": 1, "unit_price_cents": PRICE}
        self._insert("order_ledger_items", order_ledger_id=id_, position=1, **line)
        if entry.event:
            self._insert("outbox", order_ledger_id=id_, event_type="order.authorized", payload="{}", status=entry.event)

    def _put_stock(self, books: Books) -> None:
        product = {"id": PRODUCT, "sku": "model", "name": "Model", "price_cents": PRICE}
        self._insert("products", **product, stock_quantity=books.stock)
        adjustment = {"product_id": PRODUCT, "quantity": books.received, "reason": "initial_stock"}
        self._insert("inventory_adjustments", id=str(uuid.uuid4()), **adjustment)

    def _put_order(self, order: Order, entry_id: str) -> None:
        if not order.sent:
            self._insert("orders", id=order.id, status=order.status)
            return
        content = {"user_id": USER, "total_amount_cents": PRICE, "currency": "USD", "fingerprint": "f"}
        self._insert("orders", id=order.id, order_ledger_id=entry_id, status=order.status, **content)
        line = {"product_id": PRODUCT, "quantity": 1, "unit_price_cents": PRICE}
        self._insert("order_items", order_id=order.id, position=1, **line)

    def _put_reservation(self, row: Reservation) -> None:
        released_at = "now" if row.status == "RELEASED" else None
        self._insert("order_reservations", order_id=row.order_id, status=row.status, released_at=released_at)
        if row.sent:
            line = {"order_id": row.order_id, "product_id": PRODUCT, "quantity": row.quantity}
            self._insert("inventory_reservations", id=str(uuid.uuid4()), released_at=released_at, **line)

    def _put_payment(self, payment: Payment) -> None:
        is_captured = payment.captured > 0
        self._insert(
            "payment_authorizations",
            id=payment.id, idempotency_key=payment.key, status=payment.status, amount_cents=payment.amount or None,
            currency="USD" if payment.amount else None, user_id=USER if payment.amount else None,
            capture_id="cap" if is_captured else None, captured_amount_cents=payment.captured or None,
            captured_at="now" if is_captured else None, refunded_amount_cents=payment.refunded,
            voided_at="now" if payment.status == "VOIDED" else None,
        )  # fmt: skip
        if payment.refunded:
            refund = {"authorization_id": payment.id, "amount_cents": payment.refunded}
            self._insert("payment_refunds", id=f"re_{payment.id}", **refund)

    def _insert(self, table: str, **columns: Any) -> None:
        names, values = ", ".join(columns), ", ".join(f"%({name})s" for name in columns)
        self.cursor.execute(f"INSERT INTO {table} ({names}) VALUES ({values})", columns)


@pytest.fixture
def tables(url: str) -> Iterator[Tables]:
    connection = psycopg2.connect(url)
    with connection.cursor() as cursor:
        yield Tables(cursor)
    connection.rollback()
    connection.close()


def states_of(name: str) -> Iterator[World]:
    """Every state that this planted error leads to."""
    planted = PLANTED[name]
    begin = SCENARIOS[planted.scenario]._replace(faults=1).begin
    yield from explore(Model(begin, partial(world.steps, planted.design), canonical)).states


def bare(state: World) -> World:
    """A state without everything that the audit does not look at."""
    return World(
        tuple(client._replace(requests=0, told=0) for client in state.clients),
        tuple(entry and entry._replace(claim_number=1, is_leased=False, retry_count=0) for entry in state.entries),
        state.books._replace(replies=()),
    )


def test_the_audit_finds_the_same(tables: Tables) -> None:
    states = {bare(state) for name in PLANTED for state in states_of(name)}
    found = Counter[str]()
    for state in states:
        tables.put(state)
        broken = broken_rules(state) - ONLY_IN_THE_MODEL
        assert tables.findings() == broken, (state.entries, state.books)
        found.update(broken or ["nothing"])
    assert found.keys() == {name for _, name in OF_THE_AUDIT} | {"stock", "nothing"}, "not every rule was compared"
