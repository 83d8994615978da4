"""A database as it is after many orders: every table that grows has grown."""

from __future__ import annotations

import hashlib
import uuid

PRODUCTS = 5_000
DUE = 300
ELSEWHERE = 20_000  # rows of the services' tables: enough to make a planner who has no index notice it


def known_id(kind: str, number: int) -> str:
    """The id of a row that is there: of the kind `order`, `product` or `row`."""
    return str(uuid.UUID(hashlib.md5(f"{kind}{number}".encode()).hexdigest()))


HELPERS = """
CREATE FUNCTION pg_temp.id(kind text, n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS
    $$ SELECT md5(kind || n)::uuid $$;
CREATE FUNCTION pg_temp.product(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS
    $$ SELECT md5('product' || (1 + n %% %(products)s))::uuid $$;
"""

LEDGER = """
INSERT INTO order_ledger (id, client, client_request_id, fingerprint, user_id, email, total_amount_cents, currency,
        request_id, payment_authorization_id, status, due_at)
    SELECT pg_temp.id('order', n), 'shop', 'k' || n, md5(n::text), pg_temp.id('row', n), 'a@b.example', 999, 'USD',
        'r' || n, 'auth_' || n, %(status)s, CASE WHEN %(is_due)s THEN now() - n * interval '1 ms' END
    FROM generate_series(%(first)s, %(last)s) n;
INSERT INTO order_ledger_items
    SELECT pg_temp.id('order', n), 1, pg_temp.product(n), 1, 999 FROM generate_series(%(first)s, %(last)s) n;
INSERT INTO order_ledger_history (order_ledger_id, to_status, claim_number)
    SELECT pg_temp.id('order', n), 'AUTHORIZED', 1 FROM generate_series(%(first)s, %(last)s) n;
INSERT INTO outbox (order_ledger_id, event_type, payload, status, processed_at)
    SELECT pg_temp.id('order', n), 'order.authorized', '{}', CASE WHEN %(is_due)s THEN 'PENDING' ELSE 'PROCESSED' END,
        CASE WHEN NOT %(is_due)s THEN now() END
    FROM generate_series(%(first)s, %(last)s) n;
"""

SERVICES = """
INSERT INTO products
    SELECT pg_temp.id('product', n), 'sku-' || n, 'Widget', 999, 1000000 FROM generate_series(1, %(products)s) n;
INSERT INTO inventory_adjustments
    SELECT pg_temp.id('row', n), pg_temp.product(n), 1, 'correction' FROM generate_series(1, %(last)s) n;
INSERT INTO order_reservations
    SELECT pg_temp.id('order', n), 'RESERVED', md5(n::text) FROM generate_series(1, %(last)s) n;
INSERT INTO inventory_reservations
    SELECT pg_temp.id('row', n), pg_temp.id('order', n), pg_temp.product(n), 1 FROM generate_series(1, %(last)s) n;
INSERT INTO inventory_idempotency_keys
    SELECT 'stock', 'k' || n, md5(n::text), 200, '{}' FROM generate_series(1, %(last)s) n;
INSERT INTO orders
    SELECT pg_temp.id('order', n), pg_temp.id('order', n), pg_temp.id('row', n), 'CONFIRMED', 999, 'USD', md5(n::text)
    FROM generate_series(1, %(last)s) n;
INSERT INTO order_items
    SELECT pg_temp.id('order', n), 1, pg_temp.product(n), 1, 999 FROM generate_series(1, %(last)s) n;
INSERT INTO payment_authorizations (id, idempotency_key, user_id, amount_cents, currency, status, capture_id,
        captured_amount_cents, captured_at)
    SELECT 'auth_' || n, 'k' || n, pg_temp.id('row', n), 999, 'USD', 'CAPTURED', 'cap_' || n, 999, now()
    FROM generate_series(1, %(last)s) n;
INSERT INTO payment_refunds SELECT 're_' || n, 'auth_' || n, 1 FROM generate_series(1, %(last)s) n;
INSERT INTO payment_idempotency_keys
    SELECT 'capture', 'k' || n, md5(n::text), 200, '{}' FROM generate_series(1, %(last)s) n;
INSERT INTO refused_requests
    SELECT 'shop', 'refused' || n, md5(n::text), 422, '{}' FROM generate_series(1, %(last)s) n;
"""


def fill(sql, finished: int, elsewhere: int = ELSEWHERE) -> None:
    """Make `finished` finished orders and DUE that are due: no triggers, no foreign keys, one INSERT for each table."""
    sql("SET session_replication_role = replica")
    sql(HELPERS, products=PRODUCTS)
    sql(LEDGER, first=1, last=finished, status="COMPLETED", is_due=False)
    sql(LEDGER, first=finished + 1, last=finished + DUE, status="AUTHORIZED", is_due=True)
    sql(SERVICES, products=PRODUCTS, last=elsewhere)
    sql("SET session_replication_role = origin")
    sql("VACUUM (ANALYZE)")
