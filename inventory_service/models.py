"""The tables of the inventory service. For each product, always:
stock_quantity = Σ adjustments − Σ reservations that are not released, deleted ones included."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
    true,
)

from common.schema.tables import (
    cents_column,
    id_column,
    idempotency_table,
    identifier,
    is_one_of,
    metadata,
    time_column,
)
from domain.money import MAX_CENTS
from domain.stock import MORE_OR_LESS, ONLY_MORE
from inventory_service.domain import IDEMPOTENCY_TABLE, INITIAL_STOCK, RELEASED, RESERVED

products = Table(
    "products",
    metadata,
    id_column(),
    Column("sku", identifier(100), nullable=False),
    Column("name", String(255), nullable=False),
    cents_column("price_cents"),
    Column("stock_quantity", Integer, nullable=False),
    time_column("created_at"),
    # The defaults are for processes of the previous release, which run during the upgrade.
    Column("currency", String(3), nullable=False, server_default=text("'USD'")),
    Column("is_active", Boolean, nullable=False, server_default=true()),
    UniqueConstraint("sku"),
    CheckConstraint(f"price_cents BETWEEN 1 AND {MAX_CENTS}", name="price_cents"),
    CheckConstraint("stock_quantity >= 0", name="stock_quantity"),
)

# What a product is sold as, from the first change of it on: the row with the highest number is current, and a product
# without rows is sold as its own row says. Rows are only added, so they are also the history of prices. They are not
# in `products`, because reservations lock that row, and there is no foreign key, because its check would do so, too.
product_versions = Table(
    "product_versions",
    metadata,
    id_column("product_id", primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", String(255), nullable=False),
    cents_column("price_cents"),
    Column("is_active", Boolean, nullable=False),
    time_column("created_at"),
    CheckConstraint("number >= 1", name="number"),
    CheckConstraint(f"price_cents BETWEEN 1 AND {MAX_CENTS}", name="price_cents"),
)

inventory_adjustments = Table(
    "inventory_adjustments",
    metadata,
    id_column(),
    Column("product_id", ForeignKey(products.c.id), nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("reference_id", String(255)),
    Column("notes", String(1000)),
    time_column("created_at"),
    CheckConstraint("quantity <> 0", name="quantity"),
    CheckConstraint(is_one_of("reason", (INITIAL_STOCK, *ONLY_MORE, *MORE_OR_LESS)), name="reason"),
    Index(None, "product_id", "created_at", "id"),
)

# One row for each order, made by its reservation or by its release, whichever arrives first. The primary key makes the
# two exclude each other. A release that came first leaves its row, and the late reservation is refused.
order_reservations = Table(
    "order_reservations",
    metadata,
    id_column("order_id", primary_key=True),
    Column("status", Text, nullable=False),
    Column("fingerprint", String(64)),  # of the merged lines; null: released before it was reserved
    time_column("created_at"),
    time_column("released_at", nullable=True),
    CheckConstraint(is_one_of("status", (RESERVED, RELEASED)), name="status"),
    CheckConstraint("fingerprint IS NOT NULL OR status = 'RELEASED'", name="fingerprint"),
    CheckConstraint("(status = 'RELEASED') = (released_at IS NOT NULL)", name="released_at"),
)

inventory_reservations = Table(
    "inventory_reservations",
    metadata,
    id_column(),
    Column("order_id", ForeignKey(order_reservations.c.order_id), nullable=False),
    Column("product_id", ForeignKey(products.c.id), nullable=False),
    Column("quantity", Integer, nullable=False),
    time_column("created_at"),
    time_column("released_at", nullable=True),
    UniqueConstraint("order_id", "product_id"),
    CheckConstraint("quantity > 0", name="quantity"),
)

# How many pieces of a product were sold in orders that `ops retain` has deleted. There is no foreign key, because its
# check would lock the product, for which orders wait.
deleted_reservations = Table(
    "deleted_reservations",
    metadata,
    id_column("product_id", primary_key=True),
    Column("quantity", BigInteger, nullable=False),
    CheckConstraint("quantity > 0", name="quantity"),
)

idempotency_keys = idempotency_table(IDEMPOTENCY_TABLE)
