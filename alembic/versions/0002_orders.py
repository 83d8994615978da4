"""Orders and their lines."""

from __future__ import annotations

from alembic import op

revision = "holdfast_0002"
down_revision = "holdfast_0001"
branch_labels = None
depends_on = None

ORDERS = """
CREATE TABLE orders (
    id uuid NOT NULL,
    order_ledger_id uuid,
    user_id uuid,
    status text NOT NULL,
    total_amount_cents bigint,
    currency varchar(3),
    fingerprint varchar(64),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_orders PRIMARY KEY (id),
    CONSTRAINT uq_orders_order_ledger_id UNIQUE (order_ledger_id),
    CONSTRAINT ck_orders_status CHECK (status IN ('CREATED', 'CONFIRMED', 'CANCELLED')),
    CONSTRAINT ck_orders_total_amount_cents CHECK (total_amount_cents BETWEEN 1 AND 999999999999),
    CONSTRAINT ck_orders_content CHECK (
        num_nulls(order_ledger_id, user_id, total_amount_cents, currency, fingerprint) = 0
        OR (
            status = 'CANCELLED'
            AND num_nonnulls(order_ledger_id, user_id, total_amount_cents, currency, fingerprint) = 0
        )
    )
)
"""

ORDER_ITEMS = """
CREATE TABLE order_items (
    order_id uuid NOT NULL,
    position integer NOT NULL,
    product_id uuid NOT NULL,
    quantity integer NOT NULL,
    unit_price_cents bigint NOT NULL,
    CONSTRAINT pk_order_items PRIMARY KEY (order_id, position),
    CONSTRAINT uq_order_items_order_id_product_id UNIQUE (order_id, product_id),
    CONSTRAINT fk_order_items_order_id_orders FOREIGN KEY (order_id) REFERENCES orders (id),
    CONSTRAINT ck_order_items_quantity CHECK (quantity BETWEEN 1 AND 100),
    CONSTRAINT ck_order_items_unit_price_cents CHECK (unit_price_cents BETWEEN 1 AND 999999999999)
)
"""

REFUSE_ORDER_STATUS = """
CREATE FUNCTION refuse_order_status() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'check_violation',
        MESSAGE = 'order ' || OLD.id || ' is ' || OLD.status || ' and cannot become ' || NEW.status;
END
$$
"""

STATUS_GUARD = """
CREATE TRIGGER orders_status BEFORE UPDATE OF status ON orders FOR EACH ROW
    WHEN (OLD.status <> NEW.status AND OLD.status <> 'CREATED') EXECUTE FUNCTION refuse_order_status()
"""


def upgrade() -> None:
    op.execute(ORDERS)
    op.execute(ORDER_ITEMS)
    op.execute(REFUSE_ORDER_STATUS)
    op.execute(STATUS_GUARD)


def downgrade() -> None:
    op.drop_table("order_items")
    op.drop_table("orders")
    op.execute("DROP FUNCTION refuse_order_status()")
