"""The tables of the orders service.

An order is CREATED, then CONFIRMED or CANCELLED, and never changes again. A row without content is the tombstone of
a cancel that arrived before its create, so that the create is refused when it arrives.
"""

from __future__ import annotations

from sqlalchemy import DDL, CheckConstraint, Column, ForeignKey, Integer, String, Table, Text, UniqueConstraint, event

from common.schema.tables import cents_column, id_column, is_one_of, metadata, time_column
from domain.money import MAX_CENTS
from orders_service.domain import CANCELLED, CONFIRMED, CREATED, MAX_QUANTITY

CONTENT = "order_ledger_id, user_id, total_amount_cents, currency, fingerprint"

orders = Table(
    "orders",
    metadata,
    id_column(),
    id_column("order_ledger_id", nullable=True),
    id_column("user_id", nullable=True),
    Column("status", Text, nullable=False),
    cents_column("total_amount_cents", nullable=True),
    Column("currency", String(3)),
    Column("fingerprint", String(64)),
    time_column("created_at"),
    time_column("updated_at"),
    UniqueConstraint("order_ledger_id"),
    CheckConstraint(is_one_of("status", (CREATED, CONFIRMED, CANCELLED)), name="status"),
    CheckConstraint(f"total_amount_cents BETWEEN 1 AND {MAX_CENTS}", name="total_amount_cents"),
    CheckConstraint(
        f"num_nulls({CONTENT}) = 0 OR (status = 'CANCELLED' AND num_nonnulls({CONTENT}) = 0)", name="content"
    ),
)

order_items = Table(
    "order_items",
    metadata,
    Column("order_id", ForeignKey(orders.c.id), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    id_column("product_id", nullable=False),
    Column("quantity", Integer, nullable=False),
    cents_column("unit_price_cents"),
    UniqueConstraint("order_id", "product_id"),
    CheckConstraint(f"quantity BETWEEN 1 AND {MAX_QUANTITY}", name="quantity"),
    CheckConstraint(f"unit_price_cents BETWEEN 1 AND {MAX_CENTS}", name="unit_price_cents"),
)

# The database itself refuses a change that the state machine does not allow.
STATUS_GUARD = """
CREATE OR REPLACE FUNCTION refuse_order_status() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'check_violation',
        MESSAGE = 'order ' || OLD.id || ' is ' || OLD.status || ' and cannot become ' || NEW.status;
END
$$;
CREATE TRIGGER orders_status BEFORE UPDATE OF status ON orders FOR EACH ROW
    WHEN (OLD.status <> NEW.status AND OLD.status <> 'CREATED') EXECUTE FUNCTION refuse_order_status();
"""
event.listen(orders, "after_create", DDL(STATUS_GUARD))  # type: ignore[no-untyped-call]
