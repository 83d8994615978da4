"""Products, their stock and its reservations."""

from __future__ import annotations

from alembic import op

revision = "holdfast_0001"
down_revision = None
branch_labels = None
depends_on = None

PRODUCTS = """
CREATE TABLE products (
    id uuid NOT NULL,
    sku varchar(100) NOT NULL,
    name varchar(255) NOT NULL,
    price_cents bigint NOT NULL,
    stock_quantity integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_products PRIMARY KEY (id),
    CONSTRAINT uq_products_sku UNIQUE (sku),
    CONSTRAINT ck_products_price_cents CHECK (price_cents BETWEEN 1 AND 999999999999),
    CONSTRAINT ck_products_stock_quantity CHECK (stock_quantity >= 0)
)
"""

ADJUSTMENTS = """
CREATE TABLE inventory_adjustments (
    id uuid NOT NULL,
    product_id uuid NOT NULL,
    quantity integer NOT NULL,
    reason text NOT NULL,
    reference_id varchar(255),
    notes varchar(1000),
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_inventory_adjustments PRIMARY KEY (id),
    CONSTRAINT fk_inventory_adjustments_product_id_products FOREIGN KEY (product_id) REFERENCES products (id),
    CONSTRAINT ck_inventory_adjustments_quantity CHECK (quantity <> 0),
    CONSTRAINT ck_inventory_adjustments_reason CHECK (
        reason IN ('initial_stock', 'warehouse_receiving', 'return_to_stock', 'manual_adjustment', 'correction')
    )
)
"""

ADJUSTMENTS_OF_PRODUCT = "CREATE INDEX ix_inventory_adjustments_product_id ON inventory_adjustments (product_id)"

ORDER_RESERVATIONS = """
CREATE TABLE order_reservations (
    order_id uuid NOT NULL,
    status text NOT NULL,
    fingerprint varchar(64),
    created_at timestamptz NOT NULL DEFAULT now(),
    released_at timestamptz,
    CONSTRAINT pk_order_reservations PRIMARY KEY (order_id),
    CONSTRAINT ck_order_reservations_status CHECK (status IN ('RESERVED', 'RELEASED')),
    CONSTRAINT ck_order_reservations_fingerprint CHECK (fingerprint IS NOT NULL OR status = 'RELEASED'),
    CONSTRAINT ck_order_reservations_released_at CHECK ((status = 'RELEASED') = (released_at IS NOT NULL))
)
"""

RESERVATIONS = """
CREATE TABLE inventory_reservations (
    id uuid NOT NULL,
    order_id uuid NOT NULL,
    product_id uuid NOT NULL,
    quantity integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    released_at timestamptz,
    CONSTRAINT pk_inventory_reservations PRIMARY KEY (id),
    CONSTRAINT uq_inventory_reservations_order_id_product_id UNIQUE (order_id, product_id),
    CONSTRAINT fk_inventory_reservations_order_id_order_reservations
        FOREIGN KEY (order_id) REFERENCES order_reservations (order_id),
    CONSTRAINT fk_inventory_reservations_product_id_products FOREIGN KEY (product_id) REFERENCES products (id),
    CONSTRAINT ck_inventory_reservations_quantity CHECK (quantity > 0)
)
"""

IDEMPOTENCY_KEYS = """
CREATE TABLE inventory_idempotency_keys (
    scope text NOT NULL,
    key varchar(255) NOT NULL,
    fingerprint varchar(64) NOT NULL,
    status bigint,
    body text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_inventory_idempotency_keys PRIMARY KEY (scope, key),
    CONSTRAINT ck_inventory_idempotency_keys_answer CHECK ((status IS NULL) = (body IS NULL))
)
"""


def upgrade() -> None:
    op.execute(PRODUCTS)
    op.execute(ADJUSTMENTS)
    op.execute(ADJUSTMENTS_OF_PRODUCT)
    op.execute(ORDER_RESERVATIONS)
    op.execute(RESERVATIONS)
    op.execute(IDEMPOTENCY_KEYS)


def downgrade() -> None:
    op.drop_table("inventory_idempotency_keys")
    op.drop_table("inventory_reservations")
    op.drop_table("order_reservations")
    op.drop_table("inventory_adjustments")
    op.drop_table("products")
