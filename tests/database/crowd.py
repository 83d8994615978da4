"""A database after many orders: every table that grows is large.

If the services' tables have as many rows as there are orders, the audit finds the books healthy.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable

PRODUCTS = 5_000
DUE = 300
ELSEWHERE = 20_000  # rows of the services' tables: enough to show a missing index in the plan


def known_id(kind: str, number: int) -> str:
    """Return the id of an existing row of the kind `order`, `product` or `row`."""
    return str(uuid.UUID(hashlib.md5(f"{kind}{number}".encode()).hexdigest()))


# Every fourth order was undone after its payment was captured.
HELPERS = """
CREATE FUNCTION pg_temp.id(kind text, n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS
    $$ SELECT md5(kind || n)::uuid $$;
CREATE FUNCTION pg_temp.product(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS
    $$ SELECT md5('product' || (1 + n %% %(products)s))::uuid $$;
CREATE FUNCTION pg_temp.is_failed(n integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT n %% 4 = 0 $$;
CREATE FUNCTION pg_temp.walk(status text) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT '{AWAITING_AUTHORIZATION,AUTHORIZED}'::text[] || CASE status
        WHEN 'COMPLETED' THEN '{ORDER_CREATED,INVENTORY_RESERVED,PAYMENT_CAPTURED,COMPLETED}'::text[]
        WHEN 'FAILED' THEN
            '{ORDER_CREATED,INVENTORY_RESERVED,COMPENSATING,COMPENSATING,COMPENSATING,FAILED}'::text[]
        ELSE '{}' END $$;
"""

LEDGER = """
INSERT INTO order_ledger (id, client, client_request_id, fingerprint, user_id, email, total_amount_cents, currency,
        request_id, payment_authorization_id, order_id, status, due_at, claim_number, compensating_from, undone,
        failure_code)
    SELECT pg_temp.id('order', n), 'shop', 'k' || n, md5(n::text), pg_temp.id('row', n), 'a@b.example', 999, 'USD',
        'r' || n, 'auth_' || n, CASE WHEN NOT %(is_due)s THEN pg_temp.id('order', n) END,
        CASE WHEN %(is_due)s THEN 'AUTHORIZED' WHEN pg_temp.is_failed(n) THEN 'FAILED' ELSE 'COMPLETED' END,
        CASE WHEN %(is_due)s THEN now() - n * interval '1 ms' END, CASE WHEN %(is_due)s THEN 0 ELSE 2 END,
        CASE WHEN NOT %(is_due)s AND pg_temp.is_failed(n) THEN 'INVENTORY_RESERVED' END,
        CASE WHEN NOT %(is_due)s AND pg_temp.is_failed(n)
            THEN '{void_payment,release_inventory,cancel_order}'::text[] ELSE '{}' END,
        CASE WHEN pg_temp.is_failed(n) THEN 'capture_payment_unanswered' END
    FROM generate_series(%(first)s, %(last)s) n;
INSERT INTO order_ledger_items
    SELECT pg_temp.id('order', n), 1, pg_temp.product(n), 1, 999 FROM generate_series(%(first)s, %(last)s) n;
INSERT INTO order_ledger_history (order_ledger_id, id, from_status, to_status, claim_number)
    SELECT l.id, step, CASE WHEN step > 1 THEN walk[step - 1] END, walk[step], 0
    FROM order_ledger l, pg_temp.walk(l.status) AS walk, generate_subscripts(walk, 1) AS step
    WHERE (l.due_at IS NOT NULL) = %(is_due)s ORDER BY l.id, step;
INSERT INTO attempts (order_ledger_id, step, attempt, began_at, took_ms, kind, message, request_id)
    SELECT pg_temp.id('order', n), 'create_order', 1, now(), 8000, 'unanswered', 'orders: ReadTimeout', 'r' || n
    FROM generate_series(%(first)s, %(last)s) n;
INSERT INTO outbox (order_ledger_id, event_type, payload, status, processed_at)
    SELECT pg_temp.id('order', n), 'order.authorized', '{}',
        CASE WHEN %(is_due)s THEN 'PENDING' WHEN pg_temp.is_failed(n) THEN 'FAILED' ELSE 'PROCESSED' END,
        CASE WHEN NOT %(is_due)s THEN now() END
    FROM generate_series(%(first)s, %(last)s) n;
INSERT INTO events (id, xid, position, client, order_ledger_id, sequence, type, status)
    SELECT 'evt_' || lpad(to_hex(2 * n + sequence), 24, '0'), '3', 2 * n + sequence, 'shop', pg_temp.id('order', n),
        sequence, CASE WHEN sequence = 1 THEN 'order.authorized' WHEN pg_temp.is_failed(n) THEN 'order.failed'
        ELSE 'order.completed' END,
        CASE WHEN sequence = 1 THEN 'AUTHORIZED' WHEN pg_temp.is_failed(n) THEN 'FAILED' ELSE 'COMPLETED' END
    FROM generate_series(%(first)s, %(last)s) n, generate_series(1, CASE WHEN %(is_due)s THEN 1 ELSE 2 END) sequence;
"""

SERVICES = """
INSERT INTO inventory_adjustments
    SELECT pg_temp.id('row', n), pg_temp.product(n), 1000, 'correction' FROM generate_series(1, %(last)s) n;
INSERT INTO order_reservations (order_id, status, fingerprint, released_at)
    SELECT pg_temp.id('order', n), CASE WHEN pg_temp.is_failed(n) THEN 'RELEASED' ELSE 'RESERVED' END, md5(n::text),
        CASE WHEN pg_temp.is_failed(n) THEN now() END
    FROM generate_series(1, %(last)s) n;
INSERT INTO inventory_reservations (id, order_id, product_id, quantity, released_at)
    SELECT pg_temp.id('row', n), pg_temp.id('order', n), pg_temp.product(n), 1,
        CASE WHEN pg_temp.is_failed(n) THEN now() END
    FROM generate_series(1, %(last)s) n;
INSERT INTO products
    SELECT pg_temp.id('product', n), 'sku-' || n, 'Widget', 999, COALESCE(a.adjusted, 0) - COALESCE(r.reserved, 0)
    FROM generate_series(1, %(products)s) n
    LEFT JOIN (SELECT product_id, sum(quantity) AS adjusted FROM inventory_adjustments GROUP BY product_id) a
        ON a.product_id = pg_temp.id('product', n)
    LEFT JOIN (SELECT product_id, sum(quantity) AS reserved FROM inventory_reservations WHERE released_at IS NULL
        GROUP BY product_id) r ON r.product_id = pg_temp.id('product', n);
INSERT INTO product_versions
    SELECT pg_temp.product(n), 1 + n / %(products)s, 'Widget', 999, true FROM generate_series(1, %(last)s) n;
INSERT INTO inventory_idempotency_keys
    SELECT 'stock', 'k' || n, md5(n::text), 200, '{}' FROM generate_series(1, %(last)s) n;
INSERT INTO orders
    SELECT pg_temp.id('order', n), pg_temp.id('order', n), pg_temp.id('row', n),
        CASE WHEN pg_temp.is_failed(n) THEN 'CANCELLED' ELSE 'CONFIRMED' END, 999, 'USD', md5(n::text)
    FROM generate_series(1, %(last)s) n;
INSERT INTO order_items
    SELECT pg_temp.id('order', n), 1, pg_temp.product(n), 1, 999 FROM generate_series(1, %(last)s) n;
INSERT INTO payment_authorizations (id, idempotency_key, user_id, amount_cents, currency, status, capture_id,
        captured_amount_cents, captured_at, refunded_amount_cents)
    SELECT 'auth_' || n, 'authorize:' || pg_temp.id('order', n), pg_temp.id('row', n), 999, 'USD',
        CASE WHEN pg_temp.is_failed(n) THEN 'REFUNDED' ELSE 'CAPTURED' END, 'cap_' || n, 999, now(),
        CASE WHEN pg_temp.is_failed(n) THEN 999 ELSE 0 END
    FROM generate_series(1, %(last)s) n;
INSERT INTO payment_refunds
    SELECT 're_' || n, 'auth_' || n, 999 FROM generate_series(1, %(last)s) n WHERE pg_temp.is_failed(n);
INSERT INTO gateway_holds (authorization_key, authorization_id, gateway, gateway_id, amount_cents, currency,
        fingerprint)
    SELECT 'authorize:' || pg_temp.id('order', n), 'auth_' || n, 'stripe', 'pi_' || n, 999, 'USD', md5(n::text)
    FROM generate_series(1, %(last)s) n;
INSERT INTO gateway_refunds
    SELECT 're_' || n, 'auth_' || n, 'refund:' || n, md5(n::text), 999, 're_g' || n
    FROM generate_series(1, %(last)s) n WHERE pg_temp.is_failed(n);
INSERT INTO payment_idempotency_keys
    SELECT 'capture', 'k' || n, md5(n::text), 200, '{}' FROM generate_series(1, %(last)s) n;
INSERT INTO refused_requests
    SELECT 'shop', 'refused' || n, md5(n::text), 422, '{}' FROM generate_series(1, %(last)s) n;
INSERT INTO request_rates SELECT 'requests:key:' || n, 1 FROM generate_series(1, %(last)s) n;
INSERT INTO webhook_endpoints (id, client, url, event_types, cursor_xid, cursor_position)
    SELECT 'we_1', 'shop', 'https://shop.example', '{*}', pg_current_xact_id(), max(position) FROM events;
INSERT INTO webhook_secrets SELECT 'we_1', 1, 'whsec_' || repeat('A', 43) || '=';
INSERT INTO webhook_deliveries (id, endpoint_id, event_id, message_id, type, order_ledger_id, sequence, status, due_at,
        created_at, ended_at)
    SELECT pg_temp.id('delivery', position::integer), 'we_1', id, id, type, order_ledger_id, sequence,
        CASE WHEN position %% 100 = 0 THEN 'pending' ELSE 'succeeded' END,
        CASE WHEN position %% 100 = 0 THEN now() END, now() - position * interval '1 s',
        CASE WHEN position %% 100 <> 0 THEN now() END
    FROM events WHERE position <= %(last)s;
INSERT INTO declines SELECT 'key:' || n, now() - n * interval '1 ms' FROM generate_series(1, %(last)s) n;
INSERT INTO bulk_jobs (id, author, key, fingerprint, action, filter, reason, rate_per_s, state, total, created_at,
    ended_at)
    SELECT pg_temp.id('order', n), 'ada', 'k' || n, md5(n::text), 'retry', '{}', 'why', 5, 'done', 1000,
        now() - n * interval '1 s', now()
    FROM generate_series(1, %(last)s) n;
INSERT INTO bulk_job_items
    SELECT pg_temp.id('order', 1 + n %% 10), n, pg_temp.id('order', n),
        CASE WHEN n %% 100 < 10 THEN 'refused' ELSE 'done' END, CASE WHEN n %% 100 < 10 THEN 'locked' END,
        CASE WHEN n %% 100 < 10 THEN 'why' END, now()
    FROM generate_series(1, %(last)s) n;
"""

HOLDS = """
INSERT INTO payment_authorizations (id, idempotency_key, user_id, amount_cents, currency, status)
    SELECT 'auth_' || n, 'authorize:' || pg_temp.id('order', n), pg_temp.id('row', n), 999, 'USD', 'AUTHORIZED'
    FROM generate_series(%(first)s, %(last)s) n
"""

# One of each completed order, which its sums do not know.
REFUNDS = """
INSERT INTO refunds (id, order_ledger_id, idempotency_key, amount_cents, restock, reason, request_id, status, due_at)
    SELECT pg_temp.id('refund', n), pg_temp.id('order', n), 'k' || n, 999, false, 'other', 'r' || n, 'SUCCEEDED', NULL
    FROM generate_series(1, %(last)s) n WHERE NOT pg_temp.is_failed(n);
INSERT INTO refund_items
    SELECT pg_temp.id('refund', n), pg_temp.product(n), 1 FROM generate_series(1, %(last)s) n
    WHERE NOT pg_temp.is_failed(n);
INSERT INTO edge_idempotency_keys
    SELECT 'shop', 'k' || n, md5(n::text), 202, '{}' FROM generate_series(1, 5 * %(last)s) n;
"""

# What operators wrote.
RECORD = """
INSERT INTO order_notes (order_ledger_id, author, text)
    SELECT pg_temp.id('order', n), 'ada', 'a note' FROM generate_series(1, %(last)s) n;
INSERT INTO dealt_with SELECT pg_temp.id('order', n), now(), 'ada', 'why', 5 FROM generate_series(1, %(last)s) n;
INSERT INTO operator_log (actor, action, details)
    SELECT 'ada', 'orders.note', jsonb_build_object('order_ledger_id', pg_temp.id('order', n))
    FROM generate_series(1, %(last)s) n;
"""


def fill(sql: Callable[..., object], finished: int, elsewhere: int = ELSEWHERE, due: int = DUE) -> None:
    """Make `finished` finished orders and `due` due ones: no triggers or foreign keys, one INSERT for each table."""
    sql("SET session_replication_role = replica")
    sql(HELPERS, products=PRODUCTS)
    sql(LEDGER, first=1, last=finished, is_due=False)
    sql(LEDGER, first=finished + 1, last=finished + due, is_due=True)
    sql(SERVICES, products=PRODUCTS, last=elsewhere)
    sql(HOLDS, first=finished + 1, last=finished + due)
    sql("SET session_replication_role = origin")
    sql("VACUUM (ANALYZE)")


def fill_refunds(sql: Callable[..., object], last: int = ELSEWHERE) -> None:
    """After `fill`: a refund of each completed order up to this number."""
    sql("SET session_replication_role = replica")
    sql(REFUNDS, last=last)
    sql("SET session_replication_role = origin")
    sql("VACUUM (ANALYZE) refunds, refund_items, edge_idempotency_keys")


def fill_record(sql: Callable[..., object], last: int = ELSEWHERE) -> None:
    """After `fill`: what operators wrote about each order up to this number."""
    sql("SET session_replication_role = replica")
    sql(RECORD, last=last)
    sql("SET session_replication_role = origin")
    sql("VACUUM (ANALYZE) order_notes, dealt_with, operator_log")
