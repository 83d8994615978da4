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
from tests.model.books import Books, Movement, Order, Payment, Reservation, Returned
from tests.model.explore import Model, explore
from tests.model.ledger import LINE, PRICE, PRODUCT, USER, Entry, Event
from tests.model.planted import PLANTED
from tests.model.refunds import Refund
from tests.model.rules import OF_THE_AUDIT, ONLY_IN_THE_MODEL, broken_rules
from tests.model.scenarios import SCENARIOS
from tests.model.state import Client, World, canonical

TABLES = (
    "refund_items", "refunds", "events", "order_ledger_items", "outbox", "order_ledger_history", "order_ledger",
    "order_items", "orders",
    "inventory_reservations", "order_reservations", "inventory_adjustments", "products",
    "payment_refunds", "payment_authorizations",
)  # fmt: skip
CHECKS = """
SELECT format('ALTER TABLE %%I DROP CONSTRAINT %%I', t.relname, c.conname) FROM pg_constraint c
JOIN pg_class t ON t.oid = c.conrelid WHERE c.contype = 'c' AND t.relname = ANY (%s)
"""
NOT_IN_THE_BOOKS = {"history", "stuck"}
"""The model checks steps and ends instead."""


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
        """Write the books of a state, and nothing else."""
        self.cursor.execute("".join(f"DELETE FROM {table};" for table in TABLES))
        for client, entry in zip(state.clients, state.entries, strict=True):
            self._put_entry(client.id, entry, state.refunds)
        self._put_stock(state.books)
        entry_ids = {order_id_for(client.id): client.id for client in state.clients}
        for order in state.books.orders:
            self._put_order(order, entry_ids[order.id])
        for reservation in state.books.reservations:
            self._put_reservation(reservation)
        for payment in state.books.payments:
            self._put_payment(payment)
        for movement in state.books.movements:
            self._put_movement(movement)
        for refund in state.refunds:
            self._put_refund(refund, state)
        for returned in state.books.returned:
            self._put_returned(returned)

    def findings(self) -> set[str]:
        self.cursor.execute("EXECUTE audit")
        return {name for (name,) in self.cursor.fetchall()} - NOT_IN_THE_BOOKS

    def _put_entry(self, id_: str, entry: Entry | None, refunds: tuple[Refund | None, ...]) -> None:
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
            failure_code=entry.failure or None, due_at="infinity" if is_open else None,
            refunded_cents=entry.refunded, refund_reserved_cents=entry.reserved,
        )  # fmt: skip
        self._insert(
            "order_ledger_items", order_ledger_id=id_, position=1, refunded_quantity=entry.refunded_pieces, **LINE
        )
        ended = [refund for refund in refunds if refund and refund.status.is_terminal]
        for number, event in enumerate(entry.events, 1):
            told = next((each for each in ended if event.type == f"refund.{each.status.lower()}"), None)
            ended = [each for each in ended if each is not told]
            self._put_event(id_, number, event, told.id if told else None)
        if entry.event:
            self._insert("outbox", order_ledger_id=id_, event_type="order.authorized", payload="{}", status=entry.event)

    def _put_stock(self, books: Books) -> None:
        product = {"id": PRODUCT, "sku": "model", "name": "Model", "price_cents": PRICE}
        self._insert("products", **product, stock_quantity=books.stock)
        initial = books.received - sum(row.quantity for row in books.returned)
        adjustment = {"product_id": PRODUCT, "quantity": initial, "reason": "initial_stock"}
        self._insert("inventory_adjustments", id=str(uuid.uuid4()), **adjustment)

    def _put_order(self, order: Order, entry_id: str) -> None:
        if not order.sent:
            self._insert("orders", id=order.id, status=order.status)
            return
        content = {"user_id": USER, "total_amount_cents": PRICE, "currency": "USD", "fingerprint": "f"}
        self._insert("orders", id=order.id, order_ledger_id=entry_id, status=order.status, **content)
        self._insert("order_items", order_id=order.id, position=1, **LINE)

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
            pending_refund_cents=payment.pending, voided_at="now" if payment.status == "VOIDED" else None,
        )  # fmt: skip

    def _put_movement(self, row: Movement) -> None:
        self._insert(
            "payment_refunds",
            id=f"re_{uuid.uuid4().hex[:24]}", authorization_id=row.payment, amount_cents=row.amount, status=row.status,
            idempotency_key=row.key,
        )  # fmt: skip

    def _put_refund(self, refund: Refund | None, state: World) -> None:
        if refund is None:
            return
        is_open = not refund.status.is_terminal
        self._insert(
            "refunds",
            id=refund.id, order_ledger_id=state.clients[refund.order].id, idempotency_key=refund.id,
            amount_cents=refund.amount, restock=refund.is_restocked, reason="other", request_id="r",
            status=refund.status, restocked=f"{{{','.join(refund.restocked)}}}", failure_code=refund.failure or None,
            not_restocked=f"{{{','.join(refund.not_restocked)}}}",
            failure_message=refund.failure or None, due_at="infinity" if is_open else None,
        )  # fmt: skip
        if refund.pieces:
            self._insert("refund_items", refund_id=refund.id, product_id=PRODUCT, quantity=refund.pieces)

    def _put_returned(self, row: Returned) -> None:
        how = {"reason": "return_to_stock", "reference_id": row.reference}
        self._insert("inventory_adjustments", id=str(uuid.uuid4()), product_id=PRODUCT, quantity=row.quantity, **how)

    def _put_event(self, entry_id: str, number: int, event: Event, refund_id: str | None) -> None:
        self._insert(
            "events",
            id=f"evt_{entry_id}_{number}", position=number, client="shop", order_ledger_id=entry_id, sequence=number,
            type=event.type, status=event.status, refund_id=refund_id,
        )  # fmt: skip

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
        tuple(Client(client.id, client.card, requests=0) for client in state.clients),
        tuple(
            entry and entry._replace(claim_number=1, is_leased=False, retry_count=0, cancel_response=0)
            for entry in state.entries
        ),
        state.books._replace(replies=()),
        refunds=tuple(
            refund and refund._replace(claim_number=1, is_leased=False, retry_count=0) for refund in state.refunds
        ),
    )


def test_the_audit_finds_the_same(tables: Tables) -> None:
    states = {bare(state) for name in PLANTED for state in states_of(name)}
    found = Counter[str]()
    for state in states:
        tables.put(state)
        broken = broken_rules(state) - ONLY_IN_THE_MODEL.keys()
        assert tables.findings() == broken, (state.entries, state.books)
        found.update(broken or ["nothing"])
    assert found.keys() == {name for _, name in OF_THE_AUDIT} | {"stock", "nothing"}, "not every rule was compared"
